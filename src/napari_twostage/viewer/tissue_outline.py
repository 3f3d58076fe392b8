"""Outline of the tissue, as an image over the slide."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.geometry import Grid
from napari_twostage.method.resample_labels import upsample

if TYPE_CHECKING:
    from numpy.typing import NDArray

OUTLINE_PX = 1000
"""Longest side, in pixels, of the outline image. It is drawn while the window waits, so it is
small; on a 30 mm slide, the smallest pieces of tissue are still five pixels wide."""
_LINES_PER_SIDE = 500
"""Longer side of the slide divided by the width of the line."""


def draw_outline(mask: NDArray[np.bool_], grid: Grid) -> tuple[NDArray[np.uint8], Grid]:
    """Smooth outline of a mask, wide enough to see with the whole slide in view.

    Parameters
    ----------
    mask : (H, W) bool array
        True in tissue.
    grid : Grid
        Grid of the mask's pixels.

    Returns
    -------
    (H', W') uint8 array
        255 on the edge, falling to 0 on both sides; at most `OUTLINE_PX` a side.
    Grid
        Grid of the outline's pixels.
    """
    from scipy.ndimage import gaussian_filter

    step = math.ceil(max(mask.shape) / OUTLINE_PX)
    for axis, length in enumerate(mask.shape):
        mask = np.logical_or.reduceat(mask, np.arange(0, length, step), axis=axis)
    grid = grid.coarser(step)
    finer = max(1, OUTLINE_PX // max(mask.shape))
    smooth = gaussian_filter(mask.astype(np.float32), 1.0, mode="nearest")
    enlarged = upsample(
        lambda box: smooth[None, *box.slices], grid.shape, grid.box.scaled(finer), finer
    )
    inside = (enlarged[0] > 0.5).astype(np.float32)
    width = max(inside.shape) / _LINES_PER_SIDE
    # share rises from 0 to 1 across the edge, so share * (1 - share) peaks at 1/4 on it and is 1/8
    # half a width away. All 8 bits are used: the GPU interpolates, and few values would show steps
    share = gaussian_filter(inside, width / 2, mode="nearest")
    outline = 4 * 255 * share * (1 - share)
    downsample = (grid.downsample[0] / finer, grid.downsample[1] / finer)
    mpp = (grid.mpp[0] / finer, grid.mpp[1] / finer)
    return outline.round().astype(np.uint8), Grid(inside.shape, downsample, mpp)
