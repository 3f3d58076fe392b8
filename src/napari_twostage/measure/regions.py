"""Connected regions of a block of labels, as tables: all that objects are measured from.

Pixels are connected through their edges (4-connectivity), background as well as classes; where the
model tells touching objects apart, these are regions of their own. A region
of the block may be part of a larger one; `merge` joins them. What is measured is additive: counts
of pixels, sums of places, and lengths of the border that two regions share.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from napari_twostage.geometry import Shape

    Numbers = NDArray[np.int64]
    Amounts = Numbers | NDArray[np.float64]

UNSET = 255
"""Value that no label has."""


@dataclass(frozen=True, slots=True)
class Regions:
    """Regions, one to an element of each array: (n,)."""

    value: Numbers
    """Label value; 0 is the background."""
    pixels: Numbers
    refined: Numbers
    """Pixels that come from stage 2."""
    row_sum: Numbers
    """Sum of the row indices of all pixels."""
    column_sum: Numbers
    top: Numbers
    """First row; the bounding box is [top, bottom) × [left, right)."""
    first: Numbers
    """Column of the first pixel: the leftmost of the topmost row."""
    left: Numbers
    bottom: Numbers
    right: Numbers
    row_squares: Amounts
    """Sum of the squared rows of all pixels, counted from `top`; this and the two sums below are
    whole numbers, exact up to 2**53, beyond which they have 16 digits."""
    column_squares: Amounts
    """The same of columns, counted from `left`."""
    products: Amounts
    """The same of row times column."""

    def __len__(self) -> int:
        return len(self.value)

    def are_inside(self, shape: Shape) -> bool:
        """Whether all can be regions of a block of this shape."""
        height, width = shape
        last_row, last_column = self.bottom - 1, self.right - 1
        rows, columns = (
            self.row_sum - self.top * self.pixels,
            self.column_sum - self.left * self.pixels,
        )
        most_down, most_across = last_row - self.top, last_column - self.left
        possible = (
            (self.value < UNSET)
            & (self.refined <= self.pixels)
            & (self.top * self.pixels <= self.row_sum)
            & (self.row_sum <= last_row * self.pixels)
            & (self.left * self.pixels <= self.column_sum)
            & (self.column_sum <= last_column * self.pixels)
            & (self.left <= self.first)
            & (self.first <= last_column)
            & (last_row < height)
            & (last_column < width)
            & (self.pixels > 0)
            & (rows <= self.row_squares)
            & (self.row_squares <= rows * most_down)
            & (columns <= self.column_squares)
            & (self.column_squares <= columns * most_across)
            & (self.products <= rows * most_across)
            & (self.products <= columns * most_down)
        )
        return bool(possible.all())

    def take(self, which: NDArray[np.integer] | NDArray[np.bool_]) -> Self:
        """Some of the regions."""
        return type(self)(*(column[which] for column in _columns(self)))

    def squares_from(self, top: Numbers, left: Numbers) -> tuple[Amounts, Amounts, Amounts]:
        """Squares and products, counted from other rows and columns, above and left of the box."""
        down, across = (self.top - top).astype(float), (self.left - left).astype(float)
        rows = self.row_sum - self.top * self.pixels
        columns = self.column_sum - self.left * self.pixels
        return (
            self.row_squares + down * (2 * rows + down * self.pixels),
            self.column_squares + across * (2 * columns + across * self.pixels),
            self.products + down * columns + across * rows + down * across * self.pixels,
        )

    def shift(self, rows: int, columns: int) -> Self:
        """The same regions with the places of a larger plane."""
        return replace(
            self,
            row_sum=self.row_sum + rows * self.pixels,
            column_sum=self.column_sum + columns * self.pixels,
            top=self.top + rows,
            first=self.first + columns,
            left=self.left + columns,
            bottom=self.bottom + rows,
            right=self.right + columns,
        )


@dataclass(frozen=True, slots=True)
class Borders:
    """Borders between pairs of regions, one pair to an element of each array: (k,).

    Corners count the turns of the border as it runs around one of the two regions. Where more
    than two regions meet, the turns are shared out so that those of a region's border with all
    that lies in one of its holes add up to the turns of that hole's outline.
    """

    first: Numbers
    second: Numbers
    """Numbers of the two regions, the lower one first."""
    horizontal: Numbers
    """Pixel edges between a pixel and the one below it."""
    vertical: Numbers
    """Pixel edges between a pixel and the one beside it."""
    corners: Numbers
    """Turns of the first region's outline."""
    other_corners: Numbers
    """Turns of the second region's outline."""

    def take(self, which: NDArray[np.integer] | NDArray[np.bool_]) -> Self:
        """Some of the pairs."""
        return type(self)(*(column[which] for column in _columns(self)))

    def shift(self, count: int) -> Self:
        """The same pairs with this many regions before theirs."""
        return replace(self, first=self.first + count, second=self.second + count)


