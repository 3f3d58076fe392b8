"""Tissue mask of a slide, from an overview: the area worth segmenting."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_twostage.errors import ReadError, SlideError
from napari_twostage.geometry import Grid
from napari_twostage.slides.view import View

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.method.tiling import TileGrid
    from napari_twostage.slides.base import Slide

OVERVIEW_MPP = 8.0
"""Micrometres per overview pixel: coarser than nuclei, finer than tissue edges need for tiles."""
OVERVIEW_PX = 4_000_000
"""Most pixels of an overview; larger slides get a coarser one."""
MARGIN_UM = 30.0
"""Micrometres by which tissue is dilated, so that pale edges and single cells keep a margin."""
SMALLEST_UM2 = 10_000.0
"""Square micrometres; smaller specks count as dust on the glass."""
MIN_DENSITY = 0.04
"""Smallest optical density above the glass that counts as tissue; less is noise."""
MIN_DARK_FIELD = 0.03
"""Smallest dark-field intensity above the background that counts as tissue, in [0, 1]."""

DAMAGE_PX = 8
"""Side of the smallest box, in overview pixels, to which damage is narrowed down."""


@dataclass(frozen=True)
class Tissue:
    """Tissue mask over a whole slide."""

    mask: NDArray[np.bool_]
    """True on tissue: (H, W)."""
    grid: Grid
    """Pixel grid of the mask."""
    bright_field: bool
    """True for stained tissue on bright glass, False for signal on a dark background."""

    @property
    def area_mm2(self) -> float:
        """Area of the tissue in square millimetres."""
        return float(self.mask.sum()) * self.grid.pixel_area_um2 / 1e6

    def tiles(self, tiles: TileGrid, fine: Grid) -> NDArray[np.bool_]:
        """Mask of the tiles that contain tissue: (rows, columns) of tiles.

        Parameters
        ----------
        tiles : TileGrid
            Tiles over the fine grid.
        fine : Grid
            Pixel grid of stage 2.
        """
        step = [
            tiles.tile_px * f / m
            for f, m in zip(fine.downsample, self.grid.downsample, strict=True)
        ]
        # Integral image: the tissue pixels of a tile are a difference of four cumulative counts.
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

    The signal is the optical density above the glass (bright field) or the intensity above the
    background (dark field), cut at Otsu's threshold. Specks are then dropped, holes filled, and
    the rest dilated by a margin.

    Parameters
    ----------
    slide : Slide
        Its coarsest level should be small: see `slides.pyramid`.

    Returns
    -------
    Tissue
        Damaged pixels count as tissue.

    Raises
    ------
    SlideError
        If no tissue is found, or no pixel can be read.
    """
    grid = overview_grid(slide)
    pixels, damaged = _overview(View(slide, grid))
    # Every fourth row and column: enough for a median.
    bright_field = bool(np.median(pixels[::4, ::4].mean(axis=-1)) > 0.4)
    signal = _density(pixels) if bright_field else _dark_field_signal(pixels)
    least = MIN_DENSITY if bright_field else MIN_DARK_FIELD
    threshold = _otsu(signal) if np.ptp(signal) > 0 else math.inf
    # With little glass, Otsu splits tissue into light and dark: never cut far above the noise.
    mask = signal > min(max(threshold, least), 3 * least)
    mask = _tidy(mask, grid)
    if not mask.any():
        kind = "stained tissue on bright glass" if bright_field else "signal on a dark ground"
        raise SlideError(
            f"{slide.name}: found no tissue; expected {kind}; to segment all of it, "
            "pass tissue=False, or --no-tissue on the command line"
        )
    # Unreadable pixels may be tissue: the run reports their tiles as failed, not as background.
    return Tissue(mask | damaged, grid, bright_field)


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


def _overview(view: View) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Read all of a view: pixels (H, W, 3) in [0, 1], and the mask of damaged ones (H, W)."""
    pixels = np.zeros((*view.grid.shape, 3), np.float32)
    damaged = np.zeros(view.grid.shape, bool)
    left = [view.grid.box]
    while left:
        box = left.pop()
        try:
            pixels[box.slices] = view.read(box)
        except ReadError as error:
            side = max(box.shape) // 2
            if side >= DAMAGE_PX:  # narrow the damage down
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
    """Optical density of the most absorbed channel, relative to the glass: (H, W)."""
    glass = np.percentile(pixels.reshape(-1, 3), 98, axis=0).clip(0.3).astype(np.float32)
    passed = pixels[..., 0] / glass[0]
    for channel in (1, 2):
        np.minimum(passed, pixels[..., channel] / glass[channel], out=passed)
    density = -np.log10(passed.clip(1 / 255, 1))
    return np.asarray(ndimage.gaussian_filter(density, 1), dtype=np.float32)


def _dark_field_signal(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intensity above the background, the median of the darker half of the pixels: (H, W)."""
    intensity = pixels.max(axis=-1)
    background = np.median(intensity[intensity <= np.median(intensity)])
    signal = (intensity - background).clip(0)
    return np.asarray(ndimage.gaussian_filter(signal, 1), dtype=np.float32)


def _otsu(signal: NDArray[np.float32], bins: int = 256) -> float:
    """Otsu's threshold: it parts a signal into two classes that differ most.

    Counts are float32, which makes thresholds those of scikit-image to the last bit.
    """
    counted, edges = np.histogram(signal, bins)
    counts, centres = counted.astype(np.float32), (edges[:-1] + edges[1:]) / 2
    below, above = np.cumsum(counts), np.cumsum(counts[::-1])[::-1]
    mass = counts * centres
    mean_below = np.cumsum(mass) / below
    mean_above = np.cumsum(mass[::-1])[::-1] / above
    between = below[:-1] * above[1:] * (mean_below[:-1] - mean_above[1:]) ** 2
    return float(centres[np.argmax(between)])


def _tidy(mask: NDArray[np.bool_], grid: Grid) -> NDArray[np.bool_]:
    """Drop specks, fill holes and add the margin."""
    regions, count = ndimage.label(mask, structure=np.ones((3, 3)))
    areas = np.bincount(regions.ravel(), minlength=count + 1) * grid.pixel_area_um2
    # On a small image, a speck is small relative to the image.
    smallest = min(SMALLEST_UM2, 0.001 * mask.size * grid.pixel_area_um2)
    keep = areas >= smallest
    keep[0] = False
    filled = ndimage.binary_fill_holes(keep[regions])
    # The margin is a few pixels wide: a distance transform would take eight times as long.
    return np.asarray(ndimage.binary_dilation(filled, _disk(MARGIN_UM, grid)))


def _disk(radius_um: float, grid: Grid) -> NDArray[np.bool_]:
    """Mask of the pixels within a radius of the central one."""
    reach_y, reach_x = (int(radius_um / mpp) for mpp in grid.mpp)
    y, x = np.mgrid[-reach_y : reach_y + 1, -reach_x : reach_x + 1]
    return np.asarray((y * grid.mpp[0]) ** 2 + (x * grid.mpp[1]) ** 2 <= radius_um**2)


def whole_slide_tissue(slide: Slide) -> Tissue:
    """Tissue mask that covers the whole slide."""
    grid = overview_grid(slide)
    return Tissue(np.ones(grid.shape, bool), grid, bright_field=True)
