"""Tiles are marked by lines alone, as wide at every zoom; nothing else is drawn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

from napari_twostage.geometry import Box
from napari_twostage.method.tiling import TileGrid, TileState
from napari_twostage.viewer.colormaps import Ink
from napari_twostage.viewer.drawn_levels import FINER
from napari_twostage.viewer.tile_overlay import LEAST_SIDE, TileOverlay

TILES = TileGrid((300, 500), 64, 16)
STATES = np.full(TILES.shape, TileState.COARSE, np.uint8)
STEPS = [2**level / FINER for level in range(6)]


def overlay_of(states: np.ndarray, *chosen: tuple[int, int]) -> TileOverlay:
    overlay = TileOverlay(TILES)
    scores = np.zeros(TILES.shape, np.float32)
    for tile in chosen:
        scores[tile] = 0.5
    scores[0, 0] = np.nan
    overlay.set_tiles(states, scores)
    overlay.select(0.2)
    return overlay


def whole(overlay: TileOverlay, step: float) -> np.ndarray:
    return overlay.draw(Box(0, 0, *(math.ceil(length / step) for length in TILES.plane)), step)


@pytest.mark.parametrize("step", STEPS)
def test_a_selected_tile_has_a_border_of_four_pixels_at_every_zoom(step: float) -> None:
    drawn = whole(overlay_of(STATES, (1, 2)), step)
    side = 64 / step
    if side < LEAST_SIDE:
        filled = np.argwhere(drawn == Ink.SELECTED_FILL)
        assert np.array_equal(filled.min(axis=0), [side, 2 * side])
        assert (drawn == Ink.SELECTED_FILL).sum() == side**2
        return
    line = drawn == Ink.SELECTED
    place = np.argwhere(line)
    np.testing.assert_array_equal(place.min(axis=0), [side - 2, 2 * side - 2])
    np.testing.assert_array_equal(place.max(axis=0), [2 * side + 1, 3 * side + 1])
    middle = int(1.5 * side)
    assert line[middle].sum() == line[:, int(2.5 * side)].sum() == 8  # two lines of four
    assert not drawn[middle, int(2 * side) + 4 : int(3 * side) - 4].any()  # the stain is free
    assert set(np.unique(drawn)) == {Ink.NOTHING, Ink.RIM, Ink.SELECTED}
    beside = ndimage.binary_dilation(line) & ~line
    assert (drawn[beside] == Ink.RIM).mean() > 0.85  # but for the corners


def test_tiles_that_touch_share_a_border() -> None:
    drawn = whole(overlay_of(STATES, (1, 2), (1, 3)), 1)
    assert (drawn[96] == Ink.SELECTED).sum() == 12


def test_each_state_has_a_mark_of_its_own() -> None:
    states = STATES.copy()
    states[0, 0], states[2, 1], states[3, 3], states[1, 1] = (
        TileState.REFINED, TileState.EDITED, TileState.FAILED, TileState.OUTSIDE,
    )  # fmt: skip
    drawn = whole(overlay_of(states), 0.5)
    inks = {ink: np.argwhere(drawn == ink) // 128 for ink in (Ink.REFINED, Ink.EDITED, Ink.FAILED)}
    assert {ink: set(map(tuple, found.tolist())) for ink, found in inks.items()} == {
        Ink.REFINED: {(0, 0)}, Ink.EDITED: {(2, 1)}, Ink.FAILED: {(3, 3)},
    }  # fmt: skip
    corner = np.argwhere(drawn == Ink.REFINED)
    assert corner.max() < 32
    edited = drawn[256:384, 128:256] == Ink.EDITED
    dashes = ndimage.label(edited)[1]
    assert dashes > 12
    assert not edited[12:-12, 12:-12].any()
    failed = drawn[384:512, 384:512]
    assert 0.2 < (failed == Ink.FAILED).mean() < 0.3
    assert (failed == Ink.NOTHING).mean() > 0.5


@pytest.mark.parametrize("step", STEPS)
def test_a_frame_is_as_wide_at_every_zoom_and_never_too_small_to_be_found(step: float) -> None:
    overlay = overlay_of(STATES)
    overlay.framed = Box(128, 128, 192, 256)
    drawn = whole(overlay, step)
    white = np.argwhere(drawn == Ink.PLACE)
    width = np.ptp(white, axis=0) + 1
    np.testing.assert_array_equal(width, np.array((64, 128)) / step + max(0, 24 - 64 / step) + 10)
    across = drawn[int(160 / step)]
    assert (across == Ink.PLACE).sum() == 12  # on either side three, a dark line, and three


@pytest.mark.parametrize("step", STEPS)
def test_a_part_is_drawn_as_in_the_whole(step: float) -> None:
    rng = np.random.default_rng(0)
    states = rng.integers(1, len(TileState), TILES.shape).astype(np.uint8)
    overlay = overlay_of(states, (0, 3), (4, 7), (2, 2), (2, 3))
    overlay.framed = Box(64, 128, 192, 256)
    drawn = whole(overlay, step)
    for _ in range(8):
        top, left = (int(rng.integers(length)) for length in drawn.shape)
        box = Box(top, left, top + int(rng.integers(1, 200)), left + 90).clip(drawn.shape)
        np.testing.assert_array_equal(overlay.draw(box, step), drawn[box.slices])


def test_the_levels_show_what_is_drawn() -> None:
    overlay = overlay_of(STATES, (1, 2))
    for step, level in zip(STEPS, overlay.levels, strict=False):
        np.testing.assert_array_equal(level[:, :], whole(overlay, step))


def test_no_threshold_selects_nothing_and_a_new_one_draws_anew() -> None:
    overlay = overlay_of(STATES, (1, 2))
    kept = overlay.levels[-1]
    before = kept.copy()
    overlay.select(None)
    assert not overlay.selected.any()
    assert not kept.any()
    overlay.select(0.2)
    assert np.array_equal(kept, before)
    assert before.any()
