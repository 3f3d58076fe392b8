"""The object at a pixel, found from the labels around it: the same that lists and exports hold."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.errors import SelectionError
from napari_twostage.geometry import Box
from napari_twostage.measure.blocks import read_pixels, refined_tiles
from napari_twostage.measure.members import Members
from napari_twostage.measure.merge import Merger
from napari_twostage.measure.object_ids import object_ids
from napari_twostage.measure.object_numbers import place_numbers, shape_numbers
from napari_twostage.measure.objects import least_pixels
from napari_twostage.measure.pixel_means import UNCERTAINTY, PixelMeans
from napari_twostage.measure.tabulate import tabulate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.measure.merge import Objects
    from napari_twostage.measure.regions import Regions
    from napari_twostage.result.result import Result

FIRST_PX = 256
"""Approximate side, in pixels, of the window that is looked at first; most nuclei lie inside."""
LARGEST_PX = 8192
"""Side of the largest window: 64 MB of labels."""


@dataclass(frozen=True, slots=True)
class FoundObject:
    """One object of a result."""

    value: int
    """Label value of its class."""
    id: str
    """Identifier in all exports."""
    box: Box
    """Box on the fine grid."""
    first_pixel: tuple[int, int]
    """Row and column of its first pixel, on the fine grid."""
    mask: NDArray[np.bool_]
    """(box.height, box.width); True in the object, filled holes included."""
    numbers: dict[str, float]
    """Measurements by the name of their column, see `object_columns`."""


def object_at(result: Result, row: int, column: int) -> FoundObject | None:
    """Find the object at a pixel of the fine grid; None in the background and on a speck.

    The window around the pixel grows until it holds all of the object, so the object does not
    depend on tiles or blocks. A pixel in a hole that counts as filled is its object's.

    Raises
    ------
    SelectionError
        If the object is larger than `LARGEST_PX`.
    """
    grid, tile_px = result.grid, result.tiles.tile_px
    if not Box(row, column, row + 1, column + 1).clip(grid.shape).area:
        return None
    tile = Box(row // tile_px, column // tile_px, row // tile_px + 1, column // tile_px + 1)
    margin = max(1, round((FIRST_PX / tile_px - 1) / 2))
    states = result.states
    while True:
        box = tile.grow(margin).scaled(tile_px).clip(grid.shape)
        window = _Window(result, box, states)
        if window.holds_all(row, column):
            return window.found(row, column)
        if max(box.shape) >= LARGEST_PX:
            raise SelectionError(
                f"this object is larger than {LARGEST_PX:,} pixels; List objects measures it"
            )
        margin *= 2


class _Window:
    """Objects of a part of a result.

    Parameters
    ----------
    result : Result
    box : Box
        Whole tiles of the fine grid.
    states : (rows, columns) uint8 array
        `TileState` of every tile.
    """

    def __init__(self, result: Result, box: Box, states: NDArray[np.uint8]) -> None:
        self._result, self._box = result, box
        pixels = read_pixels(result, box, states)
        refined = refined_tiles(result, box, states)
        self._runs, regions, table = tabulate(pixels, refined, result.tiles.tile_px)
        self._least = least_pixels(result.least_object_um2, result.grid.pixel_area_um2)
        members = Members()
        merger = Merger(box.shape, self._least, members)
        self._objects = merger.take([(Box(0, 0, *box.shape), table)])
        # the first region is the outside
        self._object_of: NDArray[np.int32] = members.objects()[1:]
        self._regions = table.regions
        self._region_at = self._runs.paint(regions)

    def holds_all(self, row: int, column: int) -> bool:
        """Whether nothing beyond the window can change what is found at a pixel."""
        region, number = self._at(row, column)
        if number:
            return self._is_within(self._objects.regions, number - 1)
        one = self._regions
        is_no_hole = one.value[region] == 0 and one.pixels[region] >= self._least
        return bool(is_no_hole) or self._is_within(one, region)

    def found(self, row: int, column: int) -> FoundObject | None:
        """The object at a pixel."""
        _, number = self._at(row, column)
        if not number:
            return None
        result, box = self._result, self._box
        part = (self._object_of == number)[self._region_at]
        objects = self._objects.take(np.array([number - 1]))
        placed = replace(objects, regions=objects.regions.shift(box.top, box.left))
        one = placed.regions
        own = Box(*(int(side[0]) for side in (one.top, one.left, one.bottom, one.right)))
        return FoundObject(
            value=int(one.value[0]),
            id=object_ids(result, one)[0],
            box=own,
            first_pixel=(int(one.top[0]), int(one.first[0])),
            mask=part[own.shift(-box.top, -box.left).slices].copy(),
            numbers={**self._numbers(placed), UNCERTAINTY.name: self._uncertainty(part, placed)},
        )

    def _numbers(self, objects: Objects) -> dict[str, float]:
        grid = self._result.grid
        columns = {**place_numbers(objects.regions, grid), **shape_numbers(objects, grid)}
        return {name: float(column[0]) for name, column in columns.items()}

    def _uncertainty(self, part: NDArray[np.bool_], objects: Objects) -> float:
        """Mean uncertainty over the pixels of an object."""
        means = PixelMeans(self._result, slide=False)
        own = part.ravel()[self._runs.begin].astype(np.int32)
        sums = means.sums(self._box, self._runs, own, 1)
        return float(means.means(sums, objects.regions.pixels)[UNCERTAINTY.name][0])

    def _at(self, row: int, column: int) -> tuple[int, int]:
        """Region and object at a pixel of the fine grid; objects count from 1, 0 is none."""
        region = int(self._region_at[row - self._box.top, column - self._box.left])
        return region, int(self._object_of[region])

    def _is_within(self, regions: Regions, which: int) -> bool:
        """Whether a region ends at no side of the window beyond which the slide goes on."""
        whole, window = self._result.grid.box, self._box
        return bool(
            (regions.top[which] > 0 or window.top == whole.top)
            and (regions.left[which] > 0 or window.left == whole.left)
            and (regions.bottom[which] < window.height or window.bottom == whole.bottom)
            and (regions.right[which] < window.width or window.right == whole.right)
        )
