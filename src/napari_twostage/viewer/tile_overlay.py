"""Tiles as pixels of one image: the state of each, and which of them a threshold selects."""

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
"""What a tile is shown as that would be refined."""
TILE_COLORS: dict[int, str] = {
    TileState.OUTSIDE: "#00000000",
    TileState.COARSE: "#00000000",
    TileState.REFINED: "#2f6bff1c",
    TileState.EDITED: "#d64bff24",
    TileState.FAILED: "#ff2d2d90",
    SELECTED: "#ff8c1a70",
}
"""#rrggbbaa: pale enough to see the tissue through."""
SHADES = 2 * len(TILE_COLORS)
"""Pixels are below it: each state is in the middle of its band of the colormap."""
_MOST_CELLS = 16
"""Along the side of a tile."""
_CELLS = 250_000
"""Of all tiles, where each has several: a move of the threshold goes over them."""


class TileShades:
    """What the image of all tiles holds, ready for any threshold.

    Parameters
    ----------
    tiles : TileGrid
        What is shown.
    """

    def __init__(self, tiles: TileGrid) -> None:
        self.cells_per_tile = _cells_per_tile(tiles)
        """Pixels along the side of a tile; cut by the slide's edge, it has fewer."""
        self._base = np.zeros((0, 0), np.uint8)
        self._selectable = np.zeros((0, 0), np.float32)
        self._above = np.zeros((0, 0), bool)

    def take(
        self, states: NDArray[np.uint8], selectable: NDArray[np.float32], shape: tuple[int, ...]
    ) -> None:
        """Take over what does not depend on the threshold, once for all moves of the slider.

        Parameters
        ----------
        states : (rows, columns) uint8 array
            A `TileState` each.
        selectable : (rows, columns) float32 array
            Scores of tiles that may be refined, NaN for all others.
        shape : (int, int)
            Of the image.
        """
        self._base = enlarge(_shade(states), self.cells_per_tile, shape)
        self._selectable = enlarge(selectable, self.cells_per_tile, shape)
        self._above = np.zeros(shape, bool)

    def paint(self, pixels: NDArray[np.uint8], threshold: float | None) -> None:
        """Write the image in place, tiles above the threshold lit: all that a move of it costs."""
        if pixels.shape != self._base.shape:  # nothing is known of the tiles yet
            return
        np.copyto(pixels, self._base)
        if threshold is not None:
            np.greater(self._selectable, threshold, out=self._above)
            np.putmask(pixels, self._above, _shade(SELECTED))


def tile_colormap() -> Colormap:
    """A band of colour for each state, over 0 to `SHADES`."""
    return Colormap(
        list(TILE_COLORS.values()),
        controls=np.linspace(0, 1, len(TILE_COLORS) + 1),
        interpolation="zero",
        name="tile states",
    )


def enlarge(tiles: NDArray[Value], side: int, shape: tuple[int, ...]) -> NDArray[Value]:
    """Give each tile `side` × `side` pixels, as far as the slide reaches."""
    return tiles.repeat(side, 0).repeat(side, 1)[: shape[0], : shape[1]]


def _shade(states: NDArray[np.uint8] | int) -> NDArray[np.uint8]:
    return np.asarray(2 * states + 1, dtype=np.uint8)


def _cells_per_tile(tiles: TileGrid) -> int:
    """Enough that the last tiles end with the slide; the fewer there are, the more it is seen."""
    rows, columns = tiles.shape
    side = 1
    while (
        side < _MOST_CELLS
        and (2 * side) ** 2 * rows * columns <= _CELLS
        and tiles.tile_px % (2 * side) == 0
    ):
        side *= 2
    return side
