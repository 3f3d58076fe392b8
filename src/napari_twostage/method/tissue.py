"""Where there is anything to segment."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu

from napari_twostage.errors import ReadError, SlideError
from napari_twostage.geometry import Grid
from napari_twostage.slides.view import View

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.method.tiling import TileGrid
    from napari_twostage.slides.base import Slide

OVERVIEW_MPP = 8.0
"""Coarser than any nucleus, finer than any tissue edge that matters to a tile."""
OVERVIEW_PX = 4_000_000
"""At most this many overview pixels: larger slides are looked at more coarsely."""
MARGIN_UM = 30.0
"""Tissue is grown by this, so that pale edges and lone cells keep their surroundings."""
SMALLEST_UM2 = 10_000.0
"""Specks of less are dust on the glass."""
LEAST_DENSITY = 0.04
"""Optical density above the glass that counts as tissue at least: below is noise."""
LEAST_GLOW = 0.03
"""Dark-field intensity above the background, in [0, 1], that counts at least."""

DAMAGE_PX = 8
"""What cannot be read of the overview is narrowed down to about this."""


@dataclass(frozen=True)
class Tissue:
    """A mask over the whole slide."""

    mask: NDArray[np.bool_]
    """(H, W), True on tissue."""
    grid: Grid
    """Where its pixels lie."""
    bright_field: bool
    """Whether the slide was taken as stained tissue on bright glass, or as light on dark."""

    @property
    def area_mm2(self) -> float:
        """Area of the tissue in square millimetres."""
        return float(self.mask.sum()) * self.grid.pixel_area_um2 / 1e6

    def tiles(self, tiles: TileGrid, fine: Grid) -> NDArray[np.bool_]:
        """Which tiles of the fine grid hold tissue: (rows, columns) of tiles."""
        step = [
            tiles.tile_px * f / m
            for f, m in zip(fine.downsample, self.grid.downsample, strict=True)
        ]
        # count tissue pixels up to each tile border; a tile holds some where the count grows
        counts = np.zeros((self.mask.shape[0] + 1, self.mask.shape[1] + 1), np.int64)
        counts[1:, 1:] = self.mask.cumsum(0).cumsum(1)
        (top, bottom), (left, right) = (
            (
                np.minimum(np.floor(np.arange(n) * s + 1e-6).astype(int), extent),
                np.minimum(np.ceil((np.arange(n) + 1) * s - 1e-6).astype(int), extent),
            )
            for n, s, extent in zip(tiles.shape, step, self.mask.shape, strict=True)
        )
        inside = (
            counts[np.ix_(bottom, right)]
            - counts[np.ix_(top, right)]
            - counts[np.ix_(bottom, left)]
            + counts[np.ix_(top, left)]
        )
        return np.asarray(inside > 0)


def find_tissue(slide: Slide) -> Tissue:
    """Find tissue on an overview of a slide.

    Bright field: optical density above the glass, cut by Otsu's threshold. Dark field:
    intensity above the background, likewise. What is smaller than a speck goes, holes are
    filled, the rest is grown by a margin.

    Parameters
    ----------
    slide : Slide
        Its coarsest level should be small: see `slides.pyramid`.

    Raises
    ------
    SlideError
        If nothing on it looks like tissue.
    """
    grid = overview_grid(slide)
    pixels, damaged = _overview(View(slide, grid))
    # of every fourth row and column: a median needs no more
    bright_field = bool(np.median(pixels[::4, ::4].mean(axis=-1)) > 0.4)
    signal = _density(pixels) if bright_field else _glow(pixels)
    least = LEAST_DENSITY if bright_field else LEAST_GLOW
    threshold = float(threshold_otsu(signal)) if np.ptp(signal) > 0 else math.inf
    # Otsu splits tissue into light and dark where there is little glass: never cut far above it
    mask = signal > min(max(threshold, least), 3 * least)
    mask = _tidy(mask, grid)
    if not mask.any():
        kind = "stained tissue on bright glass" if bright_field else "signal on a dark ground"
        raise SlideError(
            f"{slide.name}: found no tissue; expected {kind}; to segment all of it, "
            "pass tissue=False, or --no-tissue on the command line"
        )
    # what cannot be read may be tissue: the run says so of its tiles, instead of leaving them out
    return Tissue(mask | damaged, grid, bright_field)


def overview_grid(slide: Slide, mpp: float = OVERVIEW_MPP, pixels: int = OVERVIEW_PX) -> Grid:
    """The grid that shows a slide at about `mpp`, in at most about `pixels` pixels."""
    height, width = slide.level_shapes[0]
    wanted = max(mpp / math.sqrt(slide.mpp[0] * slide.mpp[1]), math.sqrt(height * width / pixels))
    factor = max(1, round(wanted))
    step = max(slide.factors[slide.level_for((factor, factor))])
    if step == round(step):  # whole pixels of a level that is there are averaged much faster
        factor = round(step) * max(1, math.ceil(wanted / step - 0.1))
    level0 = Grid((height, width), (1.0, 1.0), slide.mpp)
    return level0.coarser(factor)


def _overview(view: View) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Read all of a view: (H, W, 3) in [0, 1], and (H, W) True where it is damaged."""
    pixels = np.zeros((*view.grid.shape, 3), np.float32)
    damaged = np.zeros(view.grid.shape, bool)
    left = [view.grid.box]
    while left:
        box = left.pop()
        try:
            pixels[box.slices] = view.read(box)
        except ReadError as error:
            side = max(box.shape) // 2
            if side >= DAMAGE_PX:  # find out where in it
                left.extend(box.blocks(side))
                continue
            damaged[box.slices] = True
            if damaged.all():
                raise SlideError(f"no part of it can be read; copy it again: {error}") from error
    if damaged.any():
        pixels[damaged] = np.median(pixels[~damaged], axis=0)
    pixels /= 255
    return pixels, damaged


