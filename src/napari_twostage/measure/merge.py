"""Objects of a slide, joined from the regions of its blocks, row by row.

A row of blocks is taken at a time. Regions that reach the row's lower edge are kept until the rows
below have shown their rest; all others are complete. So memory grows with a row, not with the
slide, and the objects do not depend on how the slide is cut into blocks.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from napari_twostage.measure.holes import find_holes
from napari_twostage.measure.regions import Borders, Regions, concatenated, join_borders
from napari_twostage.measure.seams import Seam, borders_along, going_on
from napari_twostage.utils.graphs import connect

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_twostage.geometry import Box, Shape
    from napari_twostage.measure.members import Members
    from napari_twostage.measure.regions import Amounts, BlockTable

    Numbers = NDArray[np.int64]
    Mask = NDArray[np.bool_]

OUTSIDE = -1
"""Value of region 0, which is all that is not of the slide, or no longer of interest."""
LABELS = 256
"""Number of label values."""


@dataclass(frozen=True, slots=True)
class Objects:
    """Complete objects, one to an element of each array; places are on the fine grid."""

    regions: Regions
    """Measurements, filled holes included."""
    horizontal: Numbers
    """Horizontal pixel edges of the outline, holes that are left included."""
    vertical: Numbers
    corners: Numbers
    """Turns of the outline; a few off where an object touches itself and hangs together only far
    from there."""

    def __len__(self) -> int:
        return len(self.regions)

    def take(self, which: NDArray[np.integer] | Mask) -> Self:
        """Some of the objects."""
        lengths = (column[which] for column in (self.horizontal, self.vertical, self.corners))
        return type(self)(self.regions.take(which), *lengths)


def joined_objects(tables: Sequence[Objects]) -> Objects:
    """Put tables one behind the other."""
    lengths = ((table.horizontal, table.vertical, table.corners) for table in tables)
    return Objects(
        concatenated([table.regions for table in tables]),
        *map(np.concatenate, zip(*lengths, strict=True)),
    )


class Merger:
    """Joins the regions of blocks to objects; leaves out small ones, and fills small holes.

    Parameters
    ----------
    plane : (int, int)
        Rows and columns of the slide's fine grid.
    least : int
        Pixels from which on a region is an object, and a hole is a hole.
    members : Members, optional
        Is told which region is part of which object; objects are numbered from 1.
    """

    def __init__(self, plane: Shape, least: int, members: Members | None = None) -> None:
        self._plane = plane
        self._least = least
        self._members = members
        none = np.zeros((len(fields(Regions)) - 1, 1), np.int64)
        self._open = Regions(np.array([OUTSIDE]), *none)
        """Regions that may still grow, or whose holes may, after one for the outside."""
        self._borders = Borders(*np.zeros((len(fields(Borders)), 0), np.int64))
        self._front = np.zeros(plane[1], np.int64)
        """Open region at each pixel of the last row that was taken."""
        self._joins_below = np.zeros(plane[1], bool)
        """Whether that pixel is of one object with the one below, if their labels are equal."""
        self._identity = np.zeros(1, np.int64) if members is None else members.add(1)
        """Number of each open region in `members`."""
        self.found = 0
        """Objects found so far."""
        self.left_out = np.zeros(LABELS, np.int64)
        """Regions that are no objects, by label value: too small, or in a hole that is filled."""
        self.left_out_pixels = np.zeros(LABELS, np.int64)
        """Pixels of those regions, by label value."""

    def take(self, row: Sequence[tuple[Box, BlockTable]]) -> Objects:
        """Take all blocks of a row, from left to right; returns the objects that are complete.

        Parameters
        ----------
        row : sequence of (Box, BlockTable)
            Blocks side by side, below those that were taken before.
        """
        regions, borders, front = self._joined(row)
        unfinished = np.zeros(len(regions), bool)
        unfinished[front] = True
        unfinished[0] = False
        into, pending = self._holes(regions, unfinished, borders)
        fills = into != np.arange(len(into))
        borders = borders.take(~(fills[borders.first] | fills[borders.second]))
        if self._members is not None:
            self._members.join(self._identity[fills], self._identity[into[fills]])
        whole = _with_holes(regions, into)
        kept = (unfinished | pending) & ~fills
        done = ~kept & ~fills
        done[0] = False
        large = done & (whole.value > 0) & (whole.pixels >= self._least)
        self._leave_out(regions, (fills | done) & ~large)
        objects = self._objects(whole, borders, large)
        self._keep(whole, borders, front, kept)
        return objects

    def _joined(self, row: Sequence[tuple[Box, BlockTable]]) -> tuple[Regions, Borders, Numbers]:
        """Join what goes on across seams: regions, borders, and the region at each front pixel."""
        starts = np.cumsum([len(self._open), *(len(table.regions) for _, table in row)])
        parts = [table.regions.shift(box.top, box.left) for box, table in row]
        regions = concatenated([self._open, *parts])
        if self._members is not None:
            new = self._members.add(len(regions) - len(self._open))
            self._identity = np.concatenate([self._identity, new])
        placed = list(zip(starts.tolist(), (table for _, table in row), strict=False))
        last = row[0][0].bottom == self._plane[0]
        seams, front = self._seams(placed, last=last)
        pairs = [going_on(seam, regions.value) for seam in seams]
        number = connect(len(regions), *map(np.concatenate, zip(*pairs, strict=True)))
        borders = concatenated(
            [
                self._borders,
                *(table.borders.shift(start) for start, table in placed),
                *(borders_along(seam, number) for seam in seams),
            ]
        )
        borders = replace(borders, first=number[borders.first], second=number[borders.second])
        borders = borders.take(borders.first != borders.second)  # parts of one object may touch
        regions, first = _added_up(regions, number)
        if self._members is not None:
            self._members.join(self._identity, self._identity[first][number])
            self._identity = self._identity[first]
        return regions, join_borders(borders), number[front]

    def _seams(
        self, placed: Sequence[tuple[int, BlockTable]], *, last: bool
    ) -> tuple[list[Seam], Numbers]:
        """Seams of a row of blocks, those with the outside included, and its last pixels."""
        top = np.concatenate([start + table.top for start, table in placed])
        bottom = np.concatenate([start + table.bottom for start, table in placed])
        lefts = [start + table.left for start, table in placed]
        rights = [start + table.right for start, table in placed]
        edge, apart = np.zeros_like(lefts[0]), np.zeros(len(lefts[0]), bool)
        beside = [table.joins_right > 0 for _, table in placed]
        beside[-1] = apart
        seams = [
            Seam(np.pad(self._front, 1), np.pad(top, 1), np.pad(self._joins_below, 1), lies=True)
        ]
        seams += [
            Seam(right, left, joins, lies=False)
            for right, left, joins in zip(
                [edge, *rights], [*lefts, edge], [apart, *beside], strict=True
            )
        ]
        self._joins_below = np.concatenate([table.joins_below > 0 for _, table in placed])
        if last:
            outside = np.zeros(len(bottom) + 2, np.int64)
            seams.append(Seam(np.pad(bottom, 1), outside, outside > 0, lies=True))
            bottom = np.zeros_like(bottom)
        return seams, bottom

    def _holes(self, regions: Regions, unfinished: Mask, borders: Borders) -> tuple[Numbers, Mask]:
        rows, columns = self._plane
        at_edge = (regions.top == 0) | (regions.bottom == rows)
        at_edge |= (regions.left == 0) | (regions.right == columns)
        small = (regions.pixels < self._least) & ~at_edge
        small[0] = False
        return find_holes(
            regions.value,
            regions.pixels,
            small,
            unfinished,
            borders.first,
            borders.second,
            self._least,
        )

    def _leave_out(self, regions: Regions, which: Mask) -> None:
        value, pixels = regions.value[which], regions.pixels[which]
        classes = value > 0
        self.left_out += np.bincount(value[classes], minlength=LABELS)
        self.left_out_pixels += np.bincount(value[classes], pixels[classes], LABELS).astype(int)

    def _objects(self, regions: Regions, borders: Borders, large: Mask) -> Objects:
        """Complete objects, with the lengths of their outlines."""
        count = len(regions)
        both = np.concatenate([borders.first, borders.second])

        def around(first: Numbers, second: Numbers) -> Numbers:
            return np.bincount(both, np.concatenate([first, second]), count)[large].astype(np.int64)

        if self._members is not None:
            self._members.name(self._identity[large], self.found + 1)
        self.found += int(np.count_nonzero(large))
        return Objects(
            regions.take(large),
            around(borders.horizontal, borders.horizontal),
            around(borders.vertical, borders.vertical),
            around(borders.corners, borders.other_corners),
        )

    def _keep(self, regions: Regions, borders: Borders, front: Numbers, kept: Mask) -> None:
        """Keep what is not complete; all other regions are outside from now on."""
        place = np.zeros(len(regions), np.int64)
        place[kept] = np.arange(1, np.count_nonzero(kept) + 1)
        which = np.concatenate([[0], np.flatnonzero(kept)])
        self._open = regions.take(which)
        self._identity = self._identity[which] if self._members is not None else self._identity
        self._front = place[front]
        first, second = place[borders.first], place[borders.second]
        borders = replace(borders, first=first, second=second)
        self._borders = borders.take((first > 0) | (second > 0))


def _added_up(regions: Regions, number: Numbers) -> tuple[Regions, Numbers]:
    """Add up regions of equal number; returns the first region of each number as well."""
    count = int(number.max()) + 1
    first = np.empty(count, np.int64)
    first[number[::-1]] = np.arange(len(number))[::-1]  # the last assignment wins
    if count == len(number):
        return regions, first

    def total(amounts: Numbers) -> Numbers:
        return np.bincount(number, amounts, count).astype(np.int64)

    def extreme(values: Numbers, choose: np.ufunc) -> Numbers:
        found = values[first]
        choose.at(found, number, values)
        return found

    # The topmost row's leftmost pixel comes first.
    place = extreme(regions.top << 32 | regions.first, np.minimum)
    top, left = place >> 32, extreme(regions.left, np.minimum)
    squares = regions.squares_from(top[number], left[number])
    return (
        Regions(
            value=regions.value[first],
            pixels=total(regions.pixels),
            refined=total(regions.refined),
            row_sum=total(regions.row_sum),
            column_sum=total(regions.column_sum),
            top=top,
            first=place & 0xFFFFFFFF,
            left=left,
            bottom=extreme(regions.bottom, np.maximum),
            right=extreme(regions.right, np.maximum),
            **_squares(number, squares, count),
        ),
        first,
    )


def _with_holes(regions: Regions, into: Numbers) -> Regions:
    """Add regions that fill holes to those around them."""

    def total(amounts: Numbers) -> Numbers:
        return np.bincount(into, amounts, len(into)).astype(np.int64)

    squares = regions.squares_from(regions.top[into], regions.left[into])
    return replace(
        regions,
        pixels=total(regions.pixels),
        refined=total(regions.refined),
        row_sum=total(regions.row_sum),
        column_sum=total(regions.column_sum),
        **_squares(into, squares, len(into)),
    )


def _squares(number: Numbers, squares: Sequence[Amounts], count: int) -> dict[str, Any]:
    """Sums of squares and products by number, as the columns of `Regions` that they are."""
    names = ("row_squares", "column_squares", "products")
    return {
        name: np.bincount(number, amounts, count)
        for name, amounts in zip(names, squares, strict=True)
    }
