"""Small fields of a slide read at the resolution of cells, where an overview shows too little."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from napari_twostage.errors import ReadError
from napari_twostage.geometry import Box, Grid
from napari_twostage.slides.view import View

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from napari_twostage.geometry import Scale
    from napari_twostage.slides.base import Slide

FIELD_MPP = 1.0
"""Micrometres per pixel of a field, the size of cell parts."""


class Fields:
    """Fields of a slide at about `FIELD_MPP`, found by their place on an overview.

    Parameters
    ----------
    slide : Slide
        Slide to read from.
    overview : Grid
        Grid of the overview.
    """

    def __init__(self, slide: Slide, overview: Grid) -> None:
        factor = max(1, round(FIELD_MPP / min(slide.mpp)))
        self.grid = Grid(slide.level_shapes[0], (1.0, 1.0), slide.mpp).coarser(factor)
        self._view = View(slide, self.grid)
        self._step: Scale = (overview.downsample[0] / factor, overview.downsample[1] / factor)

    def around(self, pixels: Iterable[list[int]], reach: int) -> Iterator[NDArray[np.uint8]]:
        """Read what lies around pixels of the overview, up to `reach` of them; not what is damaged.

        Yields
        ------
        (h, w, 3) uint8 array
        """
        for row, column in pixels:
            box = Box(row - reach, column - reach, row + reach + 1, column + reach + 1)
            with suppress(ReadError):
                yield self._view.read(box.scaled(self._step).clip(self.grid.shape))

    def square(self, row: int, column: int, side_px: int) -> NDArray[np.uint8] | None:
        """Square with its middle on a pixel of the overview, moved into the slide.

        Returns
        -------
        (side_px, side_px, 3) uint8 array
            None if it is damaged, or larger than the slide.
        """
        if side_px > min(self.grid.shape):
            return None
        top, left = (
            min(max(0, round((place + 0.5) * step) - side_px // 2), length - side_px)
            for place, step, length in zip((row, column), self._step, self.grid.shape, strict=True)
        )
        with suppress(ReadError):
            return self._view.read(Box.at(top, left, side_px, side_px))
        return None
