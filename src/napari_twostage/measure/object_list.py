"""All objects of a result as columns: fast to list, for no pixel is read but of the uncertainty."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np

from napari_twostage.geometry import Box
from napari_twostage.measure.blocks import block_rows
from napari_twostage.measure.merge import joined_objects
from napari_twostage.measure.object_numbers import place_numbers, shape_numbers
from napari_twostage.measure.objects import ObjectScan
from napari_twostage.measure.pixel_means import UNCERTAINTY, PixelMeans
from napari_twostage.measure.tallies import regions_of
from napari_twostage.measure.tissue_area import tissue_mm2
from napari_twostage.utils.threads import in_order

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.measure.blocks import ProgressCallback
    from napari_twostage.measure.merge import Objects
    from napari_twostage.measure.object_numbers import Numbers
    from napari_twostage.result.result import Result

    Values = NDArray[np.float64]
    Part = tuple[Box, NDArray[np.int32]]

SHARE_OF_LIST = 0.2
"""Share of the work that is the list; the rest is the uncertainty."""


@dataclass(frozen=True, slots=True)
class ObjectList:
    """All objects, one to an element of each array, in the order of their first pixels."""

    values: NDArray[np.uint8]
    """Label value of each object's class."""
    boxes: NDArray[np.int32]
    """Top, left, bottom and right on the fine grid: (n, 4)."""
    firsts: NDArray[np.int32]
    """Column of the leftmost pixel of the topmost row, on the fine grid."""
    numbers: Numbers
    """Numbers by the name of their column, see `object_columns`; the mean uncertainty is NaN until
    it was measured."""
    tissue_mm2: float
    """Tissue that the objects lie in, in square millimetres."""

    def __len__(self) -> int:
        return len(self.values)

    def box(self, place: int) -> Box:
        """Box of an object on the fine grid."""
        return Box(*self.boxes[place].tolist())

    def first_pixel(self, place: int) -> tuple[int, int]:
        """Row and column of an object's first pixel, on the fine grid; it tells objects apart."""
        return int(self.boxes[place, 0]), int(self.firsts[place])

    def place_of(self, first_pixel: tuple[int, int]) -> int | None:
        """Place of the object with this first pixel; None if there is none."""
        row, column = first_pixel
        found = np.flatnonzero((self.boxes[:, 0] == row) & (self.firsts == column))
        return int(found[0]) if found.size else None

    def with_uncertainty(self, means: Values) -> Self:
        """The same objects with the mean uncertainty of each."""
        return replace(self, numbers={**self.numbers, UNCERTAINTY.name: means})


class ObjectLister:
    """Lists the objects of a result, and measures their uncertainty afterwards.

    Parameters
    ----------
    result : Result
        Result to list, as it is now.
    """

    def __init__(self, result: Result) -> None:
        self._result = result
        self._scan = ObjectScan(result, members=True)
        self._order = np.zeros(0, np.int64)
        self._pixels = np.zeros(0, np.int64)

    def list(self, progress: ProgressCallback = lambda _: None) -> ObjectList:
        """List all objects; call it once.

        Parameters
        ----------
        progress : callable
            Called with the share done, in [0, 1], after each block.
        """
        tables = self._scan.objects(lambda done: progress(SHARE_OF_LIST * done))
        objects = joined_objects(list(tables))
        one = objects.regions
        self._order = np.lexsort((one.first, one.top))
        self._pixels = one.pixels
        return _listed(self._result, objects.take(self._order))

    def uncertainty(self, progress: ProgressCallback = lambda _: None) -> Values:
        """Mean uncertainty of each object of the list, NaN where labels have changed since: (n,).

        Parameters
        ----------
        progress : callable
            See `list`, whose share comes before.
        """
        rows = block_rows(self._result)
        boxes = [box for row in rows for box in row]
        parts = list(zip(boxes, self._scan.members, strict=True))
        sums, done = np.zeros(len(self._pixels)), 0
        means = PixelMeans(self._result, slide=False)
        with closing(in_order(lambda part: self._sums(means, part), parts)) as added:
            for (box, _), (objects, amounts) in zip(parts, added, strict=True):
                sums[objects] += amounts
                done += box.area
                progress(SHARE_OF_LIST + (1 - SHARE_OF_LIST) * done / self._result.grid.box.area)
        found: Values = (sums / self._pixels)[self._order]
        return found

    def _sums(self, means: PixelMeans, part: Part) -> tuple[NDArray[np.int64], Values]:
        """Objects of a block, from 0, and the sum of the uncertainty over the pixels of each."""
        box, object_of = part
        if not object_of.any():
            return np.zeros(0, np.int64), np.zeros(0)
        runs, regions = regions_of(self._result, box, self._scan.states)
        if regions.max() + 1 != len(object_of):
            changed = np.unique(object_of[object_of > 0]).astype(np.int64) - 1
            return changed, np.full(len(changed), np.nan)
        known, number = np.unique(object_of[regions], return_inverse=True)
        if not known[0]:
            known = known[1:]
        else:
            number += 1
        sums = means.sums(box, runs, number.astype(np.int32), len(known))
        return known.astype(np.int64) - 1, sums[:, 0]


def _listed(result: Result, objects: Objects) -> ObjectList:
    one = objects.regions
    boxes = np.stack([one.top, one.left, one.bottom, one.right], axis=1)
    return ObjectList(
        values=one.value.astype(np.uint8),
        boxes=boxes.astype(np.int32),
        firsts=one.first.astype(np.int32),
        numbers={
            **place_numbers(one, result.grid),
            **shape_numbers(objects, result.grid),
            UNCERTAINTY.name: np.full(len(objects), np.nan),
        },
        tissue_mm2=tissue_mm2(result) or 0.0,
    )
