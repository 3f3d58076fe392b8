"""Pen marks and edges of coverslips on an overview: dark, but not stained tissue.

Colour alone does not tell ink from stains: blue pen has the hue of Masson's blue, red pen that of
Ponceau. Ink lies on the coverslip, out of focus, in strokes of one colour; tissue has nuclei and
fibres. So ink is what is dense, of the hue of a pen, and smooth, on the overview as well as in
fields read at cellular resolution. Edges of coverslips, rims of air bubbles and dust are thin
and grey, as stained tissue is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_twostage.geometry import Box
from napari_twostage.method.fields import Fields
from napari_twostage.method.overview import disk

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.geometry import Grid
    from napari_twostage.slides.base import Slide

INK_DENSITY = 0.45
"""Least optical density of ink in the channel that it absorbs most."""
THIN_DENSITY, RIM_DENSITY = 0.2, 0.1
"""Least density of the thinner parts of a stroke, and of its rim,"""
RIM_UM = 32.0
"""which is so many micrometres wide."""
SMOOTH = 0.1
"""Most that the density of ink varies: its standard deviation over its mean."""
NOISE, DENSEST = 3.0, 1.4
"""Standard deviation of noise, in grey levels, and density beyond which there is only noise."""
LEAST_SHARE = 0.1
"""Share of a pixel beside ink from which on it counts as ink."""
LEAST_UM2 = 2_000.0
"""Square micrometres of the smallest mark: a dot of 50 µm."""
COARSEST_MPP = 2.5
"""Micrometres per pixel beyond which a slide does not show the texture of tissue."""
FIELDS = 12
"""Fields in which a mark is read at the resolution of cells."""
LINE_UM, LINE_LENGTH_UM = 100.0, 500.0
"""Most micrometres across a line, such as the edge of a coverslip, and least along it."""
GREY = 0.25
"""Most that the densities of the three channels of something grey differ, over their mean."""


def density(pixels: NDArray[np.floating], glass: NDArray[np.floating]) -> NDArray[np.float32]:
    """Optical density of each channel, relative to the glass.

    Parameters
    ----------
    pixels : (..., 3) float array
        RGB in [0, 1].
    glass : (3,) float array
        RGB of empty glass, above 0.

    Returns
    -------
    (..., 3) float32 array
        At least 0; at most 2.41, the density of a grey level of 1 in 255.
    """
    return np.asarray(-np.log10((pixels / glass).clip(1 / 255, 1)), dtype=np.float32)


def peak_density(channels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Largest density of the three channels: (H, W, 3) to (H, W)."""
    peak = np.maximum(channels[..., 0], channels[..., 1])  # four times as fast as max(axis=-1)
    return np.asarray(np.maximum(peak, channels[..., 2]))


def find_ink(
    slide: Slide,
    pixels: NDArray[np.float32],
    channels: NDArray[np.float32],
    grid: Grid,
    glass: NDArray[np.float32],
) -> tuple[NDArray[np.bool_], bool]:
    """Find strokes of a pen on an overview.

    Parameters
    ----------
    slide : Slide
        Slide of the overview; a few fields of it are read.
    pixels, channels : (H, W, 3) float32 array
        Overview in [0, 1], and its `density`.
    grid : Grid
        Grid of the overview.
    glass : (3,) float32 array
        RGB of empty glass.

    Returns
    -------
    ink : (H, W) bool array
        False everywhere on a slide whose pixels are too large to show texture.
    suspected : bool
        Whether there is something of the density and hue of ink, smooth or not.
    """
    peak = peak_density(channels)
    ink = np.zeros(peak.shape, bool)
    if min(slide.mpp) > COARSEST_MPP:
        return ink, False
    suspected = False
    cores = _of_ink(channels, (peak >= THIN_DENSITY) & (_variation(peak) <= SMOOTH))
    numbers, _ = ndimage.label(cores, structure=np.ones((3, 3)))
    areas = np.bincount(numbers.ravel()) * grid.pixel_area_um2
    for number, place in enumerate(ndimage.find_objects(numbers), start=1):
        if areas[number] < LEAST_UM2:
            continue
        inside = numbers[place] == number
        where = np.argwhere(inside) + np.array((place[0].start, place[1].start))
        dense = float(np.percentile(peak[place][inside], 90)) >= INK_DENSITY
        suspected |= dense
        if dense and _is_smooth(slide, grid, glass, where):
            ink[place] |= inside
    if not ink.any():
        return ink, suspected
    # and the rim, but not the stained tissue of the same hue that ink may touch
    steps = max(1, round(RIM_UM / min(grid.mpp)))
    square = np.ones((3, 3))
    rim = ndimage.binary_dilation(ink, square, iterations=steps) & (peak >= RIM_DENSITY)
    of_ink = _of_ink(channels, rim) | ink
    whole = ndimage.binary_dilation(ink, square, iterations=steps, mask=of_ink)
    near = Box.around(whole).grow(4).clip(whole.shape).slices
    whole[near] |= _partly(whole[near], pixels[near])
    return np.asarray(whole), suspected


