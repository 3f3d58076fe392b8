"""Overlay image of all tiles: the state of each, and those that the threshold selects."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np
from napari.utils.colormaps import Colormap

from napari_twostage.method.tiling import TileState

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.method.tiling import TileGrid

Value = TypeVar("Value", bound=np.generic)

SELECTED = len(TileState)
"""State of a tile above the threshold, in addition to those of `TileState`."""
TILE_COLORS: dict[int, str] = {
    TileState.OUTSIDE: "#00000000",
    TileState.COARSE: "#00000000",
    TileState.REFINED: "#2f6bff1c",
    TileState.EDITED: "#d64bff24",
    TileState.FAILED: "#ff2d2d90",
    SELECTED: "#ff8c1a70",
}
"""Colour of each state, #rrggbbaa; translucent, so that the tissue stays visible."""
OVERLAY_MAX = 2 * len(TILE_COLORS)
"""Upper contrast limit of the overlay; state s is drawn as 2 s + 1, mid-band in the colormap."""
_MAX_CELLS_PER_SIDE = 16
"""Overlay pixels along the side of a tile, at most."""
_MAX_CELLS = 250_000
"""Overlay pixels at most, unless a tile is one pixel: every threshold move touches them all."""


class TileOverlay:
    """Pixels of the tile overlay, prepared so that a new threshold is fast to draw.

    Parameters
    ----------
    tiles : TileGrid
        Tiles of the slide.
    """

    def __init__(self, tiles: TileGrid) -> None:
        self.cells_per_tile = _cells_per_tile(tiles)
        """Overlay pixels along the side of a tile; tiles at the slide's edge have fewer."""
        self._base = np.zeros((0, 0), np.uint8)
        self._selectable = np.zeros((0, 0), np.float32)
        self._above = np.zeros((0, 0), bool)

    def set_tiles(
        self, states: NDArray[np.uint8], selectable: NDArray[np.float32], shape: tuple[int, ...]
    ) -> None:
        """Set everything that does not depend on the threshold.

        Parameters
        ----------
        states : (rows, columns) uint8 array
            `TileState` of each tile.
        selectable : (rows, columns) float32 array
            Score of each tile that may be refined, NaN for all others.
        shape : (int, int)
            Shape of the overlay image.
        """
        self._base = repeat_tiles(_overlay_value(states), self.cells_per_tile, shape)
        self._selectable = repeat_tiles(selectable, self.cells_per_tile, shape)
        self._above = np.zeros(shape, bool)

    def paint(self, pixels: NDArray[np.uint8], threshold: float | None) -> None:
        """Write the overlay into `pixels` in place, with tiles above the threshold highlighted."""
        if pixels.shape != self._base.shape:  # set_tiles was not called yet
            return
        np.copyto(pixels, self._base)
        if threshold is not None:
            np.greater(self._selectable, threshold, out=self._above)
            np.putmask(pixels, self._above, _overlay_value(SELECTED))


def tile_colormap() -> Colormap:
    """Colormap over [0, `OVERLAY_MAX`] with a band for each state."""
    return Colormap(
        list(TILE_COLORS.values()),
        controls=np.linspace(0, 1, len(TILE_COLORS) + 1),
        interpolation="zero",
        name="tile states",
    )


def repeat_tiles(tiles: NDArray[Value], side: int, shape: tuple[int, ...]) -> NDArray[Value]:
    """Array in which each tile has `side` × `side` pixels, cropped to `shape`."""
    return tiles.repeat(side, 0).repeat(side, 1)[: shape[0], : shape[1]]


def _overlay_value(states: NDArray[np.uint8] | int) -> NDArray[np.uint8]:
    return np.asarray(2 * states + 1, dtype=np.uint8)


def _cells_per_tile(tiles: TileGrid) -> int:
    """Overlay pixels along a tile's side; more of them follow the slide's edge more closely."""
    rows, columns = tiles.shape
    side = 1
    while (
        side < _MAX_CELLS_PER_SIDE
        and (2 * side) ** 2 * rows * columns <= _MAX_CELLS
        and tiles.tile_px % (2 * side) == 0
    ):
        side *= 2
    return side
