"""Parts of a slide that are asked for one after the other: the labels of a run over all."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.fakes import FakeModel, noise_slide

import napari_twostage as ts
from napari_twostage.errors import SelectionError, SlideError
from napari_twostage.method.steps import CoarseWindowDone
from napari_twostage.result.check import check

if TYPE_CHECKING:
    from pathlib import Path

    from napari_twostage.engine.segmentation import Segmentation

LEFT = ((3.0, 3.0), (3.0, 40.0), (60.0, 4.0))
RIGHT = ((100.0, 150.0), (149.0, 159.0), (120.0, 199.0))
SLIDE = (150, 200)
"""Coarse windows of the fake model take 32 × 32 pixels."""


def run(folder: Path, *regions: list | None, refine: str = "none") -> Segmentation:
    """Run one coarse pass after another, a region each; None is the whole slide."""
    for region in regions:
        options = {} if region is None else {"region": region}
        seg = ts.segment(
            noise_slide(*SLIDE), FakeModel(), folder, refine=refine, tissue=False, **options
        )
    return seg


def all_of(seg: Segmentation) -> list[np.ndarray]:
    """Labels of all levels, and what the tiles scored."""
    levels = [
        seg.read_labels(ts.Box(0, 0, *shape), level) for level, shape in enumerate(seg.level_shapes)
    ]
    return [*levels, seg.scores, seg.uncertainty_map.pixels]


def assert_same(first: Segmentation, second: Segmentation) -> None:
    for one, other in zip(all_of(first), all_of(second), strict=True):
        np.testing.assert_array_equal(one, other)


def test_only_windows_that_polygons_touch_are_computed(tmp_path: Path) -> None:
    model, slide = FakeModel(), noise_slide(*SLIDE)
    steps = list(
        ts.iter_segment(
            slide, model, tmp_path / "a.zarr", region=[LEFT], refine="none", tissue=False
        )
    )
    windows = {step.core for step in steps if isinstance(step, CoarseWindowDone)}
    seg = ts.Segmentation.open(tmp_path / "a.zarr", slide=slide)
    touched = seg.layout.windows_touching((LEFT,))
    assert 0 < len(windows) == touched.sum() < touched.size
    assert all(touched[seg.layout.window_index(core)] for core in windows)
    assert seg.coarse_complete
    assert seg.is_segmented([LEFT])
    assert not seg.is_segmented([RIGHT])


def test_the_order_in_which_parts_are_asked_for_changes_nothing(tmp_path: Path) -> None:
    one = run(tmp_path / "one.zarr", [LEFT], [RIGHT])
    assert one.record.scope == (LEFT, RIGHT)
    assert_same(one, run(tmp_path / "two.zarr", [RIGHT], [LEFT]))
    assert_same(one, run(tmp_path / "three.zarr", [LEFT, RIGHT]))
    assert_same(one, ts.Segmentation.open(one.path, slide=noise_slide(*SLIDE)))
    whole = run(tmp_path / "whole.zarr", None)
    assert_same(run(one.path, None), whole)
    assert not one.path.joinpath("damaged").exists()
    again = ts.Segmentation.open(one.path, slide=noise_slide(*SLIDE))
    assert again.record.scope == ()
    assert_same(again, whole)
    assert list(check(again._files)) == []
    assert run(one.path, [LEFT]).record.scope == ()  # all is there already


def test_what_was_refined_stays_when_the_scope_grows(tmp_path: Path) -> None:
    seg = run(tmp_path / "a.zarr", [LEFT])
    seg.refine(seg.plan(region=[LEFT]))
    refined = seg.refined
    assert refined.any()
    grown = run(seg.path, [RIGHT])
    np.testing.assert_array_equal(grown.refined, refined)
    grown.refine(grown.plan(fraction=1.0))
    whole = run(tmp_path / "b.zarr", [RIGHT, LEFT], refine="all")
    assert_same(grown, whole)


def test_a_pass_over_the_slide_that_was_stopped_goes_on_in_a_region_alone(tmp_path: Path) -> None:
    slide, out = noise_slide(*SLIDE), tmp_path / "a.zarr"
    steps = ts.iter_segment(slide, FakeModel(), out, refine="none", tissue=False)
    first = next(step.core for step in steps if isinstance(step, CoarseWindowDone))
    steps.close()
    done = ts.Segmentation.open(out, slide=slide).windows_done
    assert first in done
    seg = run(out, [RIGHT])
    assert seg.coarse_complete
    expected = {
        seg.layout.window(index)
        for index in np.argwhere(seg.layout.windows_touching((RIGHT,))).tolist()
    }
    assert seg.windows_done == done | expected
    assert_same(run(out, None), run(tmp_path / "whole.zarr", None))


def test_another_reader_follows_what_is_asked_for(tmp_path: Path) -> None:
    seg = run(tmp_path / "a.zarr", [LEFT])
    reader = ts.Segmentation.open(seg.path, slide=noise_slide(*SLIDE))
    grown = run(seg.path, [RIGHT])
    reader.follow()
    assert reader.record.scope == grown.record.scope
    assert reader.coarse_complete
    assert_same(reader, grown)


def test_a_record_that_is_lost_comes_back_with_what_was_asked_for(tmp_path: Path) -> None:
    for regions in pairwise(([LEFT], [RIGHT], None)):
        seg = run(tmp_path / "a.zarr", *regions)
        scope = seg.record.scope
        (seg.path / "record.json").write_text("{}")
        assert run(seg.path, regions[-1]).record.scope == scope


def test_a_region_without_tissue_leaves_nothing_behind(tmp_path: Path) -> None:
    pixels = np.full((400, 400, 3), 245, np.uint8)
    pixels[20:120, 20:120] = (150, 60, 140)
    slide = ts.open_slide(pixels, mpp=0.5)
    options = {"refine": "none", "tissue": True}
    glass = [[(300, 300), (300, 390), (390, 390)]]
    with pytest.raises(SlideError, match="no tissue"):
        ts.segment(slide, FakeModel(), tmp_path / "a.zarr", region=glass, **options)
    assert not (tmp_path / "a.zarr").exists()
    tissue = [[(30, 30), (30, 60), (60, 60)]]
    seg = ts.segment(slide, FakeModel(), tmp_path / "a.zarr", region=tissue, **options)
    with pytest.raises(SelectionError, match="no tissue"):
        seg.extend(glass)
    assert len(seg.record.scope) == 1
