"""Rectangles and pixel grids: positions, sizes and resolutions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

Shape = tuple[int, int]
"""Rows and columns of a plane."""

Scale = tuple[float, float]
"""A number per axis (y, x): micrometres per pixel, or a downsample factor."""

Point = tuple[float, float]
"""A place (y, x), in pixels counted from the corner of a level."""


@dataclass(frozen=True, slots=True, order=True)
class Box:
    """Rows [top, bottom) and columns [left, right) of one pyramid level."""

    top: int
    left: int
    bottom: int
    right: int

    def __post_init__(self) -> None:
        if self.bottom < self.top or self.right < self.left:
            raise ValueError(f"box ends before it begins: {self}")

    @classmethod
    def at(cls, top: int, left: int, height: int, width: int) -> Box:
        """Make the box whose first pixel is (top, left)."""
        return cls(top, left, top + height, left + width)

    @classmethod
    def around(cls, mask: NDArray[np.bool_]) -> Box:
        """Make the smallest box that holds every True pixel of a mask.

        Parameters
        ----------
        mask : (h, w) bool array
            At least one pixel is True.

        Raises
        ------
        ValueError
            If no pixel is True.

        Examples
        --------
        >>> import numpy as np
        >>> mask = np.zeros((4, 6), bool)
        >>> mask[1, 2] = mask[2, 4] = True
        >>> Box.around(mask)
        Box(top=1, left=2, bottom=3, right=5)
        """
        import numpy as np  # not above: a command that needs no pixels starts without it

        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if not rows.size:
            raise ValueError("an empty mask has no bounding box")
        return cls(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)

    @property
    def height(self) -> int:
        """Rows."""
        return self.bottom - self.top

    @property
    def width(self) -> int:
        """Columns."""
        return self.right - self.left

    @property
    def shape(self) -> Shape:
        """Rows and columns."""
        return self.height, self.width

    @property
    def area(self) -> int:
        """Pixels."""
        return self.height * self.width

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index of this box in an array of its level."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def as_list(self) -> list[int]:
        """The edges in the order in which `Box` takes them, for JSON.

        Examples
        --------
        >>> Box(1, 2, 3, 5).as_list()
        [1, 2, 3, 5]
        >>> Box(*[1, 2, 3, 5])
        Box(top=1, left=2, bottom=3, right=5)
        """
        return [self.top, self.left, self.bottom, self.right]

    def grow(self, margin: int) -> Box:
        """Add `margin` pixels on every side."""
        return Box(self.top - margin, self.left - margin, self.bottom + margin, self.right + margin)

    def shift(self, rows: int, columns: int) -> Box:
        """Move by whole pixels."""
        return Box(self.top + rows, self.left + columns, self.bottom + rows, self.right + columns)

    def intersect(self, other: Box) -> Box:
        """Common part of both boxes; of zero area if there is none."""
        top, left = max(self.top, other.top), max(self.left, other.left)
        return Box(
            top,
            left,
            max(top, min(self.bottom, other.bottom)),
            max(left, min(self.right, other.right)),
        )

    def clip(self, shape: Shape) -> Box:
        """Part inside a plane of `shape`."""
        return self.intersect(Box(0, 0, *shape))

    def contains(self, other: Box) -> bool:
        """Whether every pixel of `other` is in this box."""
        return self.intersect(other) == other

    def scaled(self, factor: float | Scale) -> Box:
        """Smallest box that covers this one on a grid `factor` times as fine.

        A factor below 1 goes to a coarser grid. Rounding errors of 1e-6 pixel are ignored,
        so a box that fits exactly does not grow.
        """
        y, x = factor if isinstance(factor, tuple) else (factor, factor)
        return Box(
            math.floor(self.top * y + 1e-6),
            math.floor(self.left * x + 1e-6),
            math.ceil(self.bottom * y - 1e-6),
            math.ceil(self.right * x - 1e-6),
        )

    def blocks(self, size: int | Shape) -> Iterator[Box]:
        """Cut into blocks of `size` on the absolute grid, row by row, clipped to this box."""
        rows, columns = size if isinstance(size, tuple) else (size, size)
        for top in range(self.top - self.top % rows, self.bottom, rows):
            for left in range(self.left - self.left % columns, self.right, columns):
                yield Box.at(top, left, rows, columns).intersect(self)


Polygons = tuple[tuple[Point, ...], ...]
"""Vertices (y, x) of one or more polygons, in pixels counted from the corner of a level."""
Region = Box | Polygons
"""A part of a level."""


@dataclass(frozen=True, slots=True)
class Grid:
    """A pixel grid over a slide; its pixel (i, j) starts at level 0's (i, j) × downsample."""

    shape: Shape
    downsample: Scale
    """Level-0 pixels per grid pixel (y, x)."""
    mpp: Scale
    """Micrometres per grid pixel (y, x)."""

    @property
    def box(self) -> Box:
        """Box of the whole grid."""
        return Box(0, 0, *self.shape)

    @property
    def pixel_area_um2(self) -> float:
        """Square micrometres of one pixel."""
        return self.mpp[0] * self.mpp[1]

    def coarser(self, factor: int) -> Grid:
        """Grid whose pixels each cover `factor` × `factor` of this one's."""
        return Grid(
            (math.ceil(self.shape[0] / factor), math.ceil(self.shape[1] / factor)),
            (self.downsample[0] * factor, self.downsample[1] * factor),
            (self.mpp[0] * factor, self.mpp[1] * factor),
        )

    def finer(self, factor: int) -> Grid:
        """Grid of which `factor` × `factor` pixels cover one of this one's."""
        return Grid(
            (self.shape[0] * factor, self.shape[1] * factor),
            (self.downsample[0] / factor, self.downsample[1] / factor),
            (self.mpp[0] / factor, self.mpp[1] / factor),
        )


def level_factors(shapes: Sequence[Shape]) -> tuple[Scale, ...]:
    """Downsample factor (y, x) of each level against the first.

    Scanners drop the rows and columns that do not fill a pixel of the next level, so sizes do
    not divide: 2967 columns at factor 4 may become 741. An integer that explains both sizes to
    within one pixel is used, else the plain ratio.

    Examples
    --------
    >>> level_factors([(2220, 2967), (555, 741)])
    ((1.0, 1.0), (4.0, 4.0))
    """
    height, width = shapes[0]
    factors = []
    for rows, columns in shapes:
        nearest = round((height / rows + width / columns) / 2)
        exact = nearest >= 1 and all(
            abs(full / nearest - part) < 1 for full, part in ((height, rows), (width, columns))
        )
        factors.append((float(nearest),) * 2 if exact else (height / rows, width / columns))
    return tuple(factors)
