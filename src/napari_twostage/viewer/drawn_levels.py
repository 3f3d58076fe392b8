"""Levels that are drawn when they are looked at, so that lines are as wide at every zoom."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.geometry import Box
from napari_twostage.viewer.lazy_levels import LazyLevel

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from napari_twostage.geometry import Shape

    Draw = Callable[[Box, float], NDArray[np.uint8]]

FINER = 8
"""Pixels of the finest level along a side of a pixel of the plane. napari shows a level whose
pixels are half to one pixel of the screen wide: up to this zoom, lines keep their width."""
FINE_LEVEL = round(math.log2(FINER))
"""Level of the plane itself."""
_COARSEST_PX = 512
"""Longest side of the coarsest level, which napari keeps: it is drawn at every change."""
_CHUNK = (512, 512)


class DrawnLevels:
    """Levels of a multiscale Image layer over a plane, drawn on demand.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the plane.
    draw : callable
        Function from a box of a level, and the plane's pixels along a side of a level's pixel, to
        the (height, width) uint8 pixels of the box.
    """

    def __init__(self, shape: Shape, draw: Draw) -> None:
        self._draw = draw
        steps = [1 / FINER]
        while max(shape) / steps[-1] > _COARSEST_PX:
            steps.append(2 * steps[-1])
        self._step = steps[-1]
        shapes = [(math.ceil(shape[0] / step), math.ceil(shape[1] / step)) for step in steps]
        self._coarsest = np.zeros(shapes[-1], np.uint8)
        kind = np.dtype(np.uint8)
        self.levels: list[LazyLevel | NDArray[np.uint8]] = [
            *(
                LazyLevel(partial(self._read, step), level, kind, _CHUNK)
                for step, level in zip(steps[:-1], shapes[:-1], strict=True)
            ),
            self._coarsest,  # napari holds a reference to it: keep this array
        ]
        self.changed()

    def changed(self) -> None:
        """Draw the level that napari keeps again; the others are drawn when they are read."""
        self._coarsest[:] = self._draw(Box(0, 0, *self._coarsest.shape), self._step)

    def _read(self, step: float, box: Box) -> NDArray[np.uint8]:
        return self._draw(box, step)


def enlarged_levels(level: LazyLevel | NDArray[np.uint8]) -> list[LazyLevel]:
    """Levels of up to `FINER` times as many pixels along a side as this one, the largest first."""
    factors = [2**power for power in range(FINE_LEVEL, 0, -1)]
    return [_enlarged(level, factor) for factor in factors]


def _enlarged(level: LazyLevel | NDArray[np.uint8], factor: int) -> LazyLevel:
    def read(box: Box) -> NDArray[np.generic]:
        whole = box.scaled(1 / factor)
        pixels = level[whole.slices].repeat(factor, axis=0).repeat(factor, axis=1)
        return pixels[box.shift(-whole.top * factor, -whole.left * factor).slices]

    shape = (level.shape[0] * factor, level.shape[1] * factor)
    return LazyLevel(read, shape, level.dtype, _CHUNK)
