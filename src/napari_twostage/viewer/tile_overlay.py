"""Picture of the tiles: borders of those that the threshold selects, marks of the others' states.

Nothing is tinted, so that the stain stays as it is. Lines have dark rims, to be seen on any ground.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.method.tiling import TileState
from napari_twostage.viewer.colormaps import Ink
from napari_twostage.viewer.drawn_levels import DrawnLevels
from napari_twostage.viewer.place_frame import draw_frame

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.geometry import Box
    from napari_twostage.method.tiling import TileGrid

LEAST_SIDE = 12
"""Pixels along a tile's side below which it is filled: there is no room for borders."""
_TICK_PX, _INSET_PX = 18, 4
"""Side of the corner tick of a refined tile, and its distance from the tile's border."""
_DASH_PX = 8
_HATCH_PX = 12
_FILLS = {
    TileState.REFINED: Ink.REFINED_FILL,
    TileState.EDITED: Ink.EDITED_FILL,
    TileState.FAILED: Ink.FAILED_FILL,
}


class TileOverlay:
    """Levels that show the state of every tile, and which the threshold selects.

    Parameters
    ----------
    tiles : TileGrid
        Tiles of the slide.
    """

    def __init__(self, tiles: TileGrid) -> None:
        self._tile_px = tiles.tile_px
        self._shape = tiles.shape
        self._scores = np.full(tiles.shape, np.nan, np.float32)
        self.states = np.zeros(tiles.shape, np.uint8)
        """(rows, columns): `TileState` of each tile."""
        self.selected = np.zeros(tiles.shape, bool)
        """(rows, columns): whether the threshold selects it."""
        self.framed: Box | None = None
        """Box of the plane with a frame round it."""
        self._drawn = DrawnLevels(tiles.plane, self.draw)
        self.levels = self._drawn.levels
        """Levels of a multiscale Image layer, of values of `Ink`."""

    def set_tiles(self, states: NDArray[np.uint8], selectable: NDArray[np.float32]) -> None:
        """Set everything that does not depend on the threshold.

        Parameters
        ----------
        states : (rows, columns) uint8 array
            `TileState` of each tile.
        selectable : (rows, columns) float32 array
            Score of each tile that may be refined, NaN for all others.
        """
        self.states, self._scores = states, selectable

    def select(self, threshold: float | None) -> None:
        """Select the tiles above a threshold, or none, and draw anew."""
        # NaN compares false with every threshold
        self.selected = self._scores > (np.inf if threshold is None else threshold)
        self._drawn.changed()

    def draw(self, box: Box, step: float) -> NDArray[np.uint8]:
        """Draw a part of a level.

        Parameters
        ----------
        box : Box
            Part of the level.
        step : float
            Pixels of the plane along a side of a pixel of the level.

        Returns
        -------
        (box.height, box.width) uint8 array
            Values of `Ink`.
        """
        side = self._tile_px / step
        rows = _Axis(box.top, box.bottom, side, self._shape[0])
        columns = _Axis(box.left, box.right, side, self._shape[1])
        inside = slice(rows.first, rows.last + 1), slice(columns.first, columns.last + 1)
        states, selected = self.states[inside], self.selected[inside]
        pixels = self._draw_tiles(box, rows, columns, states, selected)
        if self.framed is not None:
            draw_frame(pixels, box, step, self.framed)
        return pixels

    def _draw_tiles(
        self,
        box: Box,
        rows: _Axis,
        columns: _Axis,
        states: NDArray[np.uint8],
        selected: NDArray[np.bool_],
    ) -> NDArray[np.uint8]:
        if rows.side < LEAST_SIDE:
            return _fills(states, selected)[np.ix_(rows.tile, columns.tile)]
        pixels = np.zeros(box.shape, np.uint8)
        _draw_hatches(pixels, rows, columns, states == TileState.FAILED)
        _draw_dashes(pixels, rows, columns, states == TileState.EDITED)
        _draw_ticks(pixels, rows, columns, states == TileState.REFINED)
        if self.selected.any():
            self._draw_borders(pixels, rows, columns)
        return pixels

    def _draw_borders(self, pixels: NDArray[np.uint8], rows: _Axis, columns: _Axis) -> None:
        """Lines of four pixels around selected tiles, with rims of one."""
        around = np.pad(self.selected, 1)
        part = around[rows.first : rows.last + 3, columns.first : columns.last + 3]
        # a line lies between two tiles if either is selected
        across = (part[:-1] | part[1:])[:, 1:-1][:, columns.tile]
        along = (part[:, :-1] | part[:, 1:])[1:-1][rows.tile]
        for reach, ink in ((3, Ink.RIM), (2, Ink.SELECTED)):
            for line, edge in zip(across, rows.edges, strict=True):
                pixels[max(0, edge - reach) : max(0, edge + reach), line] = ink
            for line, edge in zip(along.T, columns.edges, strict=True):
                pixels[line, max(0, edge - reach) : max(0, edge + reach)] = ink


