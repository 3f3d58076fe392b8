"""Range of values that a slide of more than 8 bits is shown and segmented with."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from napari_twostage.errors import ReadError
from napari_twostage.geometry import Box
from napari_twostage.slides.lazy import TiledImage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from napari_twostage.geometry import Scale, Shape

PERCENTILES = (0.1, 99.9)
"""Percentiles of all values, which are the range of a slide that has much of everything."""
WHOLE_LEVEL_PX = 64 << 20
"""Pixels up to which the coarsest level is read whole,"""
MOST_VALUES = 32 << 20
"""Pixels of the sample that the percentiles are taken from."""
BLOCK_PX = 1024
"""in blocks of this side; of a larger one, a sample is read:"""
SAMPLES_PER_AXIS, SAMPLE_PX = 8, 512
"""squares of this side, so many along each axis."""
LOCAL_PX = 65
"""Side of the square whose mean is a pixel's background: larger than cells on any level."""
NOISES = 6.0
"""Standard deviations of the noise above which a pixel is signal: 1 in 10⁹ by chance."""
PLACES = 64
"""Places of signal that are read at the finest level."""
PLACE_PX = (32, 256)
"""Least and longest side of what is read there: a cell."""
WIDENED = 1.2
"""Signal that exceeds the range of the percentiles by this factor widens it."""


class Pyramid(TiledImage, Protocol):
    """The part of `Slide` that its range follows from."""

    factors: tuple[Scale, ...]


class _Extremes(NamedTuple):
    """Pixels of a level that stand out from what surrounds them: (n, 2) rows and columns."""

    bright: NDArray[np.int32]
    dark: NDArray[np.int32]


def measure_range(slide: Pyramid) -> tuple[float, float]:
    """Measure the values (low, high) that become black and full intensity.

    The 0.1 and 99.9 percentile of the coarsest level, unless signal lies far beyond them: rare
    cells cover less than 0.1 % of a slide, and a coarse level averages small ones down. So
    pixels that stand out from their surroundings by more than the noise are looked up at the finest
    level, and where they exceed the range of the percentiles, it is widened to them. Single hot
    pixels do not count.

    Parameters
    ----------
    slide : Pyramid
        Slide of uint16 or float32 values; NaN does not count.

    Returns
    -------
    (float, float)
        ``low < high``.
    """
    level = len(slide.level_shapes) - 1
    boxes = list(_sample_boxes(slide.level_shapes[level]))
    step = max(1, sum(box.area for box in boxes) // MOST_VALUES)
    sample, bright, dark = [], [], []
    for box in boxes:
        values = slide.read(box, level)[..., : min(slide.channels, 3)]  # the fourth is alpha
        finite = values[np.isfinite(values)] if slide.dtype.kind == "f" else values.ravel()
        sample.append(finite[::step])
        if finite.size:
            usual = float(np.median(finite))
            found = _extremes(
                np.nan_to_num(values.max(axis=-1), nan=usual, posinf=usual, neginf=usual)
            )
            bright.append(found.bright + np.array((box.top, box.left), np.int32))
            dark.append(found.dark + np.array((box.top, box.left), np.int32))
    if not bright:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(np.concatenate(sample), PERCENTILES))
    peak = _peak(slide, level, np.concatenate(bright), bright=True)
    if peak is not None and peak - low > WIDENED * (high - low):
        high = peak
    depth = _peak(slide, level, np.concatenate(dark), bright=False)
    if depth is not None and high - depth > WIDENED * (high - low):
        low = depth
    # a range without width would divide by 0; whole numbers differ by 1
    least = 1.0 if slide.dtype.kind == "u" else max(abs(low) * 1e-6, 1e-30)
    return low, max(high, low + least)


def _sample_boxes(shape: Shape) -> Iterator[Box]:
    """The whole plane in blocks, or evenly spread squares of it if it is large."""
    height, width = shape
    if height * width <= WHOLE_LEVEL_PX:
        yield from Box(0, 0, height, width).blocks(BLOCK_PX)
        return
    rows, columns = min(height, SAMPLE_PX), min(width, SAMPLE_PX)
    for top in np.linspace(0, height - rows, SAMPLES_PER_AXIS).astype(int):
        for left in np.linspace(0, width - columns, SAMPLES_PER_AXIS).astype(int):
            yield Box.at(int(top), int(left), rows, columns)


def _extremes(values: NDArray[np.generic]) -> _Extremes:
    """Find pixels of a block that differ from the mean around them by more than the noise.

    Parameters
    ----------
    values : (h, w) uint16 or float32 array
    """
    from scipy import ndimage

    plane = values.astype(np.float32)
    above = plane - ndimage.uniform_filter(plane, LOCAL_PX, mode="reflect")
    steps = np.abs(np.diff(plane, axis=1 if plane.shape[1] > 1 else 0))
    # the median deviation of a difference of two normal values is 0.6745 √2 of theirs
    noise = float(np.median(steps)) / (0.6745 * np.sqrt(2)) if steps.size else 0.0
    # a constant ground has no noise, but the rounding of its values
    rounding = 2.0 if values.dtype.kind == "u" else 1e-5 * float(np.abs(plane).max())
    least = max(NOISES * noise, rounding)
    return _Extremes(
        *(np.argwhere(mask).astype(np.int32) for mask in (above > least, above < -least))
    )


def _peak(slide: Pyramid, level: int, pixels: NDArray[np.int32], *, bright: bool) -> float | None:
    """High value, or low one, of places of a level at the finest level; None without places.

    Not the extreme: a tenth of the places may be debris, and single pixels hot or dead.
    """
    found = []
    for plane in _places(slide, level, pixels):
        signed = plane.astype(np.float64) * (1 if bright else -1)
        pairs = [
            np.minimum(first, second).ravel()
            for first, second in ((signed[1:], signed[:-1]), (signed[:, 1:], signed[:, :-1]))
        ]
        lower = np.concatenate(pairs) if signed.size > 1 else signed
        lower = lower[np.isfinite(lower)]
        if lower.size:
            found.append(float(np.percentile(lower, 99.9)))
    if not found:
        return None
    typical = float(np.percentile(found, 90))
    return typical if bright else -typical


def _places(slide: Pyramid, level: int, pixels: NDArray[np.int32]) -> Iterator[NDArray[np.generic]]:
    """Read the finest level (h, w) at a few of the pixels of a level, evenly spread in order."""
    if not len(pixels):
        return
    chosen = np.unique(np.linspace(0, len(pixels) - 1, PLACES).round().astype(int))
    for row, column in pixels[chosen].tolist():
        pixel = Box(row, column, row + 1, column + 1).scaled(slide.factors[level])
        height, width = (int(np.clip(side, *PLACE_PX)) for side in pixel.shape)
        middle = (pixel.top + pixel.bottom) // 2, (pixel.left + pixel.right) // 2
        box = Box.at(middle[0] - height // 2, middle[1] - width // 2, height, width)
        with suppress(ReadError):
            yield slide.read(box.clip(slide.level_shapes[0]))[..., : min(slide.channels, 3)].max(-1)
