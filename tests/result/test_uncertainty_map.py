"""The uncertainty map holds the mean of each cell, in whatever order its windows came."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes import FakeModel, make_card, noise_slide

import napari_twostage as ts
from napari_twostage.geometry import Box, Grid
from napari_twostage.method.tiling import TileGrid
from napari_twostage.result.label_arrays import create_arrays
from napari_twostage.result.label_store import LabelStore
from napari_twostage.result.layout import Layout
from napari_twostage.result.pixel_scores import PixelScores
from napari_twostage.result.uncertainty_map import CELLS, UncertaintyMap

if TYPE_CHECKING:
    from pathlib import Path

    from napari_twostage.models.card import ModelCard

LARGE = make_card(tile_px=96, coarse_window_px=100)
"""A coarse tile of 24 pixels: cells of three."""


def layout(shape: tuple[int, int], card: ModelCard = LARGE) -> Layout:
    grid = Grid(shape, (1.0, 1.0), (0.5, 0.5))
    return Layout(grid, card, TileGrid(shape, card.tile_px, card.halo_px))


def make_map(folder: Path, made: Layout) -> UncertaintyMap:
    """Make, or open, the map of a store whose windows are all written."""
    if not folder.exists():
        create_arrays(folder, made)
    store = LabelStore(folder, made)
    store.mark_written(
        np.zeros(made.tiles.shape, bool), made.coarse.box.blocks(made.card.coarse_core_px)
    )
    return UncertaintyMap(folder / "heat", store, PixelScores(store, "tent"))


def means(doubt: np.ndarray, cell: int) -> np.ndarray:
    """Of blocks, those at the edge over the pixels that exist."""
    rows, columns = (range(0, length, cell) for length in doubt.shape)
    known = np.nan_to_num(doubt)
    return np.array([[known[r : r + cell, c : c + cell].mean() for c in columns] for r in rows])


def doubt_of(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    doubt = rng.random(shape, np.float32)
    doubt[rng.random(shape) < 0.2] = np.nan
    return doubt


@given(rows=st.integers(1, 120), columns=st.integers(1, 200), seed=st.integers(0, 9))
def test_cells_are_block_means_whatever_the_order_of_windows(
    tmp_path_factory: pytest.TempPathFactory, rows: int, columns: int, seed: int
) -> None:
    made = layout((4 * rows, 4 * columns))
    doubt = doubt_of((rows, columns), seed)
    windows = list(Box(0, 0, rows, columns).blocks(LARGE.coarse_core_px))
    expected = np.rint(255 * means(doubt, 3))
    for order in (windows, np.random.default_rng(seed).permutation(len(windows))):
        heat = make_map(tmp_path_factory.mktemp("heat") / "out", made)
        for window in order:
            core = windows[window] if isinstance(window, np.integer) else window
            heat.write(core, heat.cells(doubt[core.slices]))
        assert heat.pixels.shape == heat.grid.shape == expected.shape
        assert np.abs(heat.pixels - expected).max() <= 1e-6 + 1  # halves may round either way
        assert np.mean(heat.pixels != expected) < 0.02


def test_where_nothing_is_known_it_is_cold(tmp_path: Path) -> None:
    heat = make_map(tmp_path / "heat", layout((400, 400)))
    assert not heat.pixels.any()
    heat.write(Box(0, 0, 96, 96), heat.cells(np.full((96, 96), np.nan)))
    assert not heat.pixels.any()
    heat.write(Box(0, 0, 96, 96), heat.cells(np.ones((96, 96))))
    assert (heat.pixels[:32, :32] == 255).all()
    assert not heat.pixels[32:].any()
    assert not heat.pixels[:, 32:].any()


def test_the_measure_of_several_classes_may_exceed_one(tmp_path: Path) -> None:
    heat = make_map(tmp_path / "heat", layout((96, 96)))
    heat.write(Box(0, 0, 24, 24), heat.cells(np.full((24, 24), 1.4)))
    assert (heat.pixels == 255).all()


def test_a_tile_of_few_coarse_pixels_has_a_cell_for_each(tmp_path: Path) -> None:
    heat = make_map(tmp_path / "heat", layout((64, 64), make_card()))
    assert heat.grid.shape == (16, 16)
    assert make_card().coarse_tile_px < CELLS
    doubt = doubt_of((8, 8))
    heat.write(Box(8, 0, 16, 8), heat.cells(doubt))
    np.testing.assert_array_equal(heat.pixels[8:, :8], np.rint(255 * np.nan_to_num(doubt)))


def test_it_survives_reopening_and_may_be_opened_before_it_is_made(tmp_path: Path) -> None:
    made, doubt = layout((384, 384)), doubt_of((96, 96))
    first = make_map(tmp_path / "heat", made)
    first.write(Box(0, 0, 48, 96), first.cells(doubt[:48]))
    second = make_map(tmp_path / "heat", made)
    np.testing.assert_array_equal(second.pixels, first.pixels)
    second.write(Box(48, 0, 96, 96), second.cells(doubt[48:]))
    whole = make_map(tmp_path / "whole", made)
    whole.write(Box(0, 0, 96, 96), whole.cells(doubt))
    np.testing.assert_array_equal(make_map(tmp_path / "heat", made).pixels, whole.pixels)


@pytest.mark.parametrize("measure", ["tent", "entropy"])
def test_a_results_heat_is_its_uncertainty_on_cells(tmp_path: Path, measure: str) -> None:
    slide, out = noise_slide(), tmp_path / "out"
    seg = ts.segment(slide, FakeModel(), out, refine="none", tissue=False, uncertainty=measure)
    expected = 255 * means(seg.uncertainty.compute(), 1)
    assert seg.uncertainty_map.grid.shape == seg.coarse_grid.shape
    for pixels in (seg.uncertainty_map.pixels, ts.Segmentation.open(out).uncertainty_map.pixels):
        assert np.abs(pixels - expected).max() <= 0.5 + 1e-3


def test_a_killed_pass_goes_on_with_its_heat(tmp_path: Path) -> None:
    slide = noise_slide(300, 300)

    def run(out: Path, windows: int | None) -> ts.Segmentation:
        steps = ts.iter_segment(slide, FakeModel(), out, refine="none", tissue=False)
        for number, _ in enumerate(steps):
            if number == windows:
                break
        steps.close()
        return ts.Segmentation.open(out)

    cut = run(tmp_path / "cut", 5)
    assert not cut.coarse_complete
    whole = run(tmp_path / "whole", None)
    np.testing.assert_array_equal(
        run(tmp_path / "cut", None).uncertainty_map.pixels, whole.uncertainty_map.pixels
    )
