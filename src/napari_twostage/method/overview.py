"""Overview of a slide: its pixels at a glance, what was scanned, and on what ground."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import ndimage

from napari_twostage.errors import ReadError, SlideError
from napari_twostage.geometry import Grid
from napari_twostage.slides.view import View

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.slides.base import Slide

OVERVIEW_MPP = 8.0
"""Micrometres per overview pixel: coarser than nuclei, finer than tissue edges need for tiles."""
OVERVIEW_PX = 4_000_000
"""Most pixels of an overview; larger slides get a coarser one."""
UNSCANNED_UM = 30.0
"""Radius, in micrometres, of the smallest area of exact 0 that counts as not scanned."""
BRIGHT = 0.4
"""Median grey level, in [0, 1], above which a slide is bright field."""
DAMAGE_PX = 8
"""Side of the smallest box, in overview pixels, to which damage is narrowed down."""


class Overview(NamedTuple):
    """A slide at a glance; all arrays begin with (H, W)."""

    pixels: NDArray[np.float32]
    """RGB in [0, 1]; damaged ones have the median colour."""
    damaged: NDArray[np.bool_]
    """True where nothing could be read."""
    unscanned: NDArray[np.bool_]
    """True in areas of exactly 0, which scanners write where they did not scan."""
    bright_field: bool


def overview_grid(slide: Slide, mpp: float = OVERVIEW_MPP, pixels: int = OVERVIEW_PX) -> Grid:
    """Pixel grid of an overview of a slide.

    Parameters
    ----------
    slide : Slide
        Slide to view.
    mpp : float
        Micrometres per pixel to aim at.
    pixels : int
        Most pixels to aim at; takes precedence over `mpp`.
    """
    height, width = slide.level_shapes[0]
    wanted = max(mpp / math.sqrt(slide.mpp[0] * slide.mpp[1]), math.sqrt(height * width / pixels))
    factor = max(1, round(wanted))
    step = max(slide.factors[slide.level_for((factor, factor))])
    if step == round(step):  # averaging whole pixels of a stored level is much faster
        factor = round(step) * max(1, math.ceil(wanted / step - 0.1))
    level0 = Grid((height, width), (1.0, 1.0), slide.mpp)
    return level0.coarser(factor)


def read_overview(slide: Slide, grid: Grid) -> Overview:
    """Read all of a slide on a grid."""
    view = View(slide, grid)
    pixels = np.zeros((*grid.shape, 3), np.float32)
    empty, damaged = np.zeros(grid.shape, bool), np.zeros(grid.shape, bool)
    left = [grid.box]
    while left:
        box = left.pop()
        try:
            values = slide.read_at(box, grid.downsample)
        except ReadError as error:
            side = max(box.shape) // 2
            if side >= DAMAGE_PX:  # narrow the damage down
                left.extend(box.blocks(side))
                continue
            damaged[box.slices] = True
            if damaged.all():
                raise SlideError(f"no part of it can be read; copy it again: {error}") from error
            continue
        pixels[box.slices] = view.shown(values)
        empty[box.slices] = ~values.any(axis=-1)
    if damaged.any():
        pixels[damaged] = np.median(pixels[~damaged], axis=0)
    pixels /= 255
    unscanned = _wide_parts(empty, grid) if empty.any() else empty
    # Every fourth row and column: enough for a median.
    bright_field = bool(np.median(pixels[::4, ::4].mean(axis=-1)) > BRIGHT)
    return Overview(pixels, damaged, unscanned, bright_field)


def glass_of(overview: Overview) -> NDArray[np.float32]:
    """RGB (3,) of empty glass on a bright-field overview, in [0.3, 1]."""
    scanned = overview.pixels[~overview.unscanned]
    return np.asarray(np.percentile(scanned, 98, axis=0).clip(0.3), dtype=np.float32)


def _wide_parts(mask: NDArray[np.bool_], grid: Grid) -> NDArray[np.bool_]:
    """Parts of a mask that hold a disk of `UNSCANNED_UM`; it goes on beyond the slide."""
    probe = disk(UNSCANNED_UM, grid)
    reach = probe.shape[0] // 2, probe.shape[1] // 2
    around = np.pad(mask, [(side, side) for side in reach], constant_values=True)
    opened = ndimage.binary_opening(around, probe)
    height, width = mask.shape
    return np.asarray(opened[reach[0] : reach[0] + height, reach[1] : reach[1] + width])


def disk(radius_um: float, grid: Grid) -> NDArray[np.bool_]:
    """Mask of the pixels within a radius of the central one."""
    reach_y, reach_x = (int(radius_um / mpp) for mpp in grid.mpp)
    y, x = np.mgrid[-reach_y : reach_y + 1, -reach_x : reach_x + 1]
    return np.asarray((y * grid.mpp[0]) ** 2 + (x * grid.mpp[1]) ** 2 <= radius_um**2)
