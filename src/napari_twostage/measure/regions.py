"""Connected regions of a block of labels, and their outlines.

Pixels are connected through their edges (4-connectivity). Pixels that share only a corner belong
to different objects, so every outline is one valid polygon, possibly with holes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.geometry import Box
from napari_twostage.measure.outlines import trace

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from shapely import Polygon

    from napari_twostage.geometry import Shape
    from napari_twostage.measure.blocks import Block

SIMPLIFY_PX = 0.49
"""Largest distance of a simplified outline from the pixel edges, in pixels of the fine grid.

The centre of a pixel is half a pixel from its edges. With a smaller tolerance no centre changes
sides, so rasterising a simplified outline returns exactly the original pixels.
"""


@dataclass(slots=True)
class LabelObject:
    """Connected region of one class; all positions are on the fine grid."""

    value: int
    """Label value of the class."""
    first: tuple[int, int]
    """First pixel (row, column): the leftmost of the topmost row; a stable identity."""
    box: Box
    """Bounding box."""
    pixels: int
    """Number of pixels."""
    refined_pixels: int
    """Number of pixels that come from stage 2."""
    row_sum: float
    """Sum of the row indices of all pixels."""
    column_sum: float
    """Sum of the column indices of all pixels."""
    at_edge: bool
    """True if it touches the edge of the slide, so that a part may be missing."""
    parts: list[Polygon]
    """Outlines in pixel-edge coordinates (x, y), one per block; empty if not traced."""
    pending: int = 0
    """Number of sides of unread blocks that it touches."""
    members: list[int] = field(default_factory=list)
    """Numbers of the regions it was merged from, if it crosses blocks."""

    @property
    def centroid(self) -> tuple[float, float]:
        """Centre of mass (y, x); a pixel's centre is at its index plus one half."""
        return self.row_sum / self.pixels + 0.5, self.column_sum / self.pixels + 0.5

    def absorb(self, other: LabelObject) -> None:
        """Merge a touching region into this one."""
        self.first = min(self.first, other.first)
        self.box = Box(
            min(self.box.top, other.box.top),
            min(self.box.left, other.box.left),
            max(self.box.bottom, other.box.bottom),
            max(self.box.right, other.box.right),
        )
        self.pixels += other.pixels
        self.refined_pixels += other.refined_pixels
        self.row_sum += other.row_sum
        self.column_sum += other.column_sum
        self.at_edge |= other.at_edge
        self.pending += other.pending
        self.parts += other.parts
        self.members += other.members

    def outline(self, tolerance_px: float = SIMPLIFY_PX) -> Polygon:
        """Simplified polygon in pixel-edge coordinates (x, y).

        Parameters
        ----------
        tolerance_px : float
            Largest distance from the pixel edges; 0 drops only points on straight lines.
        """
        import shapely

        whole = self.parts[0] if len(self.parts) == 1 else shapely.union_all(self.parts)
        return shapely.simplify(whole, tolerance_px)


def find_regions(
    block: Block, shape: Shape, *, outlines: bool
) -> tuple[NDArray[np.int32], list[LabelObject]]:
    """Number the regions of one block and describe each.

    Parameters
    ----------
    block : Block
        Labels and tile states.
    shape : (int, int)
        Rows and columns of the whole plane.
    outlines : bool
        Trace polygons as well.

    Returns
    -------
    numbers : (height, width) int32 array
        Region of each pixel, 0 for the background; region ``n`` is ``regions[n - 1]``.
    regions : list of LabelObject
        Regions, with positions on the whole plane.
    """
    if not block.labels.any():
        return np.zeros(block.labels.shape, np.int32), []
    from scipy import ndimage

    box = block.box
    numbers = _number(block.labels)
    inside = np.flatnonzero(numbers)
    number = numbers.ravel()[inside]
    rows, columns = np.divmod(inside, box.width)
    count = int(numbers.max()) + 1
    pixels = np.bincount(number, minlength=count)
    row_sums = np.bincount(number, rows, count) + pixels * box.top
    column_sums = np.bincount(number, columns, count) + pixels * box.left
    refined = np.bincount(number[block.refined.ravel()[inside]], minlength=count)
    first = np.zeros(count, np.int64)
    first[number[::-1]] = inside[::-1]  # the last assignment wins: the first pixel of each
    polygons = trace(numbers, top=box.top, left=box.left) if outlines else []

    plane = Box(1, 1, shape[0] - 1, shape[1] - 1) if min(shape) > 1 else Box(0, 0, 0, 0)
    regions = []
    for n, (down, across) in enumerate(ndimage.find_objects(numbers), start=1):
        place = Box(down.start, across.start, down.stop, across.stop).shift(box.top, box.left)
        row, column = divmod(int(first[n]), box.width)
        regions.append(
            LabelObject(
                value=int(block.labels[row, column]),
                first=(row + box.top, column + box.left),
                box=place,
                pixels=int(pixels[n]),
                refined_pixels=int(refined[n]),
                row_sum=float(row_sums[n]),
                column_sum=float(column_sums[n]),
                at_edge=not plane.contains(place),
                parts=polygons[n - 1 : n],
            )
        )
    return numbers, regions


def _number(labels: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Number the connected regions of every class from 1: (height, width)."""
    from scipy import ndimage

    numbers = np.zeros(labels.shape, np.int32)
    total = 0
    for value in np.flatnonzero(np.bincount(labels.ravel())):
        if value == 0:
            continue
        found, count = ndimage.label(labels == value)
        np.add(numbers, found + total, out=numbers, where=found > 0)
        total += count
    return numbers
