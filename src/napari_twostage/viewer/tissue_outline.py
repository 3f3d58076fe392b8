"""Outline of the tissue: a thin line at every zoom, with dark rims."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.viewer.colormaps import Ink
from napari_twostage.viewer.drawn_levels import DrawnLevels
from napari_twostage.viewer.outlined_labels import at_borders, grown

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.geometry import Box, Grid

_MARGIN = 3
"""Pixels around a box that decide what is drawn in it."""


class TissueOutline:
    """Levels that show the smooth outline of a mask.

    Parameters
    ----------
    mask : (H, W) bool array
        True in tissue.
    grid : Grid
        Grid of the mask's pixels.
    plane : Grid
        Grid of the plane that the outline is drawn on.
    """

    def __init__(self, mask: NDArray[np.bool_], grid: Grid, plane: Grid) -> None:
        self._mask = mask
        self._scale = tuple(
            cell / pixel for cell, pixel in zip(grid.downsample, plane.downsample, strict=True)
        )
        """Pixels of the plane along each side of a pixel of the mask."""
        self._smooth: dict[int, NDArray[np.float32]] = {}
        self.levels = DrawnLevels(plane.shape, self.draw).levels
        """Levels of a multiscale Image layer, of values of `Ink`."""

    def draw(self, box: Box, step: float) -> NDArray[np.uint8]:
        """Draw a part of a level; see `TileOverlay.draw`."""
        wide = box.grow(_MARGIN)
        factor = max(1, int(step / max(self._scale)))
        smooth = self._smoothed(factor)
        rows, columns = (
            ((np.arange(start, stop) + 0.5) * step / (scale * factor) - 0.5).astype(np.float32)
            for (start, stop), scale in zip(
                ((wide.top, wide.bottom), (wide.left, wide.right)), self._scale, strict=True
            )
        )
        inside = _bilinear(smooth, rows, columns) > 0.5
        line = grown(at_borders(inside))
        pixels = np.where(line, np.uint8(Ink.TISSUE), grown(line) * np.uint8(Ink.RIM))
        drawn: NDArray[np.uint8] = pixels[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
        return drawn

    def _smoothed(self, factor: int) -> NDArray[np.float32]:
        """Share of tissue around each pixel of the mask, `factor` of its pixels to a side.

        A pixel is tissue if any of them is, or the smallest pieces of a large slide were lost.
        """
        from scipy.ndimage import gaussian_filter

        if factor not in self._smooth:
            mask = self._mask
            for axis, length in enumerate(mask.shape):
                mask = np.logical_or.reduceat(mask, np.arange(0, length, factor), axis=axis)
            self._smooth[factor] = gaussian_filter(mask.astype(np.float32), 1.0, mode="nearest")
        return self._smooth[factor]


def _bilinear(
    plane: NDArray[np.float32], rows: NDArray[np.float32], columns: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Values of a plane between its pixels, at rows × columns; beyond it the last one repeats."""
    return _along(_along(plane, rows, 0), columns, 1)


def _along(
    plane: NDArray[np.float32], places: NDArray[np.float32], axis: int
) -> NDArray[np.float32]:
    last = plane.shape[axis] - 1
    kept = np.clip(places, 0, last)
    low = kept.astype(int)
    share = np.expand_dims(kept - low, 1 - axis)
    first, second = (np.take(plane, at, axis) for at in (low, np.minimum(low + 1, last)))
    between: NDArray[np.float32] = first + share * (second - first)
    return between
