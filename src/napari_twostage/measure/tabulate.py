"""Measuring of a block of labels: its regions, and the borders between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.measure.regions import (
    BlockTable,
    Borders,
    Regions,
    added_up,
    join_borders,
    ordered,
    sums,
)
from napari_twostage.measure.runs import find_runs, number_regions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.measure.blocks import BlockPixels
    from napari_twostage.measure.runs import Runs

    Numbers = NDArray[np.int64]


def tabulate(
    pixels: BlockPixels, refined: NDArray[np.bool_], tile_px: int
) -> tuple[Runs, Numbers, BlockTable]:
    """Find the regions of a block and measure each.

    Parameters
    ----------
    pixels : BlockPixels
        Labels, and what tells neighbours of one label apart.
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
    runs = find_runs(pixels.labels, pixels.items)
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
        joins_below=pixels.joins_below.astype(np.int64),
        joins_right=pixels.joins_right.astype(np.int64),
    )
    return runs, numbers, table


def _measure(runs: Runs, numbers: Numbers, refined: NDArray[np.bool_], tile_px: int) -> Regions:
    count = int(numbers.max()) + 1
    row, column, length = runs.row, runs.column, runs.length
    first = np.empty(count, np.int64)
    first[numbers[::-1]] = np.arange(len(numbers))[::-1]  # the last assignment wins
    last = np.empty(count, np.int64)
    last[numbers] = np.arange(len(numbers))
    left = np.full(count, runs.shape[1], np.int64)
    np.minimum.at(left, numbers, column)
    right = np.zeros(count, np.int64)
    np.maximum.at(right, numbers, column + length)
    top = row[first]
    # places are counted from each region's box, so that large planes need no large numbers
    down, across = row - top[numbers], column - left[numbers]
    columns = length * (2 * across + length - 1) // 2
    squares = (
        length * across * (across + length - 1) + (length - 1) * length * (2 * length - 1) // 6
    )
    pixels = sums(numbers, length, count)
    return Regions(
        value=runs.value[first].astype(np.int64),
        pixels=pixels,
        refined=sums(numbers, _refined(runs, refined, tile_px), count),
        row_sum=sums(numbers, length * row, count),
        column_sum=sums(numbers, columns, count) + left * pixels,
        top=top,
        first=column[first],
        left=left,
        bottom=row[last] + 1,
        right=right,
        row_squares=sums(numbers, length * down**2, count),
        column_squares=sums(numbers, squares, count),
        products=sums(numbers, down * columns, count),
    )


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
    before, after = _turns(runs)
    low, high, swapped = ordered(numbers[beside - 1], numbers[beside])
    before, after = before[beside], after[beside]
    corners = np.where(swapped, after, before)
    edges = np.broadcast_to(np.int64(1), len(beside))
    vertical = added_up(low, high, [edges, corners, before + after - corners])
    upper, lower = numbers[runs.above], numbers[runs.below]
    crossing = np.flatnonzero(upper != lower)
    low, high, _ = ordered(upper[crossing], lower[crossing])
    horizontal = added_up(low, high, [runs.width[crossing]])
    # few are left by now, so the rest costs little
    beyond, none = np.zeros((2, len(horizontal[0]))), np.zeros(len(vertical[0]))
    columns = [
        [vertical[0], vertical[1], none, *vertical[2:]],
        [horizontal[0], horizontal[1], horizontal[2], *beyond, beyond[0]],
    ]
    both = [np.concatenate(parts).astype(np.int64) for parts in zip(*columns, strict=True)]
    return join_borders(Borders(*both))


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
    item, above, below = runs.item, runs.above, runs.below
    both = runs.begins_above & runs.begins_below
    upper, lower = int(runs.begins_above.sum()), int(runs.begins_below.sum())
    meet = np.flatnonzero(both)
    above, below = above[meet], below[meet]
    turns = []
    for back in (1, 0):
        turn = np.ones(len(both), np.int64)
        turn[meet] = item[above - back] != item[below - back]
        counted = np.zeros(len(item), np.int64)
        counted[:upper] += turn[runs.begins_above]
        counted[len(item) - lower :] += turn[runs.begins_below]
        turns.append(counted)
    return turns[0], turns[1]
