"""Folds of a section on an overview: bands where tissue lies on tissue.

Where a section lies on itself its densities add up, so a fold is about twice as dense as what is
beside it, in every stain alike, and it is long and narrow. What is dense for other reasons, such as
lymphoid tissue, epithelium or blood, is of another hue than what is beside it, is no band, or shows
cells and gaps, which two layers hide.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_twostage.method.marks import COARSEST_MPP, peak_density, roughness

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.geometry import Grid
    from napari_twostage.slides.base import Slide

SMOOTHED_UM = 10.0
"""Standard deviation of the Gaussian that evens out nuclei."""
AROUND_UM = 200.0
"""Standard deviation of the Gaussian that weighs the tissue around."""
DENSER, STILL_DENSER = 1.75, 1.5
"""Least density of a fold, in its middle and at its rim, relative to the tissue around."""
RARE = 0.85
"""Share of the tissue that is less dense than the middle of a fold."""
SAME_HUE = 0.992
"""Least cosine between the densities (red, green, blue) of a fold and of the tissue around."""
ROUGHEST = 0.3
"""Most that the density of a fold varies at the resolution of cells: two layers hide the gaps of
each other, and the upper one is out of focus."""
MOST_BANDS = 20
"""Bands of which fields are read, the largest first."""
LENGTH_UM, WIDTH_UM = 400.0, 200.0
"""Least length of a fold, and most width."""
ELONGATED = 4.0
"""Least ratio of a fold's length and width."""


def find_folds(
    slide: Slide,
    channels: NDArray[np.float32],
    tissue: NDArray[np.bool_],
    grid: Grid,
    glass: NDArray[np.float32],
) -> NDArray[np.bool_]:
    """Find folds on an overview of a bright-field slide.

    Parameters
    ----------
    slide : Slide
        Slide of the overview; a few fields of it are read.
    channels : (H, W, 3) float32 array
        `marks.density` of the overview.
    tissue : (H, W) bool array
        True on tissue.
    grid : Grid
        Grid of the overview.
    glass : (3,) float32 array
        RGB of empty glass.

    Returns
    -------
    (H, W) bool array
        False everywhere on a slide whose pixels are too large to show texture.
    """
    folds = np.zeros(tissue.shape, bool)
    mpp = math.sqrt(grid.pixel_area_um2)
    evened = ndimage.gaussian_filter(channels, (SMOOTHED_UM / mpp, SMOOTHED_UM / mpp, 0))
    dense = peak_density(evened)
    if not tissue.any() or min(slide.mpp) > COARSEST_MPP:
        return folds
    rare = np.quantile(dense[tissue], RARE)
    # The tissue around, without what may be folds itself.
    around = _mean_around(evened, tissue & (dense < rare), AROUND_UM / mpp)
    ratio = dense / np.maximum(peak_density(around), 1e-3)
    denser = tissue & (ratio >= STILL_DENSER) & (_cosine(evened, around) >= SAME_HUE)
    numbers, _ = ndimage.label(denser, structure=np.ones((3, 3)))
    bands = []
    for number, place in enumerate(ndimage.find_objects(numbers), start=1):
        inside = numbers[place] == number
        # A quarter of a fold is its middle, where the Gaussian has not evened it out.
        if np.percentile(ratio[place][inside], 75) >= DENSER and _is_band(inside, mpp):
            bands.append(np.argwhere(inside) + np.array((place[0].start, place[1].start)))
    for where in sorted(bands, key=len, reverse=True)[:MOST_BANDS]:
        if roughness(slide, grid, glass, where) <= ROUGHEST:
            folds[tuple(where.T)] = True
    return folds


def _mean_around(
    channels: NDArray[np.float32], mask: NDArray[np.bool_], sigma_px: float
) -> NDArray[np.float32]:
    """Mean densities of a mask around each pixel: (H, W, 3)."""
    step = max(1, int(sigma_px / 4))  # a wide Gaussian needs no fine grid
    weight = _reduced(mask.astype(np.float32), step)
    total = _reduced(channels * mask[..., None], step)
    sigma = sigma_px / step
    weight = ndimage.gaussian_filter(weight, sigma, mode="constant")
    total = ndimage.gaussian_filter(total, (sigma, sigma, 0), mode="constant")
    mean = total / np.maximum(weight, 1e-6)[..., None]
    rows, columns = (np.arange(length) // step for length in mask.shape)
    return np.asarray(mean[np.ix_(rows, columns)], dtype=np.float32)


def _reduced(values: NDArray[np.float32], step: int) -> NDArray[np.float32]:
    """Sums of blocks of pixels; the last ones may be smaller."""
    for axis in (0, 1):
        values = np.add.reduceat(values, np.arange(0, values.shape[axis], step), axis=axis)
    return values


def _cosine(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cosine between the densities of each pixel: (H, W)."""
    lengths = np.sqrt((first**2).sum(-1) * (second**2).sum(-1))
    return np.asarray((first * second).sum(-1) / np.maximum(lengths, 1e-6))


def _is_band(inside: NDArray[np.bool_], mpp: float) -> bool:
    """Whether a region is long and narrow, straight or not."""
    around = np.pad(inside, 1)
    depth = ndimage.distance_transform_edt(around)
    # The middle line is where a disk that fits into the region touches it on both sides.
    width = 2 * float(np.percentile(depth[around], 90)) * mpp
    length = inside.sum() * mpp**2 / max(width, mpp)
    return length >= LENGTH_UM and width <= WIDTH_UM and length >= ELONGATED * width
