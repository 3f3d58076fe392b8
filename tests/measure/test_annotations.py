"""Regions that are drawn are measured as a result of that region alone would be."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import shapely
from tests.fakes import FakeModel, noise_slide

import napari_twostage as ts
from napari_twostage.errors import UnfinishedError
from napari_twostage.geometry import Grid
from napari_twostage.io.annotations import Annotation, even_odd
from napari_twostage.measure import blocks
from napari_twostage.measure.annotations import AREA, TISSUE, area_mm2, measured, without_outdated
from napari_twostage.measure.areas import areas
from napari_twostage.measure.tissue_area import tissue_mm2
from napari_twostage.measure.within import Within, covered_mm2

if TYPE_CHECKING:
    from pathlib import Path

BOX = ts.Box(21, 30, 107, 160)


def polygon(box: ts.Box) -> tuple[tuple[float, float], ...]:
    top, left, bottom, right = map(float, box.as_list())
    return (top, left), (top, right), (bottom, right), (bottom, left)


STAR = tuple(
    (70 + r * np.sin(a), 90 + r * np.cos(a))
    for a, r in zip(np.arange(16) * np.pi / 8, [60, 25] * 8, strict=True)
)


def test_pixels_are_in_a_region_if_their_centres_are() -> None:
    box = ts.Box(3, 7, 120, 170)
    rings = (STAR, polygon(ts.Box(60, 80, 75, 95)), polygon(ts.Box(0, 150, 30, 190)))
    mask = Within(rings, (150, 200)).mask(box)
    rows, columns = np.mgrid[box.slices] + 0.5
    expected = shapely.contains_xy(even_odd(rings), columns, rows)
    np.testing.assert_array_equal(mask, expected)
    assert 0 < mask.sum() < mask.size


@pytest.mark.parametrize("block_px", [32, 1536])
def test_a_rectangle_is_measured_as_a_result_of_that_region(
    tmp_path: Path, monkeypatch, block_px: int
) -> None:
    monkeypatch.setattr(blocks, "BLOCK_PX", block_px)
    slide, options = noise_slide(150, 200), {"refine": "all", "least_object_um2": 4.0}
    model = FakeModel()
    bound = ts.segment(slide, model, tmp_path / "a.zarr", region=BOX, tissue=False, **options)
    whole = ts.segment(slide, model, tmp_path / "b.zarr", tissue=False, **options)
    found = areas(whole, region=(polygon(BOX),))
    for one, other in zip(found, areas(bound), strict=True):
        assert one.objects > 1
        shares = {"tissue_fraction": 0, "tissue_mm2": 0}
        assert replace(one, **shares) == replace(other, **shares)
        assert one.tissue_fraction == pytest.approx(other.tissue_fraction)
        assert one.tissue_mm2 == pytest.approx(other.tissue_mm2)
    assert tissue_mm2(whole, (polygon(BOX),)) == pytest.approx(tissue_mm2(bound))


def test_tissue_is_that_inside_the_outline() -> None:
    mask = np.ones((20, 30), bool)
    mask[:, 15:] = False
    grid = Grid((20, 30), (8.0, 8.0), (4.0, 4.0))
    shape = even_odd((STAR,))
    expected = shapely.area(shapely.intersection(shape, shapely.box(0, 0, 120, 160)))
    assert covered_mm2((STAR,), mask, grid) == pytest.approx(expected * 0.25 / 1e6)
    assert area_mm2((STAR,), (0.5, 0.5)) == pytest.approx(shape.area * 0.25 / 1e6)
    assert covered_mm2((polygon(ts.Box(900, 900, 910, 910)),), mask, grid) == 0


def test_measurements_are_current_until_labels_change(tmp_path: Path) -> None:
    slide = noise_slide(150, 200)
    near = Annotation("near", (polygon(BOX),))
    seg = ts.segment(
        slide, FakeModel(), tmp_path / "a.zarr", region=near.rings, refine="none", tissue=False
    )
    there = measured(seg, near)
    assert there.measurements[AREA] == pytest.approx(BOX.area * 0.25 / 1e6)
    assert there.measurements[TISSUE] == pytest.approx(BOX.area * 0.25 / 1e6)
    assert there.measurements["nucleus: objects"] > 1
    assert without_outdated(seg, [there]) == [there]
    seg.save_annotations([there])
    again = ts.Segmentation.open(seg.path, slide=slide)
    (kept,) = again.read_annotations()
    assert kept == there
    assert without_outdated(again, [kept]) == [kept]
    seg.refine(seg.plan(n_tiles=1))
    assert without_outdated(seg, [kept]) == [near]
    strip = Annotation("strip", (polygon(ts.Box(140, 0, 150, 200)),))
    with pytest.raises(UnfinishedError, match="strip is not segmented yet"):
        measured(seg, strip)
