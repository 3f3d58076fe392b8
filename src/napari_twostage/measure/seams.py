"""Seams between blocks: which regions go on across them, and the borders along them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_twostage.measure.regions import Borders

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.int64]
    Mask = NDArray[np.bool_]


class Seam(NamedTuple):
    """Regions that face each other across a straight line between pixels, one pair to a pixel."""

    first: Numbers
    """Regions above a horizontal line, or left of a vertical one."""
    second: Numbers
    """Regions below, or on the right."""
    joins: Mask
    """Whether the pixels of a pair are of one object if their labels are equal."""
    lies: bool
    """Whether the line is horizontal."""


def going_on(seam: Seam, value: Numbers) -> tuple[Numbers, Numbers]:
    """Pairs of regions that are one; repeats of a pair are left out."""
    first, second = seam.first, seam.second
    same = (value[first] == value[second]) & seam.joins
    same[1:] &= (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    return first[same], second[same]


def borders_along(seam: Seam, number: Numbers) -> Borders:
    """Borders of regions that face each other, pixel by pixel, with the turns on the line.

    The turns are those of `tabulate._turns`: a border turns where the next pair of pixels has none,
    or has another region on that side.

    Parameters
    ----------
    seam : Seam
        Regions on both sides.
    number : (n,) int array
        Number of each region, which those that are one share.
    """
    first, second, lies = seam.first, seam.second, seam.lies
    parts = number[first] != number[second]
    turns = []
    for side in (first, second):
        on = number[side[1:]] == number[side[:-1]]
        turn = ~(parts[1:] & parts[:-1] & on)
        turns.append((np.append(turn, False) + np.append(False, turn).astype(np.int64))[parts])
    first, second = first[parts], second[parts]
    edges, none = np.ones(len(first), np.int64), np.zeros(len(first), np.int64)
    across, along = (edges, none) if lies else (none, edges)
    return Borders(first, second, across, along, *turns)
