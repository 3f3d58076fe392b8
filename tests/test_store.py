"""Pixels on disk: labels composed on reading, and an overview that shows the same."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.fakes import CLASSES, make_card

from napari_twostage.compose import thin, upsample
from napari_twostage.geometry import Box, Grid
from napari_twostage.store import SMALL_PX, SURE, UNSET, Layout, Store
from napari_twostage.tiling import Tile, TileGrid
from napari_twostage.uncertainty import labels as likeliest

if TYPE_CHECKING:
    from pathlib import Path

SIZES = {"tile_px": 64, "coarse_window_px": 36}
SHAPE = (2107, 603)
"""Two levels that are composed and two that are kept; sizes that nothing divides."""
OUTSIDE: Tile = (3, 2)
"""A tile without logits, as outside the tissue."""
REFINED: list[Tile] = [(0, 0), (3, 4), (5, 5), (32, 9), (32, 3), (10, 9)]
EDITED = [Box(2, 3, 140, 81), Box(2090, 580, 2107, 603)]


def make_layout(shape: tuple[int, int], classes: int = 1, **changes: object) -> Layout:
    card = make_card(classes=CLASSES[:classes], **changes)
    fine = Grid(shape, (1.0, 1.0), (0.5, 0.5))
    return Layout(fine, card, TileGrid(shape, card.tile_px, card.halo_px))


class Filled:
    """A store with coarse, refined and edited tiles, and the planes that were put into it."""

    def __init__(self, path: Path, classes: int) -> None:
        self.path = path
        self.layout = make_layout(SHAPE, classes, **SIZES)
        self.store = Store(path, self.layout, create=True)
        rng = np.random.default_rng(classes)
        shape = self.layout.card.outputs, *self.layout.coarse.shape
        self.logits = rng.normal(size=shape).astype(np.float16)
        self.logits[:, *self.layout.coarse_box(OUTSIDE).slices] = np.nan
        self.over = np.full(SHAPE, UNSET, np.uint8)
        for core in self.layout.coarse.box.blocks(self.layout.card.coarse_core_px):
            self.store.write_window(core, self.logits[:, *core.slices])
        for tile in REFINED:
            square = rng.integers(0, classes + 1, (64, 64)).astype(np.uint8)
            self.store.write_tile(tile, square)
            box = self.layout.tiles.box(tile)
            self.over[box.slices] = square[: box.height, : box.width]
        for box in EDITED:
            painted = rng.integers(0, classes + 1, box.shape).astype(np.uint8)
            self.store.write_edits(box, painted)
            self.over[box.slices] = painted
        self.store.refresh_overview()

    def whole(self, level: int) -> np.ndarray:
        return self.store.read_labels(Box(0, 0, *self.layout.level_shapes[level]), level)

    def expected(self, level: int) -> np.ndarray:
        """A level from planes in memory."""
        step, ratio = self.layout.steps[level], self.layout.card.ratio
        known = self.logits.copy()
        background = [-SURE] if len(known) == 1 else [SURE, *[0] * (len(known) - 1)]
        known[:, *self.layout.coarse_box(OUTSIDE).slices] = np.array(background)[:, None, None]
        if step >= ratio:
            under = thin(likeliest(known), step // ratio)
        else:
            read = partial(lambda planes, box: planes[:, *box.slices], known)
            box = Box(0, 0, *SHAPE)
            under = thin(likeliest(upsample(read, known.shape[1:], box, ratio)), step)
        over = thin(self.over, step)
        return np.where(over == UNSET, under, over)


@pytest.fixture(scope="module", params=[1, 2], ids=["one class", "two classes"])
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Filled:
    return Filled(tmp_path_factory.mktemp("store") / "out", request.param)


def test_every_level_shows_what_was_written(filled: Filled) -> None:
    assert filled.layout.steps == (1, 2, 4, 8)
    for level in range(4):
        np.testing.assert_array_equal(filled.whole(level), filled.expected(level))


def test_overview_levels_are_the_thinned_labels_where_tiles_are_refined_or_edited(
    filled: Filled,
) -> None:
    finest = filled.whole(0)
    for level, step in enumerate(filled.layout.steps):
        covered = thin(filled.over, step) != UNSET
        assert covered.any()
        np.testing.assert_array_equal(filled.whole(level)[covered], thin(finest, step)[covered])


def test_nothing_is_segmented_where_there_are_no_logits(filled: Filled) -> None:
    place = filled.layout.tiles.box(OUTSIDE)
    assert not filled.store.read_labels(place.grow(-2)).any()


def test_another_session_reads_the_same(filled: Filled) -> None:
    opened = Store(filled.path, filled.layout)
    assert not opened.stale
    for level, shape in enumerate(filled.layout.level_shapes):
        found = opened.read_labels(Box(0, 0, *shape), level)
        np.testing.assert_array_equal(found, filled.whole(level))


def test_the_overview_catches_up_with_tiles_of_a_run_that_was_killed(tmp_path: Path) -> None:
    layout = make_layout(SHAPE, **SIZES)
    store = Store(tmp_path / "out", layout, create=True)
    store.write_tile((4, 4), np.ones((64, 64), np.uint8))
    again = Store(tmp_path / "out", layout)
    again.mark_stale([(4, 4)])
    assert again.stale
    again.refresh_overview()
    place = layout.tiles.box((4, 4)).scaled(1 / layout.steps[-1])
    assert again.read_labels(place, len(layout.steps) - 1).all()
    assert not again.stale


def test_a_single_level_of_a_small_plane_is_followed_by_those_up_to_the_coarse_grid() -> None:
    assert make_layout((40, 30)).steps == (1, 2, 4)
    assert make_layout((40, 30), ratio=1, coarse_window_px=36).steps == (1,)


@pytest.mark.parametrize("shape", [(513, 9), (4097, 5000), (70_000, 1)])
def test_levels_go_on_until_they_are_small_or_a_tile_is_a_pixel(shape: tuple[int, int]) -> None:
    layout = make_layout(shape)
    last = layout.steps[-1]
    assert max(layout.level_shapes[-1]) <= SMALL_PX or last == layout.card.tile_px
    assert all(layout.card.tile_px % step == 0 for step in layout.steps)
    assert [2 * step for step in layout.steps[:-1]] == list(layout.steps[1:])
