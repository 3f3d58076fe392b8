"""Objects of a result: connected regions of one class, joined across blocks.

Blocks are read row by row. An object is yielded as soon as no part of it touches an unread block,
so memory holds only the objects that cross the current row of blocks.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.measure.blocks import blocks
from napari_twostage.measure.regions import find_regions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from napari_twostage.geometry import Box, Shape
    from napari_twostage.measure.blocks import Block, ProgressCallback
    from napari_twostage.measure.regions import LabelObject
    from napari_twostage.result.result import Result


def iter_objects(
    result: Result, *, outlines: bool, progress: ProgressCallback = lambda _: None
) -> Iterator[LabelObject]:
    """Find every object of the finest labels; each is yielded once, as soon as it is complete.

    Parameters
    ----------
    result : Result
        Result to measure.
    outlines : bool
        Trace polygons as well, which takes most of the time.
    progress : callable
        Called with the share done, in [0, 1], after each block.

    Yields
    ------
    LabelObject
    """
    front = _Front(result.grid.shape)
    for block in blocks(result, progress):
        yield from front.advance(block, outlines=outlines)


class _Front:
    """Border between read and unread blocks, with the objects that cross it."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        # Number of the open region at each pixel of the front; 0 without one.
        self._above = np.zeros(shape[1], np.int64)
        self._beside = np.zeros(0, np.int64)
        self._open: dict[int, LabelObject] = {}
        self._count = 0

    def advance(self, block: Block, *, outlines: bool) -> Iterator[LabelObject]:
        """Move past one block; yield the objects that are now complete."""
        box = block.box
        above = self._above[box.left : box.right].copy()
        beside = self._beside if box.left else np.zeros(box.height, np.int64)

        numbers, regions = find_regions(block, self._shape, outlines=outlines)
        crossing = self._crossing(numbers, box)
        given = np.zeros(len(regions) + 1, np.int64)
        for number, region in enumerate(regions, start=1):
            if number not in crossing:
                yield region
                continue
            self._count += 1
            given[number] = self._count
            region.members = [self._count]
            region.pending = crossing[number]
            self._open[self._count] = region

        self._join(above, given[numbers[0]])
        self._join(beside, given[numbers[:, 0]])
        self._above[box.left : box.right] = (
            0 if box.bottom == self._shape[0] else given[numbers[-1]]
        )
        self._beside = given[numbers[:, -1]]
        yield from self._release(above, beside, given)

    def _crossing(self, numbers: NDArray[np.int32], box: Box) -> dict[int, int]:
        """Count the unread blocks of each region that touches another block."""
        rows, columns = self._shape
        crossing: dict[int, int] = {}
        for inner, coming, side in (
            (box.top > 0, 0, numbers[0]),
            (box.left > 0, 0, numbers[:, 0]),
            (box.bottom < rows, 1, numbers[-1]),
            (box.right < columns, 1, numbers[:, -1]),
        ):
            if inner:
                for number in _distinct(side):
                    crossing[number] = crossing.get(number, 0) + coming
        return crossing

    def _join(self, before: NDArray[np.int64], now: NDArray[np.int64]) -> None:
        """Merge objects of one class that face each other across a border."""
        facing = (before > 0) & (now > 0)
        for pair in np.unique(np.stack([before[facing], now[facing]], 1), axis=0):
            one, other = (self._open[int(number)] for number in pair)
            if one is other or one.value != other.value:
                continue
            # Relabel the smaller one, so that a large object is not traversed for every block.
            small, large = sorted((one, other), key=lambda item: len(item.members))
            for member in small.members:
                self._open[member] = large
            large.absorb(small)

    def _release(
        self, above: NDArray[np.int64], beside: NDArray[np.int64], given: NDArray[np.int64]
    ) -> Iterator[LabelObject]:
        """Close the objects for which the block just passed was the last one."""
        faced = chain(_distinct(above), _distinct(beside))
        for number in faced:
            self._open[number].pending -= 1
        touched: Iterable[int] = {*_distinct(above), *_distinct(beside), *_distinct(given)}
        for number in sorted(touched):
            item = self._open.get(number)
            if item is not None and item.pending == 0:
                for member in item.members:
                    del self._open[member]
                yield item


def _distinct(numbers: NDArray[np.integer]) -> list[int]:
    return [int(number) for number in np.unique(numbers) if number]
