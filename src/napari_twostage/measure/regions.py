"""Connected regions of a block of labels, as tables: all that objects are measured from.

Pixels are connected through their edges (4-connectivity), background as well as classes. A region
of the block may be part of a larger one; `merge` joins them. What is measured is additive: counts
of pixels, sums of places, and lengths of the border that two regions share.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Self, TypeVar

import numpy as np

from napari_twostage.measure.runs import find_runs, number_regions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from napari_twostage.geometry import Shape
    from napari_twostage.measure.runs import Runs

    Numbers = NDArray[np.int64]


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

    def __len__(self) -> int:
        return len(self.value)

    def take(self, which: NDArray[np.integer] | NDArray[np.bool_]) -> Self:
        """Some of the regions."""
        return type(self)(*(column[which] for column in _columns(self)))

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

    def to_bytes(self) -> bytes:
        """Pack the table; `from_bytes` reads it."""
        sides = [self.top, self.bottom, self.left, self.right]
        return b"".join(map(_packed, _columns(self.regions) + _columns(self.borders) + sides))

    @classmethod
    def from_bytes(cls, data: bytes, shape: Shape) -> Self:
        """Unpack the table of a block of this shape.

        Raises
        ------
        ValueError
            If these are not the bytes of a table.
        """
        columns = list(_unpacked(data))
        regions, borders = len(fields(Regions)), len(fields(Borders))
        if len(columns) != regions + borders + 4:
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
        """Whether all columns are of the right length, and name regions that there are."""
        height, width = shape
        count, pairs = len(self.regions), len(self.borders.first)
        lengths = [len(column) for column in (self.top, self.bottom, self.left, self.right)]
        named = (self.top, self.bottom, self.left, self.right, self.borders.second)
        return (
            lengths == [width, width, height, height]
            and all(len(column) == count for column in _columns(self.regions))
            and all(len(column) == pairs for column in _columns(self.borders))
            and all(int(column.max(initial=0)) < count for column in named)
            and bool((self.borders.first < self.borders.second).all())
            and int(self.regions.value.max(initial=0)) < UNSET
            and int(self.regions.pixels.sum()) == height * width
        )


UNSET = 255
"""Value that no label has."""
Table = TypeVar("Table", Regions, Borders)


def concatenated(tables: Sequence[Table]) -> Table:
    """Put tables one behind the other."""
    columns = zip(*map(_columns, tables), strict=True)
    return type(tables[0])(*map(np.concatenate, columns))


_HEADER = struct.Struct("<BQ")
"""Bytes of a number, and how many numbers follow."""


def _columns(table: Regions | Borders) -> list[Numbers]:
    return [getattr(table, entry.name) for entry in fields(table)]


def _packed(column: Numbers) -> bytes:
    kind = np.min_scalar_type(int(column.max(initial=0))).newbyteorder("<")
    return _HEADER.pack(kind.itemsize, len(column)) + column.astype(kind).tobytes()


def _unpacked(data: bytes) -> Iterator[Numbers]:
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


def tabulate(
    labels: NDArray[np.uint8], refined: NDArray[np.bool_], tile_px: int
) -> tuple[Runs, Numbers, BlockTable]:
    """Find the regions of a block and measure each.

    Parameters
    ----------
    labels : (height, width) uint8 array
        Label values.
    refined : (rows, columns) bool array
        Tiles of the block that stage 2 has seen; the first one begins with the first pixel.
    tile_px : int
        Side of a tile, in pixels.

    Returns
    -------
    runs : Runs
        Runs of the block.
    numbers : (n,) int array
        Region of each run.
    table : BlockTable
        Measurements, with places counted from the block's first pixel.
    """
    runs = find_runs(labels)
    numbers = number_regions(runs)
    row, begins_row = runs.row, runs.column == 0
    first_row, last_row = row == 0, row == runs.shape[0] - 1
    table = BlockTable(
        regions=_measure(runs, numbers, refined, tile_px),
        borders=_measure_borders(runs, numbers),
        top=numbers[first_row].repeat(runs.length[first_row]),
        bottom=numbers[last_row].repeat(runs.length[last_row]),
        left=numbers[begins_row],
        right=numbers[np.roll(begins_row, -1)],
    )
    return runs, numbers, table


def _measure(runs: Runs, numbers: Numbers, refined: NDArray[np.bool_], tile_px: int) -> Regions:
    count = int(numbers.max()) + 1
    row, column, length = runs.row, runs.column, runs.length
    first = np.empty(count, np.int64)
    first[numbers[::-1]] = np.arange(len(numbers))[::-1]  # the last assignment wins
    last = np.empty(count, np.int64)
    last[numbers] = np.arange(len(numbers))
    left = np.full(count, runs.shape[1])
    np.minimum.at(left, numbers, column)
    right = np.zeros(count, np.int64)
    np.maximum.at(right, numbers, column + length)
    return Regions(
        value=runs.value[first].astype(np.int64),
        pixels=_sums(numbers, length, count),
        refined=_sums(numbers, _refined(runs, refined, tile_px), count),
        row_sum=_sums(numbers, length * row, count),
        column_sum=_sums(numbers, length * (2 * column + length - 1) // 2, count),
        top=row[first],
        first=column[first],
        left=left,
        bottom=row[last] + 1,
        right=right,
    )


def _sums(numbers: Numbers, amounts: NDArray[np.integer], count: int) -> Numbers:
    """Sum of amounts by number: (count,); exact up to 2**53."""
    return np.bincount(numbers, amounts, count).astype(np.int64)


def _refined(runs: Runs, refined: NDArray[np.bool_], tile_px: int) -> Numbers:
    """Pixels of each run that lie in refined tiles."""
    if refined.all():
        return runs.length
    if not refined.any():
        return np.zeros_like(runs.length)
    along = refined.repeat(tile_px, axis=1)[:, : runs.shape[1]]
    before = np.pad(np.cumsum(along, axis=1), ((0, 0), (1, 0)))
    tile, column = runs.row // tile_px, runs.column
    return np.asarray(before[tile, column + runs.length] - before[tile, column], np.int64)


def _measure_borders(runs: Runs, numbers: Numbers) -> Borders:
    """Borders inside a block; those along its edges are measured with its neighbours."""
    beside = np.flatnonzero(runs.column > 0)  # a run's border with the one before it
    ahead, other_ahead = _turns(runs)
    crossing = numbers[runs.above] != numbers[runs.below]
    none = np.zeros(int(np.count_nonzero(crossing)), np.int64)
    return join_borders(
        Borders(
            first=np.concatenate([numbers[beside - 1], numbers[runs.above[crossing]]]),
            second=np.concatenate([numbers[beside], numbers[runs.below[crossing]]]),
            horizontal=np.concatenate([np.zeros_like(beside), runs.width[crossing]]),
            vertical=np.concatenate([np.ones_like(beside), none]),
            corners=np.concatenate([ahead[beside], none]),
            other_corners=np.concatenate([other_ahead[beside], none]),
        )
    )


def _turns(runs: Runs) -> tuple[Numbers, Numbers]:
    """Turns at both ends of the border between each run and the one before it.

    A border ends where the next row has none at its place: both outlines turn. If it has one, the
    border goes straight on for those of the two sides that are one region in both rows.

    Returns
    -------
    before, after : (n,) int arrays
        Turns of the outline of the run before and of the run itself, 0 to 2; none are counted at
        the block's edges. Without meaning for the first run of a row.
    """
    value, above, below = runs.value, runs.above, runs.below
    both = runs.begins_above & runs.begins_below
    upper, lower = int(runs.begins_above.sum()), int(runs.begins_below.sum())
    turns = []
    for back in (1, 0):
        turn = ~(both & (value[above - back] == value[below - back]))
        counted = np.zeros(len(value), np.int64)
        counted[:upper] += turn[runs.begins_above]
        counted[len(value) - lower :] += turn[runs.begins_below]
        turns.append(counted)
    return turns[0], turns[1]


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
    swapped = borders.first > borders.second
    low = np.where(swapped, borders.second, borders.first)
    high = np.where(swapped, borders.first, borders.second)
    amounts = (
        borders.horizontal,
        borders.vertical,
        np.where(swapped, borders.other_corners, borders.corners),
        np.where(swapped, borders.corners, borders.other_corners),
    )
    # Most regions lie in one other: its border is added up without sorting.
    count = int(high.max(initial=-1)) + 1
    usual = np.full(count, -1)
    usual[high] = low
    alike = usual[high] == low
    owners = np.flatnonzero(usual >= 0)
    simple = [_sums(high[alike], amount[alike], count)[owners] for amount in amounts]
    pairs, which = np.unique(low[~alike] * count + high[~alike], return_inverse=True)
    rest = [_sums(which, amount[~alike], len(pairs)) for amount in amounts]
    return Borders(
        np.concatenate([usual[owners], pairs // max(1, count)]),
        np.concatenate([owners, pairs % max(1, count)]),
        *(np.concatenate(parts) for parts in zip(simple, rest, strict=True)),
    )