def _partly(ink: NDArray[np.bool_], pixels: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Pixels beside ink that are ink in part: their colour lies between it and the next ones'."""
    near = ndimage.binary_dilation(ink, np.ones((3, 3)))
    place = np.nonzero(near & ~ink)
    covered, bare = (_mean_around(mask, pixels)[place] for mask in (ink, ~near))
    change = covered - bare
    share = ((pixels[place] - bare) * change).sum(-1) / np.maximum((change**2).sum(-1), 1e-6)
    partly = np.zeros(ink.shape, bool)
    partly[place] = share > LEAST_SHARE
    return partly


def _mean_around(mask: NDArray[np.bool_], pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean colour of the pixels of a mask in the 5 × 5 around each pixel: (H, W, 3)."""
    weight = ndimage.uniform_filter(mask.astype(np.float32), 5)
    total = ndimage.uniform_filter(pixels * mask[..., None], (5, 5, 1))
    return np.asarray(total / np.maximum(weight, 1e-6)[..., None], dtype=np.float32)


def _of_ink(channels: NDArray[np.float32], where: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels of a mask that have the hue of blue, green, red or black pen."""
    red, green, blue = found = channels[where].T
    is_blue = (blue < 0.35 * red) & (green < 0.8 * red)
    is_green = (green < 0.6 * red) & (green < blue)
    is_red = (red < 0.3 * green) & (blue > 0.6 * green)
    is_black = np.ptp(found, axis=0) < GREY * found.mean(axis=0)
    mask = where.copy()
    mask[where] = is_blue | is_green | is_red | is_black
    return mask


def _variation(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Standard deviation of the 3 × 3 values around each pixel, over its own: (H, W)."""
    mean = ndimage.uniform_filter(values, 3)
    square = ndimage.uniform_filter(values * values, 3)
    deviation = np.sqrt((square - mean * mean).clip(0))
    return np.asarray(deviation / np.maximum(values, 1e-6), dtype=np.float32)


def _is_smooth(
    slide: Slide, grid: Grid, glass: NDArray[np.float32], pixels: NDArray[np.intp]
) -> bool:
    """Whether a mark has no texture at the resolution of cells, in most of a few fields.

    Parameters
    ----------
    pixels : (n, 2) int array
        Rows and columns of the mark on the overview.
    """
    some = pixels[:: max(1, len(pixels) // FIELDS)].tolist()
    found = [_roughness(field, glass) for field in Fields(slide, grid).around(some, 1)]
    return bool(found) and float(np.median(found)) <= SMOOTH


def _roughness(pixels: NDArray[np.uint8], glass: NDArray[np.float32]) -> float:
    """Standard deviation of the densities of a field beyond noise, over the largest mean of them.

    Noise of a camera or of JPEG, `NOISE` grey levels, is `NOISE` / (level × ln 10) in density.
    """
    levels = np.maximum(pixels.reshape(-1, 3).astype(np.float32), 1)
    channels = np.minimum(density(levels / 255, glass), DENSEST)
    noise = (NOISE / (levels * np.log(10))) ** 2
    rough = (channels.var(axis=0) - noise.mean(axis=0)).clip(0).max() ** 0.5
    return float(rough / max(channels.mean(axis=0).max(), 1e-6))


def grey_lines(
    numbers: NDArray[np.int32], channels: NDArray[np.float32], grid: Grid
) -> NDArray[np.bool_]:
    """Whether each region of a bright-field overview is long, thin and, as a whole, grey.

    Parameters
    ----------
    numbers : (H, W) int32 array
        Region of each pixel, from 1; 0 outside.
    channels : (H, W, 3) float32 array
        `density` of the overview.
    grid : Grid
        Grid of the overview.

    Returns
    -------
    (n + 1,) bool array
        By number.
    """
    count = int(numbers.max()) + 1
    grey = np.zeros(count, bool)
    sizes = np.maximum(np.bincount(numbers.ravel(), minlength=count), 1)
    means = np.stack(
        [
            np.bincount(numbers.ravel(), channels[..., index].ravel(), count) / sizes
            for index in range(3)
        ]
    )
    grey[1:] = (np.ptp(means, axis=0) < GREY * means.mean(axis=0))[1:]
    if grey.any():  # tissue may be grey, as silver stains are, but is no line
        wide = ndimage.binary_erosion(grey[numbers], disk(LINE_UM / 2, grid), border_value=1)
        grey[np.unique(numbers[wide])] = False
        for number, place in enumerate(ndimage.find_objects(numbers), start=1):
            sides = (
                (part.stop - part.start) * mpp for part, mpp in zip(place, grid.mpp, strict=True)
            )
            grey[number] &= max(sides) >= LINE_LENGTH_UM
    return grey
