"""Holes below a size, by the region that surrounds them.

A hole of a region is a part of the plane that the region cuts off from the slide's edge. It may
hold several regions, and holes of its own. Regions and the borders between them are a graph, in
which a hole is what cannot be reached from outside without passing through the region.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.utils.graphs import connect

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Numbers = NDArray[np.int64]
    Mask = NDArray[np.bool_]


def find_holes(
    value: Numbers,
    pixels: Numbers,
    small: Mask,
    unfinished: Mask,
    first: Numbers,
    second: Numbers,
    least: float,
) -> tuple[Numbers, Mask]:
    """Find the regions that fill small holes of others.

    Parameters
    ----------
    value : (n,) int array
        Label value of each region.
    pixels : (n,) int array
        Pixels of each region; region 0 stands for all that is outside.
    small : (n,) bool array
        Regions below `least` that do not touch the slide's edge: only these may be in a hole.
    unfinished : (n,) bool array
        Regions that may still grow.
    first, second : (k,) int array
        Pairs of regions that touch.
    least : float
        Pixels from which on a hole, with all that is in it, is left open.

    Returns
    -------
    into : (n,) int array
        The region whose hole each region fills; its own number if it fills none.
    pending : (n,) bool array
        Small regions of which this cannot be told yet: they touch, directly or through other small
        ones, an unfinished small one, or two unfinished ones that may turn out to be one.

    Examples
    --------
    A region of 2 pixels (1) in one of 20 (2), which touches what is outside (0):

    >>> value, sizes, none = np.array([-1, 0, 1]), np.array([900, 2, 20]), np.zeros(3, bool)
    >>> first, second = np.array([1, 0]), np.array([2, 2])
    >>> find_holes(value, sizes, sizes < 8, none, first, second, 8)[0].tolist()
    [0, 2, 2]
    """
    count = len(pixels)
    into = np.arange(count)
    within = small[first] & small[second]
    group = connect(count, first[within], second[within])
    across = small[first] != small[second]
    inner = np.where(small[first], first, second)[across]
    outer = np.where(small[first], second, first)[across]
    waiting = np.bincount(group[small & unfinished], minlength=count) > 0
    growing = unfinished[outer]
    waiting |= _between_equals(group[inner[growing]], outer[growing], value, count)
    pending = small & waiting[group]
    settled = small & ~pending

    lowest, highest = np.full(count, count), np.full(count, -1)
    np.minimum.at(lowest, group[inner], outer)
    np.maximum.at(highest, group[inner], outer)
    total = np.bincount(group, np.where(small, pixels, 0), count)
    members = np.bincount(group[small], minlength=count)
    fits = settled & (total < least)[group]
    fills = fits & ((lowest == highest) & (lowest > 0))[group]
    into[fills] = lowest[group[fills]]

    # A larger group may hold regions with holes of their own: a ring of 7 pixels around 3.
    left = settled & ~fits & (members > 1)[group]
    if left.any():
        inside = left[first] & left[second]
        for hole, owner in _search(
            pixels, first[inside].tolist(), second[inside].tolist(), set(inner[left[inner]]), least
        ).items():
            into[hole] = owner
    return into, pending


def _between_equals(group: Numbers, outer: Numbers, value: Numbers, count: int) -> Mask:
    """Whether each group touches two outer regions of one value: (count,)."""
    pairs = np.unique(group * count + outer)
    group, outer = pairs // count, pairs % count
    kind = group * (int(value.max()) + 1) + value[outer]
    kinds, repeats = np.unique(kind, return_counts=True)
    found = np.zeros(count, bool)
    found[kinds[repeats > 1] // (int(value.max()) + 1)] = True
    return found


def _search(
    pixels: Numbers, first: Sequence[int], second: Sequence[int], outermost: set[int], least: float
) -> dict[int, int]:
    """Find small holes of small regions by a depth-first search from outside.

    What lies behind a region in the search, and reaches nothing that was met before it, is cut
    off by it (Hopcroft and Tarjan 1973, articulation points).
    """
    neighbours: defaultdict[int, list[int]] = defaultdict(list)
    for one, other in zip(first, second, strict=True):
        neighbours[one].append(other)
        neighbours[other].append(one)
    met: dict[int, int] = {}
    lowest: dict[int, int] = {}
    holes: list[tuple[int, int, int]] = []  # first and last that were met, and what cuts them off
    for start in sorted(outermost):
        if start not in met:
            _descend(start, neighbours, outermost, met, lowest, holes)
    order = list(met)
    sizes = np.concatenate([[0], np.cumsum(pixels[order])])
    into: dict[int, int] = {}
    for begin, end, owner in sorted(holes, key=lambda hole: (hole[0], -hole[1])):  # outer first
        if order[begin] not in into and sizes[end] - sizes[begin] < least:
            into.update(dict.fromkeys(order[begin:end], owner))
    return into


def _descend(
    start: int,
    neighbours: Mapping[int, list[int]],
    outermost: set[int],
    met: dict[int, int],
    lowest: dict[int, int],
    holes: list[tuple[int, int, int]],
) -> None:
    """Visit all regions that are reached from one; outside counts as met before all others."""

    def meet(region: int) -> None:
        met[region] = len(met)
        lowest[region] = -1 if region in outermost else met[region]

    meet(start)
    path = [(start, iter(neighbours[start]))]
    while path:
        region, left = path[-1]
        nearest = next(left, None)
        if nearest is None:
            path.pop()
            if path:
                before = path[-1][0]
                lowest[before] = min(lowest[before], lowest[region])
                if lowest[region] >= met[before]:
                    holes.append((met[region], len(met), before))
        elif nearest not in met:
            meet(nearest)
            path.append((nearest, iter(neighbours[nearest])))
        else:
            lowest[region] = min(lowest[region], met[nearest])
