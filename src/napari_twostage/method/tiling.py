"""Square tiles that partition the plane, and the chips that stage 2 reads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np

from napari_twostage.geometry import Box, Shape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import DTypeLike, NDArray
    from shapely import Geometry

    from napari_twostage.geometry import Polygons

Tile = tuple[int, int]
"""Row and column of a tile in its grid."""


class Tiles(Sequence[Tile]):
    """Immutable sequence of tiles, stored as one array: fast to make from any number of tiles.

    Parameters
    ----------
    numbers : (n,) int array
        Flat indices of the tiles, counted row by row.
    columns : int
        Tiles per row of the grid.

    Examples
    --------
    >>> tiles = Tiles(np.array([1, 2]), columns=2)
    >>> tiles[1], len(tiles), tiles == ((0, 1), (1, 0))
    ((1, 0), 2, True)
    """

    def __init__(self, numbers: NDArray[np.integer], columns: int) -> None:
        self._numbers = numbers
        self._columns = columns

    @overload
    def __getitem__(self, index: int) -> Tile: ...
    @overload
    def __getitem__(self, index: slice) -> Tiles: ...
    def __getitem__(self, index: int | slice) -> Tile | Tiles:
        if isinstance(index, slice):
            return Tiles(self._numbers[index], self._columns)
        return divmod(int(self._numbers[index]), self._columns)

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[Tile]:
        rows, columns = np.divmod(self._numbers, self._columns)
        return zip(rows.tolist(), columns.tolist(), strict=True)

    def __array__(
        self, dtype: DTypeLike | None = None, *, copy: bool | None = None
    ) -> NDArray[Any]:
        if copy is False:
            raise ValueError("rows and columns are computed, which takes a copy")
        return np.stack(np.divmod(self._numbers, self._columns), axis=1).astype(dtype, copy=False)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"<{len(self)} tiles>"


class TileState(IntEnum):
    """Processing state of a tile."""

    OUTSIDE = 0
    """No tissue, or not processed yet."""
    COARSE = 1
    """Labels of stage 1."""
    REFINED = 2
    """Labels of stage 2."""
    EDITED = 3
    """Painted by the user; coarse or refined beneath."""
    FAILED = 4
    """Not readable or not computable; the record holds the reason."""


MERGED_SIDES = (4, 2)
"""Sides of merged chips, in tiles; few, so that the network sees few shapes."""


class Chip(NamedTuple):
    """Rectangle that stage 2 reads at once: the window is read, the core is kept."""

    tiles: tuple[Tile, ...]
    """Tiles of the core, row by row."""
    core: Box
    """Pixels this chip owns, before clipping to the slide; no two chips of a plan share one."""
    window: Box
    """Pixels the model sees: the core plus its halo; beyond the slide they are reflected."""


@dataclass(frozen=True, slots=True)
class TileGrid:
    """Grid of square tiles over a plane; the last row and column may extend beyond it."""

    plane: Shape
    """Rows and columns of pixels."""
    tile_px: int
    """Side of a tile, in pixels."""
    halo_px: int
    """Margin around the core of a chip, in pixels."""

    @property
    def shape(self) -> Shape:
        """Rows and columns of tiles."""
        return math.ceil(self.plane[0] / self.tile_px), math.ceil(self.plane[1] / self.tile_px)

    def core(self, tile: Tile) -> Box:
        """Full square of a tile, possibly beyond the plane."""
        size = self.tile_px
        return Box.at(tile[0] * size, tile[1] * size, size, size)

    def box(self, tile: Tile) -> Box:
        """Pixels of a tile inside the plane."""
        return self.core(tile).clip(self.plane)

    def touching(self, box: Box) -> Iterator[Tile]:
        """Tiles that share a pixel with `box`, row by row."""
        inside = box.clip(self.plane)
        if inside.area:
            cells = inside.scaled(1 / self.tile_px)
            for row in range(cells.top, cells.bottom):
                for column in range(cells.left, cells.right):
                    yield row, column

    def touching_polygons(self, polygons: Polygons) -> NDArray[np.bool_]:
        """Mask of the tiles that share more than their border with a polygon: (rows, columns).

        A polygon that crosses itself covers what an odd number of its loops surround.
        """
        import shapely

        touched = np.zeros(self.shape, bool)
        for ring in polygons:
            corners = np.array(ring, float)[:, ::-1] / self.tile_px
            for part in shapely.get_parts(shapely.make_valid(shapely.polygons(corners))):
                left, top, right, bottom = shapely.bounds(part)
                near = Box(
                    math.floor(top), math.floor(left), math.ceil(bottom), math.ceil(right)
                ).clip(self.shape)
                if near.area:
                    touched[near.slices] |= _unit_squares(part, near)
        return touched

    def chips(self, tiles: Sequence[Tile], *, merge: bool = False) -> list[Chip]:
        """Cut a selection into chips, in the order of the selection.

        Parameters
        ----------
        tiles : sequence of (row, column)
            Tiles without repeats, the most important first.
        merge : bool
            Join complete, aligned squares of selected tiles into one chip. Only valid for models
            whose receptive field fits in the halo; it would change the labels of others.

        Returns
        -------
        list of Chip
            Every tile is in exactly one chip; a chip takes the position of its first tile.
        """
        corner_of = self._merged(set(tiles)) if merge else {}
        chips, seen = [], set()
        for tile in tiles:
            corner, side = corner_of.get(tile, (tile, 1))
            if corner not in seen:
                seen.add(corner)
                chips.append(self._chip(corner, side))
        return chips

    def chip(self, tile: Tile) -> Chip:
        """Chip of a single tile."""
        return self._chip(tile, 1)

    def _merged(self, left: set[Tile]) -> dict[Tile, tuple[Tile, int]]:
        """Assign tiles to the largest complete aligned squares: tile to (corner, side in tiles)."""
        corner_of: dict[Tile, tuple[Tile, int]] = {}
        for side in MERGED_SIDES:
            for corner in {(row - row % side, column - column % side) for row, column in left}:
                square = _square(corner, side)
                if left.issuperset(square):
                    left.difference_update(square)
                    corner_of.update(dict.fromkeys(square, (corner, side)))
        return corner_of

    def _chip(self, corner: Tile, side: int) -> Chip:
        size = side * self.tile_px
        core = Box.at(corner[0] * self.tile_px, corner[1] * self.tile_px, size, size)
        return Chip(_square(corner, side), core, core.grow(self.halo_px))


def _unit_squares(polygon: Geometry, box: Box) -> NDArray[np.bool_]:
    """Mask of the unit squares of a box that share more than their border with a polygon.

    Only squares that the outline crosses are halved: the cost grows with the outline alone.
    """
    import shapely

    shapely.prepare(polygon)
    size = 1 << (max(box.shape) - 1).bit_length()
    inside, crossed = np.zeros((1, 1), bool), np.ones((1, 1), bool)
    while True:
        rows, columns = np.nonzero(crossed)
        x, y = box.left + columns * size, box.top + rows * size
        squares = shapely.box(x, y, x + size, y + size)
        crossed[rows, columns] = shapely.intersects(polygon, squares)
        crossed[rows, columns] &= ~shapely.touches(polygon, squares)
        if size == 1:
            return (inside | crossed)[: box.height, : box.width]
        inside[rows, columns] = shapely.contains(polygon, squares)
        crossed &= ~inside
        inside, crossed = (mask.repeat(2, 0).repeat(2, 1) for mask in (inside, crossed))
        size //= 2


def _square(corner: Tile, side: int) -> tuple[Tile, ...]:
    return tuple(
        (row, column)
        for row in range(corner[0], corner[0] + side)
        for column in range(corner[1], corner[1] + side)
    )
