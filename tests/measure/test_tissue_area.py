"""One tissue area everywhere: of the slide or region alone, and without its margin."""

from __future__ import annotations

import csv
import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.ndimage import label
from tests.fakes import FakeModel, noise_slide

import napari_twostage as ts
from napari_twostage.geometry import Box, Grid
from napari_twostage.measure.areas import areas
from napari_twostage.measure.summary import summarise, summary_lines
from napari_twostage.measure.tissue_area import tissue_mm2
from napari_twostage.method.steps import CoarseWindowDone
from napari_twostage.method.tissue import mask_area_mm2, mask_areas
from napari_twostage.slides import open_slide

if TYPE_CHECKING:
    from pathlib import Path

    from napari_twostage.slides.base import Slide

MPP = 0.5


def square_slide(side: int = 800, square: int = 400) -> tuple[Slide, float]:
    """A stained square on glass, and its area in mm²."""
    rng = np.random.default_rng(0)
    pixels = np.full((side, side, 3), 240, np.uint8)
    place = slice((side - square) // 2, (side + square) // 2)
    pixels[place, place] = rng.integers((120, 60, 130), (190, 130, 200), (square, square, 3))
    return open_slide(pixels, mpp=MPP), square**2 * MPP**2 / 1e6


def regions(labels: np.ndarray) -> int:
    """Number of connected regions."""
    return int(label(labels)[1])


def run(slide: Slide, out: Path, **options: object) -> ts.Segmentation:
    return ts.segment(slide, FakeModel(), out, **{"refine": "none", **options})


def test_a_square_of_tissue_has_its_own_area(tmp_path: Path) -> None:
    slide, expected = square_slide()
    seg = run(slide, tmp_path / "a.zarr")
    found = seg.record.tissue
    assert found.area_mm2 == pytest.approx(expected, rel=0.08)  # half a pixel of the overview
    assert found.area_mm2 == found.slide_mm2 == pytest.approx(tissue_mm2(seg))
    assert seg.tissue.sum() * 8**2 / 1e6 > 1.1 * expected  # the margin is segmented all the same


@pytest.mark.parametrize("shape", [(500, 1), (1, 1), (600, 600), (333, 1001)])
def test_pixels_of_the_mask_end_where_the_slide_does(
    tmp_path: Path, shape: tuple[int, int]
) -> None:
    slide = open_slide(np.full((*shape, 3), 90, np.uint8), mpp=MPP)
    seg = run(slide, tmp_path / "a.zarr", tissue=False)
    assert summarise(seg)["tissue_mm2"] == pytest.approx(shape[0] * shape[1] * MPP**2 / 1e6)


@pytest.mark.parametrize("box", [Box(200, 200, 350, 450), Box(167, 389, 500, 556)], ids=str)
def test_a_region_is_measured_alone_and_all_figures_agree(tmp_path: Path, box: Box) -> None:
    slide, whole = square_slide()
    seg = run(slide, tmp_path / "a.zarr", region=box)
    inside = box.intersect(Box(200, 200, 600, 600)).area * MPP**2 / 1e6
    summary = summarise(seg)
    assert summary["tissue_mm2"] == pytest.approx(inside, rel=0.03)
    assert summary["tissue_slide_mm2"] == pytest.approx(whole, rel=0.08)
    (nucleus,) = areas(seg)
    labels = seg.read_labels(seg.grid.box)
    assert nucleus.pixels == labels[box.slices].sum() < labels.sum()
    assert nucleus.objects == regions(labels[box.slices])
    assert nucleus.area_mm2 == summary["classes"][0]["area_mm2"]
    assert nucleus.tissue_fraction == pytest.approx(nucleus.area_mm2 / summary["tissue_mm2"])
    table = ts.export(seg, tmp_path / "areas.csv").read_text(encoding="utf-8")
    (row,) = csv.DictReader(table.splitlines())
    assert float(row["percent_of_tissue"]) == pytest.approx(
        100 * summary["classes"][0]["area_mm2"] / summary["tissue_mm2"], abs=1e-3
    )
    text = "\n".join(summary_lines(summary))
    assert "in the region" in text
    assert "on the slide" in text


def test_tissue_without_labels_yet_does_not_count(tmp_path: Path) -> None:
    slide = noise_slide(300, 300)
    steps = ts.iter_segment(slide, FakeModel(), tmp_path / "a.zarr", tissue=False, refine="none")
    for step in steps:
        if isinstance(step, CoarseWindowDone):
            break
    steps.close()
    seg = ts.Segmentation.open(tmp_path / "a.zarr", slide=slide)
    done = sum(box.area for box in seg.windows_done) * 4**2 * MPP**2 / 1e6
    assert tissue_mm2(seg) == pytest.approx(done)
    assert done < seg.record.tissue.area_mm2


def test_areas_of_cells_are_those_of_single_pixels() -> None:
    rng = np.random.default_rng(0)
    mask, step = rng.random((13, 9)) < 0.4, 7
    pixels = mask.repeat(step, 0).repeat(step, 1)
    grid = Grid(mask.shape, (step, step), (step, step))
    rows, columns = np.array([0, 5, 6, 40, 90]), np.array([3, 3, 30, 62])
    found = mask_areas(mask, grid, (rows, columns))
    expected = [
        [pixels[a:b, c:d].sum() for c, d in itertools.pairwise(columns)]
        for a, b in itertools.pairwise(rows)
    ]
    np.testing.assert_allclose(found * step**2, expected)
    assert mask_area_mm2(mask, grid, Box(5, 3, 40, 30)) == pytest.approx(
        pixels[5:40, 3:30].sum() / 1e6
    )