def _density(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Optical density of the most absorbed colour, above that of the glass."""
    glass = np.percentile(pixels.reshape(-1, 3), 98, axis=0).clip(0.3).astype(np.float32)
    passed = pixels[..., 0] / glass[0]
    for channel in (1, 2):
        np.minimum(passed, pixels[..., channel] / glass[channel], out=passed)
    density = -np.log10(passed.clip(1 / 255, 1))
    return np.asarray(ndimage.gaussian_filter(density, 1), dtype=np.float32)


def _glow(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intensity above the background, which is taken to be the median of the darker half."""
    intensity = pixels.max(axis=-1)
    ground = np.median(intensity[intensity <= np.median(intensity)])
    return np.asarray(ndimage.gaussian_filter((intensity - ground).clip(0), 1), dtype=np.float32)


def _tidy(mask: NDArray[np.bool_], grid: Grid) -> NDArray[np.bool_]:
    """Drop specks, fill holes, add the margin."""
    regions, count = ndimage.label(mask, structure=np.ones((3, 3)))
    areas = np.bincount(regions.ravel(), minlength=count + 1) * grid.pixel_area_um2
    # on a small field of view a speck is what is small against the field
    smallest = min(SMALLEST_UM2, 0.001 * mask.size * grid.pixel_area_um2)
    keep = areas >= smallest
    keep[0] = False
    filled = ndimage.binary_fill_holes(keep[regions])
    # a few pixels wide: measuring the distance to tissue everywhere takes eight times as long
    return np.asarray(ndimage.binary_dilation(filled, _disk(MARGIN_UM, grid)))


def _disk(radius_um: float, grid: Grid) -> NDArray[np.bool_]:
    """Pixels within a distance of the middle one."""
    reach_y, reach_x = (int(radius_um / mpp) for mpp in grid.mpp)
    y, x = np.mgrid[-reach_y : reach_y + 1, -reach_x : reach_x + 1]
    return np.asarray((y * grid.mpp[0]) ** 2 + (x * grid.mpp[1]) ** 2 <= radius_um**2)


def everything(slide: Slide) -> Tissue:
    """Take the whole slide for tissue."""
    grid = overview_grid(slide)
    return Tissue(np.ones(grid.shape, bool), grid, bright_field=True)
