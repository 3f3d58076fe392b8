"""Places of a slide to look at one by one: neighbouring tiles, the most uncertain first.

A place is a square of the tile grid, as wide as a screen shows at full resolution, with those of
its tiles that wait. One look judges all of them, which takes a fraction of the steps of looking at
tiles one by one. Squares lie where the grid has them, not where tiles are left, so a place stays
where it is while its tiles are refined; and a square is one chip of stage 2 for models whose tiles
are merged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_twostage.geometry import Box
from napari_twostage.method.tiling import MERGED_SIDES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_twostage.method.tiling import Tile, TileGrid

PLACE_PX = 512
"""Longest side of a place, in fine pixels, unless a tile is larger."""


@dataclass(frozen=True, slots=True)
class Place:
    """Neighbouring tiles that are looked at together."""

    number: int
    """Place in the grid of places, counted row by row."""
    tiles: tuple[Tile, ...]
    """Tiles that wait, row by row."""
    box: Box
    """Box of the fine grid around the tiles, inside the slide."""
    view: Box
    """Square of the fine grid round the middle of `box`, of one size for all places; may reach
    beyond the slide."""


class Rank(NamedTuple):
    """Position of a place in the order of a queue."""

    doubt: float
    """Score of its most uncertain tile, negated: the most uncertain place comes first."""
    number: int


class PlaceQueue:
    """Places with tiles that wait, the one with the most uncertain tile first.

    Places of equal uncertainty come row by row.

    Parameters
    ----------
    grid : TileGrid
        Tiles of the slide.
    waiting : (rows, columns) bool array
        Tiles that wait.
    scores : (rows, columns) float array
        Uncertainty of each tile; a number where it waits.
    """

    def __init__(
        self, grid: TileGrid, waiting: NDArray[np.bool_], scores: NDArray[np.floating]
    ) -> None:
        self._grid = grid
        self._side = place_side(grid)
        self.waiting = waiting
        highest = _block_maxima(np.where(waiting, scores, -np.inf), self._side)
        self._columns = highest.shape[1]
        flat = highest.ravel()
        there = np.flatnonzero(flat > -np.inf)
        order = np.lexsort((there, -flat[there]))
        self._numbers = there[order]
        self._doubts = -flat[self._numbers]

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: int) -> Place:
        number = int(self._numbers[index])
        row, column = (self._side * part for part in divmod(number, self._columns))
        part = self.waiting[row : row + self._side, column : column + self._side]
        tiles = [(row + r, column + c) for r, c in np.argwhere(part).tolist()]
        return place_of(self._grid, tiles)

    def rank(self, index: int) -> Rank:
        """Rank of a place of the queue."""
        return Rank(float(self._doubts[index]), int(self._numbers[index]))

    def before(self, rank: Rank) -> int:
        """Number of places that come before a rank, whether or not a place has it."""
        equal = (self._doubts == rank.doubt) & (self._numbers < rank.number)
        return int((self._doubts < rank.doubt).sum() + equal.sum())

    def index_of(self, place: Place) -> int | None:
        """Index of a place; None if none of its tiles waits."""
        found = np.flatnonzero(self._numbers == place.number)
        return int(found[0]) if len(found) else None


def place_of(grid: TileGrid, tiles: Sequence[Tile]) -> Place:
    """The place of some tiles, one or more, that lie in one; row by row."""
    side = place_side(grid)
    row, column = (part // side for part in tiles[0])
    boxes = np.array([grid.box(tile).as_list() for tile in tiles])
    top, left = boxes[:, :2].min(axis=0).tolist()
    bottom, right = boxes[:, 2:].max(axis=0).tolist()
    px = side * grid.tile_px
    return Place(
        number=row * -(-grid.shape[1] // side) + column,
        tiles=tuple(tiles),
        box=Box(top, left, bottom, right),
        view=Box.at((top + bottom - px) // 2, (left + right - px) // 2, px, px),
    )


def place_side(grid: TileGrid) -> int:
    """Tiles along the side of a place."""
    return min(MERGED_SIDES[0], max(1, PLACE_PX // grid.tile_px))


def _block_maxima(values: NDArray[np.floating], side: int) -> NDArray[np.floating]:
    """Largest value of each square of `side` × `side`; the edge may cut the last ones."""
    rows, columns = values.shape
    padded = np.pad(values, [(0, -rows % side), (0, -columns % side)], constant_values=-np.inf)
    rows, columns = (length // side for length in padded.shape)
    maxima: NDArray[np.floating] = padded.reshape(rows, side, columns, side).max(axis=(1, 3))
    return maxima