@dataclass(frozen=True, slots=True)
class BlockTable:
    """Everything that is measured of one block."""

    regions: Regions
    borders: Borders
    top: Numbers
    """Region of each pixel of the first row; the others are of the other edges of the block."""
    bottom: Numbers
    left: Numbers
    right: Numbers
    joins_below: Numbers
    """Whether each pixel of the last row is of one object with the pixel below it, if their labels
    are equal: 0 or 1."""
    joins_right: Numbers
    """The same for the last column, and the pixels on its right."""

    def to_bytes(self) -> bytes:
        """Pack the table; `from_bytes` reads it."""
        sides = [getattr(self, name) for name in _SIDES]
        return b"".join(map(packed, _columns(self.regions) + _columns(self.borders) + sides))

    @classmethod
    def from_bytes(cls, data: bytes, shape: Shape) -> Self:
        """Unpack the table of a block of this shape.

        Raises
        ------
        ValueError
            If these are not the bytes of a table.
        """
        columns = list(unpacked(data))
        regions, borders = len(fields(Regions)), len(fields(Borders))
        if len(columns) != regions + borders + len(_SIDES):
            raise ValueError(f"{len(columns)} columns")
        table = cls(
            Regions(*columns[:regions]),
            Borders(*columns[regions : regions + borders]),
            *columns[regions + borders :],
        )
        if not table._is_of(shape):
            raise ValueError("it is not of this block")
        return table

    def _is_of(self, shape: Shape) -> bool:
        """Whether all columns are of the right length, and name places and regions there are."""
        height, width = shape
        count, pairs = len(self.regions), len(self.borders.first)
        lengths = [len(getattr(self, name)) for name in _SIDES]
        named = (self.top, self.bottom, self.left, self.right, self.borders.second)
        return (
            lengths == [width, width, height, height, width, height]
            and all(int(side.max(initial=0)) <= 1 for side in (self.joins_below, self.joins_right))
            and all(len(column) == count for column in _columns(self.regions))
            and all(len(column) == pairs for column in _columns(self.borders))
            and all(int(column.max(initial=0)) < count for column in named)
            and bool((self.borders.first < self.borders.second).all())
            and self.regions.are_inside(shape)
            and int(self.regions.pixels.sum()) == height * width
        )


_SIDES = ("top", "bottom", "left", "right", "joins_below", "joins_right")
"""Columns of a table that have an entry for each pixel of a side of the block."""

Table = TypeVar("Table", Regions, Borders)


def concatenated(tables: Sequence[Table]) -> Table:
    """Put tables one behind the other."""
    columns = zip(*map(_columns, tables), strict=True)
    return type(tables[0])(*map(np.concatenate, columns))


_HEADER = struct.Struct("<BQ")
"""Bytes of a number, and how many numbers follow."""


def _columns(table: Regions | Borders) -> list[Any]:
    return [getattr(table, entry.name) for entry in fields(table)]


def packed(column: Numbers) -> bytes:
    """Pack whole numbers from 0 on in as few bytes as the largest one takes."""
    kind = np.min_scalar_type(int(column.max(initial=0))).newbyteorder("<")
    return _HEADER.pack(kind.itemsize, len(column)) + column.astype(kind).tobytes()


def unpacked(data: bytes) -> Iterator[Numbers]:
    """Unpack columns one by one, as int64; what is cut short is a ValueError."""
    place = 0
    while place < len(data):
        if len(data) - place < _HEADER.size:
            raise ValueError("a column is cut short")
        size, count = _HEADER.unpack_from(data, place)
        place += _HEADER.size
        if size not in (1, 2, 4, 8) or len(data) - place < size * count:
            raise ValueError("a column is cut short")
        yield np.frombuffer(data, f"<u{size}", count, place).astype(np.int64)
        place += size * count


def sums(numbers: Numbers, amounts: NDArray[np.integer], count: int) -> Numbers:
    """Sum of amounts by number: (count,); exact up to 2**53."""
    return np.bincount(numbers, amounts, count).astype(np.int64)


def join_borders(borders: Borders) -> Borders:
    """Add up the borders of equal pairs, whichever region of a pair comes first.

    Parameters
    ----------
    borders : Borders
        Pairs in any order, with repeats.

    Returns
    -------
    Borders
        Every pair once, the lower number first.
    """
    low, high, swapped = ordered(borders.first, borders.second)
    corners = np.where(swapped, borders.other_corners, borders.corners)
    other_corners = borders.corners + borders.other_corners - corners
    amounts = [borders.horizontal, borders.vertical, corners, other_corners]
    return Borders(*added_up(low, high, amounts))


def ordered(one: Numbers, other: Numbers) -> tuple[Numbers, Numbers, NDArray[np.bool_]]:
    """Lower and higher number of each pair, and whether the other one is the lower."""
    return np.minimum(one, other), np.maximum(one, other), one > other


def added_up(low: Numbers, high: Numbers, amounts: Sequence[Numbers]) -> list[Numbers]:
    """Add up amounts of equal pairs: the lower numbers, the higher ones, and the sums.

    Most regions lie in one other: the sums of its border are found without sorting.
    """
    count = int(high.max(initial=-1)) + 1
    usual = np.full(count, -1)
    usual[high] = low
    alike = usual[high] == low
    owners = np.flatnonzero(usual >= 0)
    simple = [sums(high, np.where(alike, one, 0), count)[owners] for one in amounts]
    rest = np.flatnonzero(~alike)
    pairs, which = np.unique(low[rest] * count + high[rest], return_inverse=True)
    others = [sums(which, one[rest], len(pairs)) for one in amounts]
    return [
        np.concatenate([usual[owners], pairs // max(1, count)]),
        np.concatenate([owners, pairs % max(1, count)]),
        *(np.concatenate(parts) for parts in zip(simple, others, strict=True)),
    ]
