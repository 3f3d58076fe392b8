"""Tissue is found in bright and in dark field, none is missed and none invented."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.filters import threshold_otsu

from napari_twostage.errors import SlideError
from napari_twostage.geometry import Box, Grid
from napari_twostage.method.tiling import TileGrid
from napari_twostage.method.tissue import (
    MARGIN_UM,
    Tissue,
    _otsu,
    find_tissue,
    mask_area_mm2,
    tissue_of,
    whole_slide_tissue,
)
from napari_twostage.samples import sample_slide
from napari_twostage.slides import open_slide

MPP = 4.0
"""Half the pixel size of an overview, so that overviews have half the slide's side."""
BLOB = Box(100, 160, 260, 300)
SHAPE = (400, 500)


def slide_pixels(ground: int, tissue: int, *, grain: float = 4.0) -> np.ndarray:
    """One rectangle on an empty background, with camera noise."""
    plane = np.full((*SHAPE, 3), float(ground))
    plane[BLOB.slices] = tissue
    plane += np.random.default_rng(0).normal(scale=grain, size=plane.shape)
    return np.rint(plane.clip(0, 255)).astype(np.uint8)


def found(pixels: np.ndarray) -> tuple[Tissue, np.ndarray]:
    """Tissue, and its mask at the resolution of the slide."""
    tissue = find_tissue(open_slide(pixels, mpp=MPP))
    return tissue, tissue.mask.repeat(2, axis=0).repeat(2, axis=1)


@pytest.mark.parametrize(
    ("ground", "tissue", "bright"),
    [(235, 150, True), (235, 205, True), (10, 120, False), (10, 40, False)],
    ids=["stained", "pale", "glowing", "dim"],
)
def test_tissue_is_found_with_its_margin_and_nothing_else(
    ground: int, tissue: int, bright: bool
) -> None:
    result, mask = found(slide_pixels(ground, tissue))
    assert result.bright_field is bright
    assert mask[BLOB.slices].all()
    beyond = np.ones(SHAPE, bool)
    beyond[BLOB.grow(round(MARGIN_UM / MPP) + 8).slices] = False
    assert not mask[beyond].any()
    alone = result.measured.repeat(2, axis=0).repeat(2, axis=1)
    assert alone.sum() == pytest.approx(BLOB.area, rel=0.15)
    assert not (alone & ~mask).any()


def test_specks_go_and_holes_are_filled() -> None:
    pixels = slide_pixels(235, 150)
    pixels[20:24, 20:24] = 100
    pixels[150:200, 200:250] = 235
    _, mask = found(pixels)
    assert mask[BLOB.slices].all()
    assert not mask[:40, :40].any()


@pytest.mark.parametrize("level", [240, 5], ids=["glass", "dark"])
@pytest.mark.parametrize("grain", [0.0, 2.0])
def test_an_empty_slide_is_refused_and_the_way_out_named(level: int, grain: float) -> None:
    slide = open_slide(slide_pixels(level, level, grain=grain), mpp=MPP)
    with pytest.raises(SlideError, match=r"found no tissue.*tissue=False.*--no-tissue") as caught:
        find_tissue(slide)
    assert "\n" not in str(caught.value)
    assert whole_slide_tissue(slide).mask.all()


def test_the_sample_slide_has_tissue_and_glass() -> None:
    with open_slide(sample_slide()) as slide:
        tissue = find_tissue(slide)
        height, width = slide.level_shapes[0]
        area_mm2 = height * width * np.prod(slide.mpp) / 1e6
    assert tissue.bright_field
    measured = mask_area_mm2(tissue.measured, tissue.grid, Box(0, 0, height, width))
    assert 0.3 < measured / area_mm2 < 0.98


@settings(max_examples=60)
@given(
    seed=st.integers(0, 99),
    height=st.integers(20, 150),
    width=st.integers(20, 150),
    tile=st.sampled_from([8, 13, 32]),
    fine_step=st.sampled_from([1.0, 0.7, 1.6]),
    coarse_step=st.sampled_from([1, 3, 8]),
)
def test_tiles_with_tissue_are_those_that_a_tissue_pixel_overlaps(
    seed: int, height: int, width: int, tile: int, fine_step: float, coarse_step: int
) -> None:
    level0 = Grid((height, width), (1.0, 1.0), (1.0, 1.0))
    grid = level0.coarser(coarse_step)
    mask = np.random.default_rng(seed).random(grid.shape) < 0.05
    fine_shape = round(height / fine_step), round(width / fine_step)
    fine = Grid(fine_shape, (fine_step, fine_step), (fine_step, fine_step))
    tiles = TileGrid(fine_shape, tile, 0)
    marked = Tissue(mask, grid, bright_field=True).tiles(tiles, fine)

    rows, columns = (
        overlaps(count, tile * fine_step, cells, coarse_step)
        for count, cells in zip(tiles.shape, mask.shape, strict=True)
    )
    assert np.array_equal(marked, rows @ mask.astype(int) @ columns.T > 0)