class _Axis:
    """Pixels of one axis of a box, and the tiles they lie in."""

    def __init__(self, start: int, stop: int, side: float, count: int) -> None:
        self.side = side
        self.first = min(count - 1, int(start / side))
        self.last = min(count - 1, int(max(start, stop - 1) / side))
        place = np.arange(start, stop)
        borders = np.round(np.arange(self.first, self.last + 2) * side).astype(int)
        self.tile = np.clip(np.searchsorted(borders, place, "right") - 1, 0, len(borders) - 2)
        """Tile of each pixel, from the first one in the box."""
        self.place = place
        self.before = place - borders[self.tile]
        """Pixels of the tile before each pixel."""
        self.behind = borders[self.tile + 1] - 1 - place
        self.edges = (borders - start).tolist()
        """Place of each border in the box."""


def _fills(states: NDArray[np.uint8], selected: NDArray[np.bool_]) -> NDArray[np.uint8]:
    fills = np.zeros(states.shape, np.uint8)
    for state, ink in _FILLS.items():
        fills[states == state] = ink
    fills[selected] = Ink.SELECTED_FILL
    return fills


def _draw_ticks(
    pixels: NDArray[np.uint8], rows: _Axis, columns: _Axis, refined: NDArray[np.bool_]
) -> None:
    """A triangle in the upper left corner of each tile."""
    if not refined.any():
        return
    near = [np.flatnonzero(axis.before < _INSET_PX + _TICK_PX + 1) for axis in (rows, columns)]
    down, right = (
        axis.before[part] - _INSET_PX for axis, part in zip((rows, columns), near, strict=True)
    )
    there = refined[np.ix_(rows.tile[near[0]], columns.tile[near[1]])]
    place = np.ix_(*near)
    part = pixels[place]
    along = down[:, None] + right
    least = np.minimum(down[:, None], right)
    part[there & (least >= -1) & (along < _TICK_PX + 1)] = Ink.RIM
    part[there & (least >= 0) & (along < _TICK_PX - 1)] = Ink.REFINED
    pixels[place] = part


def _draw_dashes(
    pixels: NDArray[np.uint8], rows: _Axis, columns: _Axis, edited: NDArray[np.bool_]
) -> None:
    """A dashed line inside each tile, with rims."""
    if not edited.any():
        return
    there = edited[np.ix_(rows.tile, columns.tile)]
    within = np.minimum(
        np.minimum(rows.before, rows.behind)[:, None], np.minimum(columns.before, columns.behind)
    )
    dashed = ((rows.place[:, None] + columns.place) // _DASH_PX) % 2 == 0
    pixels[there & dashed & (within >= _INSET_PX - 1) & (within <= _INSET_PX + 4)] = Ink.RIM
    pixels[there & dashed & (within >= _INSET_PX) & (within <= _INSET_PX + 3)] = Ink.EDITED


def _draw_hatches(
    pixels: NDArray[np.uint8], rows: _Axis, columns: _Axis, failed: NDArray[np.bool_]
) -> None:
    """Slanted lines all over each tile, with a rim on one side."""
    if not failed.any():
        return
    there = failed[np.ix_(rows.tile, columns.tile)]
    slant = (rows.place[:, None] + columns.place) % _HATCH_PX
    pixels[there & (slant == 0)] = Ink.RIM
    pixels[there & ((slant >= 1) & (slant <= 3))] = Ink.FAILED
