"""Where the tissue is, as a line over the slide."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.geometry import Grid
from napari_twostage.method.resample_labels import upsample

if TYPE_CHECKING:
    from numpy.typing import NDArray

OUTLINE_PX = 1000
"""The longest side of the line's grid: it is drawn while the window waits. On a slide of 30 mm the
smallest pieces that count as tissue are still five pixels wide."""
_SHARE = 500
"""The line is as wide as the slide's longer side divided by this."""


def trace(mask: NDArray[np.bool_], grid: Grid) -> tuple[NDArray[np.uint8], Grid]:
    """Draw the rim of a mask, smooth and wide enough to be seen with the whole slide in view.

    Parameters
    ----------
    mask : (H, W) bool array
        True inside.
    grid : Grid
        Where its pixels lie.

    Returns
    -------
    (H', W') uint8 array
        255 on the rim, 0 away from it, soft between them; at most `OUTLINE_PX` a side.
    Grid
        Where its pixels lie.
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
    width = max(inside.shape) / _SHARE
    # from 0 to 1 across the edge; the product is 1/4 on it, and 1/8 half a width away. It takes all
    # 8 bits, between which a GPU interpolates: with a few of them steps show close by
    share = gaussian_filter(inside, width / 2, mode="nearest")
    rim = 4 * 255 * share * (1 - share)
    downsample = (grid.downsample[0] / finer, grid.downsample[1] / finer)
    mpp = (grid.mpp[0] / finer, grid.mpp[1] / finer)
    return rim.round().astype(np.uint8), Grid(inside.shape, downsample, mpp)
