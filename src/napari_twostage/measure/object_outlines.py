"""Outlines of the objects of a result, and sums of their pixels, block by block in threads.

The objects are known before: what of a block belongs to which, with small holes filled. An object
within one block is traced there. The parts of one that crosses blocks are joined once the last
block that it reaches was traced.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

import numpy as np

from napari_twostage.errors import SegmentationError
from napari_twostage.measure.blocks import block_rows
from napari_twostage.measure.merge import joined_objects
from napari_twostage.measure.outlines import joined, trace
from napari_twostage.measure.tallies import regions_of
from napari_twostage.utils.graphs import connect
from napari_twostage.utils.threads import in_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from shapely import Polygon

    from napari_twostage.geometry import Box
    from napari_twostage.measure.blocks import ProgressCallback
    from napari_twostage.measure.merge import Objects
    from napari_twostage.measure.objects import ObjectScan
    from napari_twostage.measure.runs import Runs

    Numbers = NDArray[np.int64]
    Polygons = NDArray[np.object_]
    Values = NDArray[np.float64]
    SumPixels = Callable[[Box, Runs, NDArray[np.int32], int], Values]

Made = TypeVar("Made")

SHARE_OF_SEARCH = 0.2
"""Share of the work that is the search for objects; the rest is tracing."""


class Outlined(NamedTuple):
    """Some objects, all their pixels seen; an element of each array is one of them."""

    objects: Objects
    outlines: Polygons
    """Polygons in pixel edges (x, y) of the fine grid, without points on straight lines: (n,)."""
    sums: Values
    """What a `SumPixels` gave of their pixels: (n, k); k is 0 without one."""


def outline_objects(
    scan: ObjectScan,
    make: Callable[[Outlined], Made],
    progress: ProgressCallback = lambda _: None,
    sum_pixels: SumPixels | None = None,
) -> Iterator[Made]:
    """Find all objects and trace their outlines.

    Parameters
    ----------
    scan : ObjectScan
        A search with members, not yet begun.
    make : callable
        Is given some objects. Called in threads.
    progress : callable
        Called with the share done, in [0, 1], after each block.
    sum_pixels : callable, optional
        Adds up pixels of the slide over parts of objects; see `PixelMeans.sums`. Called in threads.

    Yields
    ------
    Made
        Results of `make`, in an order that does not depend on threads. Each object is in one.
    """
    # the tables of the search are not kept beside what they are joined to
    objects = joined_objects(list(scan.objects(lambda done: progress(SHARE_OF_SEARCH * done))))
    tracer = _Tracer(scan, objects, make, sum_pixels)
    waiting: defaultdict[int, list[tuple[Polygon, Values]]] = defaultdict(list)
    done, plane = 0, scan.result.grid.box.area
    with closing(in_order(tracer.trace, tracer.blocks)) as traced:
        for number, block in enumerate(traced):
            if block.made is not None:
                yield block.made
            for item, *part in zip(block.crossing.tolist(), block.parts, block.sums, strict=True):
                waiting[item].append((part[0], part[1]))
            whole = [item for item in waiting if tracer.last[item] == number]
            if whole:
                yield make(tracer.whole({item: waiting.pop(item) for item in whole}))
            done += tracer.blocks[number].box.area
            progress(SHARE_OF_SEARCH + (1 - SHARE_OF_SEARCH) * done / plane)


@dataclass(frozen=True, slots=True)
class _Block:
    """A block, and the object of each of its regions, from 1; 0 for none."""

    box: Box
    object_of: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class _Traced(Generic[Made]):
    """Outlines of a block."""

    made: Made | None
    """Of the objects within the block; None if there are none."""
    crossing: Numbers
    """Object of each part of one that crosses blocks."""
    parts: Polygons
    sums: Values
    """Of the pixels of each part: (m, k)."""


class _Tracer(Generic[Made]):
    """Traces the objects of one block at a time."""

    def __init__(
        self,
        scan: ObjectScan,
        objects: Objects,
        make: Callable[[Outlined], Made],
        sum_pixels: SumPixels | None,
    ) -> None:
        self._objects = objects
        self._scan = scan
        self._make = make
        self._sum_pixels = sum_pixels or _no_sums
        rows = block_rows(scan.result)
        boxes = [box for row in rows for box in row]
        self.blocks = [_Block(box, part) for box, part in zip(boxes, scan.members, strict=True)]
        height, width, columns = rows[0][0].height, rows[0][0].width, len(rows[0])
        regions = objects.regions
        first = regions.top // height * columns + regions.left // width
        self.last = (regions.bottom - 1) // height * columns + (regions.right - 1) // width
        """Number of the last block that each object reaches."""
        self._within = first == self.last

    def trace(self, block: _Block) -> _Traced[Made]:
        """Trace all objects of a block."""
        if not block.object_of.any():
            return _Traced(None, np.zeros(0, np.int64), np.zeros(0, object), np.zeros((0, 0)))
        runs, regions = regions_of(self._scan.result, block.box, self._scan.states)
        if regions.max() + 1 != len(block.object_of):
            raise SegmentationError(
                f"the labels of {self._scan.result.path} changed while they were exported; "
                "export again once the run has ended"
            )
        part, owner = _parts(runs, regions, block.object_of)
        polygons = trace(runs.paint(part), top=block.box.top, left=block.box.left)
        sums = self._sum_pixels(block.box, runs, part, len(owner))
        owner -= 1  # objects count from 1
        within = self._within[owner]
        made = None
        if within.any():
            some = self._objects.take(owner[within])
            made = self._make(Outlined(some, polygons[within], sums[within]))
        return _Traced(made, owner[~within], polygons[~within], sums[~within])

    def whole(self, parts: dict[int, list[tuple[Polygon, Values]]]) -> Outlined:
        """Join the parts of each object of some, by its number."""
        return Outlined(
            self._objects.take(np.array(list(parts))),
            np.array([joined([outline for outline, _ in own]) for own in parts.values()]),
            np.array([np.sum([sums for _, sums in own], axis=0) for own in parts.values()]),
        )


def _no_sums(_box: Box, _runs: Runs, _part: NDArray[np.int32], count: int) -> Values:
    return np.zeros((count, 0))


def _parts(
    runs: Runs, regions: Numbers, object_of: NDArray[np.int32]
) -> tuple[NDArray[np.int32], Numbers]:
    """Number the connected parts of objects in a block from 1, by run; 0 is no object.

    Holes that are filled are parts of an object, so regions of one object may lie side by side.

    Returns
    -------
    part : (n,) int array
        Part of each run.
    owner : (m,) int array
        Object of each part.
    """
    item = object_of[regions]
    beside = np.flatnonzero((regions[1:] != regions[:-1]) & (item[1:] == item[:-1]))
    beside = beside[runs.column[beside + 1] > 0]
    above, below = regions[runs.above], regions[runs.below]
    touching = np.flatnonzero((above != below) & (object_of[above] == object_of[below]))
    number = connect(
        len(object_of),
        np.concatenate([above[touching], regions[beside]]),
        np.concatenate([below[touching], regions[beside + 1]]),
    )
    whole = np.zeros(len(object_of), object_of.dtype)
    whole[number] = object_of  # all of a part are of one object
    place = np.cumsum(whole > 0)
    part = np.where(whole > 0, place, 0).astype(np.int32)
    return part[number][regions], whole[whole > 0].astype(np.int64)
