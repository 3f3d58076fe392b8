"""Part of a slide that is measured: what an odd number of outlines surround."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np

from napari_twostage.geometry import Box
from napari_twostage.io.annotations import bounds_of, even_odd

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from shapely import Geometry

    from napari_twostage.geometry import Grid, Polygons, Shape

Cover = Literal["none", "part", "all"]


class Within:
    """A region on the fine grid of a result; a pixel is in it if its centre is.

    Parameters
    ----------
    rings : Polygons
        Outlines (y, x) in pixels of the fine grid; what an odd number of them surround counts.
    plane : (int, int)
        Rows and columns of the fine grid.
    """

    def __init__(self, rings: Polygons, plane: Shape) -> None:
        import shapely

        self._starts = np.concatenate([np.array(ring, float) for ring in rings])
        self._ends = np.concatenate([np.roll(np.array(ring, float), -1, axis=0) for ring in rings])
        self._shape = even_odd(rings)
        shapely.prepare(self._shape)
        top, left, bottom, right = bounds_of(rings)
        edges = math.floor(top), math.floor(left), math.ceil(bottom), math.ceil(right)
        self.box = Box(*edges).clip(plane)
        """Smallest box of whole pixels around the region, inside the plane."""

    def cover(self, box: Box) -> Cover:
        """How much of a box is in the region."""
        import shapely

        square = shapely.box(box.left, box.top, box.right, box.bottom)
        if shapely.contains_properly(self._shape, square):
            return "all"
        return "part" if shapely.intersects(self._shape, square) else "none"

    def mask(self, box: Box) -> NDArray[np.bool_]:
        """Pixels of a box that are in the region: (box.height, box.width)."""
        y0, y1 = self._starts[:, 0], self._ends[:, 0]
        # rows whose centres lie between the ends of an edge
        first = np.ceil(np.minimum(y0, y1) - 0.5).clip(box.top, box.bottom).astype(np.int64)
        last = np.ceil(np.maximum(y0, y1) - 0.5).clip(box.top, box.bottom).astype(np.int64)
        count = last - first
        edge = np.repeat(np.arange(len(count)), count)
        rows = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count) + first[edge]
        x0, x1 = self._starts[edge, 1], self._ends[edge, 1]
        share = (rows + 0.5 - y0[edge]) / (y1[edge] - y0[edge])
        columns = np.ceil(x0 + share * (x1 - x0) - 0.5).clip(box.left, box.right)
        crossings = np.zeros((box.height, box.width + 1), np.int64)
        np.add.at(crossings, (rows - box.top, columns.astype(np.int64) - box.left), 1)
        return np.asarray(np.cumsum(crossings, axis=1)[:, :-1] % 2 == 1)


def covered_mm2(rings: Polygons, mask: NDArray[np.bool_], grid: Grid) -> float:
    """Area of a mask inside a region, in square millimetres; the outline cuts pixels.

    Parameters
    ----------
    rings : Polygons
        Outlines (y, x) in pixels of level 0.
    mask : (H, W) bool array
    grid : Grid
        Grid of the mask.
    """
    import shapely
    from shapely.affinity import scale

    down, across = grid.downsample
    shape = scale(even_odd(rings), 1 / across, 1 / down, origin=(0, 0))
    if shape.is_empty:
        return 0.0
    left, top, right, bottom = shapely.bounds(shape).tolist()
    edges = math.floor(top), math.floor(left), math.ceil(bottom), math.ceil(right)
    near = Box(*edges).clip(mask.shape)
    if not near.area:
        return 0.0
    pixels = _coverage(shape, near)[mask[near.slices]].sum()
    return float(pixels * grid.pixel_area_um2 / 1e6)


def _coverage(shape: Geometry, box: Box) -> NDArray[np.float64]:
    """Share of each unit square of a box that is in a shape: (box.height, box.width).

    Only squares that the outline crosses are halved: the cost grows with the outline alone.
    """
    import shapely

    shapely.prepare(shape)
    size = 1 << (max(box.shape) - 1).bit_length()
    share, crossed = np.zeros((1, 1)), np.ones((1, 1), bool)
    while True:
        rows, columns = np.nonzero(crossed)
        x, y = box.left + columns * size, box.top + rows * size
        squares = shapely.box(x, y, x + size, y + size)
        if size == 1:
            share[rows, columns] = shapely.area(shapely.intersection(shape, squares))
            return share[: box.height, : box.width]
        inside = shapely.contains_properly(shape, squares)
        share[rows, columns] = inside
        crossed[rows, columns] = ~inside & shapely.intersects(shape, squares)
        share, crossed = (one.repeat(2, 0).repeat(2, 1) for one in (share, crossed))
        size //= 2
