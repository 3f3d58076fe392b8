"""Objects of a class mask, touching ones told apart by the networks' object output."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage
from skimage.segmentation import watershed

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEED = 0.4
"""Depth above which pixels belong to the middle of an object; chosen on images held out of BOWL."""
SMOOTH_PX = 1.0
"""Standard deviation of the Gaussian that joins the maxima of one object."""


def separate(
    mask: NDArray[np.generic],
    depth: NDArray[np.floating],
    *,
    seed: float = SEED,
    smooth_px: float = SMOOTH_PX,
) -> NDArray[np.int32]:
    """Number the objects of a mask: each grows from a middle, over the mask, and down the depth.

    Parameters
    ----------
    mask : (H, W) array
        Nonzero is foreground.
    depth : (H, W) float array
        Probability-like: near 1 in the middle of an object, near 0 at its edge.
    seed : float
        Depth above which pixels are part of a middle.
    smooth_px : float
        Standard deviation of the Gaussian by which the depth is smoothed first.

    Returns
    -------
    (H, W) int32 array
        Numbers of objects from 1; 0 is the background. A connected region without a middle is one
        object.
    """
    inside = mask != 0
    smooth = ndimage.gaussian_filter(np.asarray(depth, np.float32), smooth_px)
    regions, count = ndimage.label(inside)
    seeds, found = ndimage.label(inside & (smooth > seed))
    seeded = np.zeros(count + 1, bool)
    seeded[regions[seeds > 0]] = True
    alone = inside & ~seeded[regions]
    seeds[alone] = found + regions[alone]
    grown: NDArray[np.int32] = watershed(-smooth, seeds, mask=inside).astype(np.int32)
    return grown
