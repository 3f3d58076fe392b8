"""Objects are the same however a slide is run, resumed and corrected: real weights, real tissue."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.proofs.helpers import assert_same, outcome, tissue_pixels

from napari_twostage import Box, Segmentation, load_model, open_slide, segment
from napari_twostage.measure.areas import areas
from napari_twostage.measure.objects import ObjectScan
from napari_twostage.method.instances import separate

if TYPE_CHECKING:
    from pathlib import Path

    from napari_twostage.models.model import Model

SHAPE = (500, 420)


@pytest.fixture(scope="module")
def nuclei() -> Model:
    return load_model("nuclei", device="openvino", precision="f32")


@pytest.fixture(scope="module")
def whole(nuclei: Model, tmp_path_factory: pytest.TempPathFactory) -> Segmentation:
    slide = open_slide(tissue_pixels(*SHAPE), mpp=0.5)
    folder = tmp_path_factory.mktemp("whole")
    return segment(slide, nuclei, folder / "o.zarr", tissue=False, fraction=0.5)


def count(seg: Segmentation) -> int:
    return sum(map(len, ObjectScan(seg, 0).objects()))


def test_a_slide_holds_the_objects_of_its_whole_plane(whole: Segmentation) -> None:
    labels, depth = whole.read_labels(whole.grid.box), whole.read_depth(whole.grid.box)
    numbers = separate(labels, depth)
    assert count(whole) == numbers.max() > 20
    (nuclei,) = areas(whole)
    assert nuclei.objects == (np.bincount(numbers.ravel())[1:] >= 32).sum()


def test_neither_order_nor_a_stop_changes_them(
    whole: Segmentation, nuclei: Model, tmp_path: Path
) -> None:
    slide = open_slide(tissue_pixels(*SHAPE), mpp=0.5)
    seg = segment(slide, nuclei, tmp_path / "o.zarr", tissue=False, refine="none")
    plan = seg.plan(fraction=0.5)
    for part in (plan.tiles[1::2][::-1], plan.tiles[::2]):
        seg.refine(replace(plan, tiles=part))
        seg = Segmentation.open(seg.path, slide=slide, model=nuclei)
    assert_same(outcome(seg), outcome(whole))


def test_a_painted_line_parts_a_nucleus_and_a_painted_bridge_joins_two(
    nuclei: Model, tmp_path: Path
) -> None:
    slide = open_slide(tissue_pixels(*SHAPE), mpp=0.5)
    seg = segment(slide, nuclei, tmp_path / "o.zarr", tissue=False, refine="none")
    labels = seg.read_labels(seg.grid.box)
    numbers = separate(labels, seg.read_depth(seg.grid.box))
    before = count(seg)
    largest = np.bincount(numbers.ravel())[1:].argmax() + 1
    box = Box.around(numbers == largest)
    middle = (box.top + box.bottom) // 2
    cut = Box(middle, box.left, middle + 3, box.right)
    seg.edit(cut, np.where(numbers[cut.slices] == largest, 0, labels[cut.slices]).astype(np.uint8))
    assert count(seg) > before
    seg.edit(cut, np.ones(cut.shape, np.uint8))
    assert count(seg) <= before