def overlaps(count: int, side: float, cells: int, cell_side: float) -> np.ndarray:
    """Overlap of each interval with each cell: (count, cells), 1 if they share any length."""
    starts, cell_starts = np.arange(count)[:, None] * side, np.arange(cells) * cell_side
    ends = np.minimum(starts + side, cell_starts + cell_side)
    return (ends - np.maximum(starts, cell_starts) > 1e-6 * cell_side).astype(int)


@settings(deadline=None)
@given(
    shape=st.tuples(st.integers(2, 40), st.integers(2, 40)),
    seed=st.integers(0, 2**32 - 1),
    contrast=st.floats(0, 10),
    scale=st.sampled_from([1e-3, 1.0, 50.0]),
)
def test_the_threshold_is_that_of_scikit_image(
    shape: tuple[int, int], seed: int, contrast: float, scale: float
) -> None:
    random = np.random.default_rng(seed)
    signal = random.random(shape) + contrast * (random.random(shape) < 0.3)
    signal = (scale * signal).astype(np.float32)
    assert _otsu(signal) == threshold_otsu(signal)


# -- dark field ---------------------------------------------------------------------------------


def dim_nuclei(*, ground: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Grey fluorescence: nuclei of very different brightness on noise, and their mask."""
    rng = np.random.default_rng(0)
    plane = rng.normal(ground, 1.5, SHAPE)
    mask = np.zeros(SHAPE, bool)
    for level in np.linspace(ground + 4, 200, 30):
        top, left = rng.integers(0, SHAPE[0] - 4), rng.integers(0, SHAPE[1] - 4)
        plane[top : top + 3, left : left + 3] = level
        mask[top : top + 3, left : left + 3] = True
    return plane.clip(0, 255).astype(np.uint8), mask


def test_a_dark_field_is_not_searched_unless_asked() -> None:
    plane, _nuclei = dim_nuclei()
    slide = open_slide(plane, mpp=MPP)
    found, forced = tissue_of(slide), tissue_of(slide, search=True)
    assert not found.bright_field
    assert not found.searched
    assert found.mask.all()
    assert forced.searched
    assert not forced.mask.all()
    bright = tissue_of(open_slide(slide_pixels(235, 150), mpp=MPP))
    assert bright.searched
    assert not bright.mask.all()


def test_only_black_that_was_not_scanned_is_left_out_of_a_dark_field() -> None:
    plane, _nuclei = dim_nuclei()
    canvas = np.zeros((1000, 1200), np.uint8)
    canvas[300:700, 400:900] = plane.clip(1)
    found = tissue_of(open_slide(canvas, mpp=MPP))
    scanned = found.measured.repeat(2, 0).repeat(2, 1)
    assert scanned[300:700, 400:900].all()
    assert scanned.sum() == plane.size


def test_signal_on_a_ground_of_exactly_nothing_is_never_left_out() -> None:
    plane, nuclei = dim_nuclei()
    alone = np.where(nuclei, plane, 0).astype(np.uint8)
    found = tissue_of(open_slide(alone, mpp=MPP))
    assert found.mask.repeat(2, 0).repeat(2, 1)[nuclei].all()
    assert not found.mask.all()


def test_a_square_on_a_black_canvas_is_the_area_that_was_scanned() -> None:
    canvas = np.zeros((1000, 1200, 3), np.uint8)
    canvas[300:700, 400:900] = slide_pixels(235, 150)
    found = tissue_of(open_slide(canvas, mpp=MPP))
    assert found.measured.sum() * 4 == 400 * 500
    assert found.mask.sum() > found.measured.sum()


def test_rare_cells_in_a_dark_field_are_found_when_asked_for() -> None:
    plane = np.full((3000, 3000), 100, np.uint16)
    plane[1500:1530, 1500:1530] = 3000
    slide = open_slide(plane, mpp=0.5)
    found = tissue_of(slide, search=True)
    cells = found.mask.repeat(16, 0).repeat(16, 1)[:3000, :3000]
    assert cells[1500:1530, 1500:1530].all()
    assert cells.mean() < 0.02
