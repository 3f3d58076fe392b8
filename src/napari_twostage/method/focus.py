"""Areas out of focus: small fields, read all over the tissue, that show no fine detail.

An overview does not show blur. A field of sharp tissue has about as much contrast in detail of
2 µm as in detail of 8 µm, whatever the stain; out of focus, the finer goes first. What one field
alone lacks does not count: a neighbour must lack it too.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_twostage.method.fields import Fields
from napari_twostage.method.marks import density, peak_density

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from napari_twostage.geometry import Grid
    from napari_twostage.slides.base import Slide

COARSEST_MPP = 1.25
"""Micrometres per pixel beyond which a slide does not show whether it is in focus."""
CELL_UM, MOST_CELLS = 250.0, 144
"""Micrometres between two fields, unless that makes about more fields than this."""
FIELD_PX = 128
"""Side of a field."""
LEAST_TISSUE = 0.3
"""Least share of tissue in what a field stands for."""
SIGMAS = (0.7, 1.4, 2.8, 5.6)
"""Standard deviations of Gaussians, in pixels of a field; two in a row bound a band of detail."""
FINE, MIDDLE = -2.0, -0.95
"""Least contrast of the first and the second band in focus, relative to the third: log2."""
LEAST_CONTRAST = 0.003
"""Least contrast of the third band, in optical density; with less there is nothing to judge."""


def find_out_of_focus(
    slide: Slide,
    tissue: NDArray[np.bool_],
    grid: Grid,
    glass: NDArray[np.float32],
    is_wanted: Callable[[], bool],
) -> NDArray[np.bool_]:
    """Find tissue out of focus on a bright-field slide.

    Parameters
    ----------
    slide : Slide
        Slide to read about `MOST_CELLS` fields of, at most.
    tissue : (H, W) bool array
        True on tissue, on the overview.
    grid : Grid
        Grid of the overview.
    glass : (3,) float array
        RGB of empty glass, in [0, 1].
    is_wanted : callable
        Is asked before each field whether to go on.

    Returns
    -------
    (H, W) bool array
        False everywhere on a slide whose pixels are too large to tell.
    """
    if min(slide.mpp) > COARSEST_MPP or not tissue.any():
        return np.zeros(tissue.shape, bool)
    area_um2 = float(tissue.sum()) * grid.pixel_area_um2
    cell_um = max(CELL_UM, math.sqrt(area_um2 / MOST_CELLS))
    side = max(1, round(cell_um / math.sqrt(grid.pixel_area_um2)))
    lacking = _lacks_detail(Fields(slide, grid), tissue, side, glass, is_wanted)
    numbers, _ = ndimage.label(lacking)
    kept = np.bincount(numbers.ravel()) > 1
    kept[0] = False
    enlarged = kept[numbers].repeat(side, axis=0).repeat(side, axis=1)
    height, width = tissue.shape
    return np.asarray(tissue & enlarged[:height, :width])


def _lacks_detail(
    fields: Fields,
    tissue: NDArray[np.bool_],
    side: int,
    glass: NDArray[np.float32],
    is_wanted: Callable[[], bool],
) -> NDArray[np.bool_]:
    """Squares of the overview whose field is out of focus: (rows, columns) of squares."""
    shape = [math.ceil(length / side) for length in tissue.shape]
    found = np.zeros(shape, bool)
    for row, column in np.ndindex(*shape):
        if not is_wanted():
            break
        part = tissue[row * side : (row + 1) * side, column * side : (column + 1) * side]
        if part.sum() < LEAST_TISSUE * side**2:
            continue
        places = np.argwhere(part)
        # the tissue nearest to the middle of all tissue in the square
        nearest = places[((places - places.mean(axis=0)) ** 2).sum(axis=1).argmin()]
        pixels = fields.square(row * side + nearest[0], column * side + nearest[1], FIELD_PX)
        found[row, column] = pixels is not None and _is_out_of_focus(pixels, glass)
    return found


def _is_out_of_focus(pixels: NDArray[np.uint8], glass: NDArray[np.float32]) -> bool:
    """Whether a field lacks the fine detail that its coarser detail goes with."""
    dense = peak_density(density(pixels.astype(np.float32) / 255, glass))
    smoothed = [ndimage.gaussian_filter(dense, sigma) for sigma in SIGMAS]
    inner = slice(8, -8)  # beyond the edges there is nothing to see
    fine, middle, coarse = (
        float((one - next_one)[inner, inner].std()) for one, next_one in pairwise(smoothed)
    )
    if coarse < LEAST_CONTRAST:
        return False
    return fine < 2**FINE * coarse or middle < 2**MIDDLE * coarse
