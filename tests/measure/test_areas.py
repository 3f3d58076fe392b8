"""Objects and areas of each class equal those of the whole label plane."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.ndimage import label
from tests.fakes import CLASSES, FakeModel, make_card, noise_slide

import napari_twostage as ts
from napari_twostage.measure.areas import areas
from napari_twostage.method.tiling import TileState

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=[16, 1024])
def seg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request) -> ts.Segmentation:
    """Half refined, edited, of two classes; in blocks of one tile, and in one."""
    # by its module: the package's attribute `export` is the function
    monkeypatch.setattr(sys.modules["napari_twostage.measure.blocks"], "BLOCK_PX", request.param)
    model = FakeModel(make_card(classes=CLASSES))
    slide, region = noise_slide(150, 133), ts.Box(0, 0, 150, 100)
    out = tmp_path / "out"
    seg = ts.segment(slide, model, out, tissue=False, region=region, fraction=0.5)
    seg.edit(ts.Box(20, 20, 50, 60), np.full((30, 40), 2, np.uint8))
    seg.edit(ts.Box(30, 30, 40, 40), np.zeros((10, 10), np.uint8))
    return seg


def test_counts_are_those_of_the_whole_plane(seg: ts.Segmentation) -> None:
    labels = seg.read_labels(seg.grid.box)
    assert (seg.states != TileState.OUTSIDE).sum() * 16 > 100 * seg.tiles.shape[0]
    labels[:, 100:] = 0  # the tiles of the region reach beyond it
    inside = np.zeros(labels.shape, bool)
    inside[:, :100] = True
    counted = areas(seg)
    assert [(c.name, c.color, c.value) for c in counted] == [
        (kind.name, kind.color, kind.value) for kind in CLASSES
    ]
    for found in counted:
        mask = labels == found.value
        assert found.objects == label(mask)[1] > 1
        assert (found.left_out, found.left_out_mm2) == (0, 0)
        assert found.area_mm2 == pytest.approx(mask.sum() * 0.5**2 / 1e6)
        assert found.tissue_fraction == pytest.approx(mask.sum() / inside.sum())


def test_progress_goes_from_nothing_to_all(seg: ts.Segmentation) -> None:
    shares: list[float] = []
    areas(seg, progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_a_result_without_objects_counts_none(tmp_path: Path) -> None:
    slide = ts.open_slide(np.zeros((40, 40, 3), np.uint8), mpp=0.5)
    seg = ts.segment(slide, FakeModel(), tmp_path / "o", tissue=False, refine="none")
    (found,) = areas(seg)
    assert (found.objects, found.area_mm2, found.tissue_fraction) == (0, 0, 0)
