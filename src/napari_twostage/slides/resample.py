"""Change of resolution: exact area averages down, linear interpolation up.

Every weight is computed from a pixel's absolute position on its grid, so a pixel's value does
not depend on the box that is read.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_twostage.geometry import Box, Scale

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from scipy.sparse import csr_array

_BAND_ROWS = 64
"""Target rows resampled at once; their sums stay in the processor's cache."""
_BLOCK_ROWS = 32
"""The same for averages of whole blocks, whose sums are larger."""

_EPSILON = 1e-6
"""Fraction of a pixel below which an overlap is a rounding error of the position."""


def source_box(box: Box, step: Scale) -> Box:
    """The source pixels that `resample` needs for `box`.

    Parameters
    ----------
    box : Box
        Target rectangle; target pixel i covers source pixels [i × step, (i + 1) × step).
    step : (float, float)
        Source pixels per target pixel (y, x); below 1 the target is the finer grid.
    """
    top, bottom = _span(box.top, box.bottom, step[0])
    left, right = _span(box.left, box.right, step[1])
    return Box(top, left, bottom, right)


def resample(pixels: NDArray[np.generic], box: Box, step: Scale) -> NDArray[np.generic]:
    """Resample source pixels to the target grid.

    Parameters
    ----------
    pixels : (h, w, C) uint8, uint16 or float32 array
        Source pixels of ``source_box(box, step)``. NaN is no pixel: averages are of the others.
    box : Box
        Target rectangle.
    step : (float, float)
        Source pixels per target pixel (y, x): area average from 1 up, bilinear with aligned
        pixel centres below.

    Returns
    -------
    (box.height, box.width, C) array of the source's dtype; integers are rounded to nearest.

    Examples
    --------
    >>> ramp = np.arange(8, dtype=np.uint8).reshape(1, 8, 1)
    >>> resample(ramp, Box(0, 0, 1, 4), (1, 2)).ravel()
    array([1, 3, 5, 7], dtype=uint8)
    """
    rows, columns = (_whole(part) for part in step)
    is_float = pixels.dtype.kind == "f"
    if rows == columns == 1:
        return pixels
    if rows and columns and not is_float:
        return _block_average(pixels, rows, columns)
    weigh = _weighted_numbers if is_float else _weighted
    origin = source_box(box, step)
    across = _weights(box.left, box.right, step[1], origin.left, origin.width)
    averages = np.empty((*box.shape, pixels.shape[2]), pixels.dtype)
    for top in range(box.top, box.bottom, _BAND_ROWS):
        band = Box(top, box.left, min(top + _BAND_ROWS, box.bottom), box.right)
        source = source_box(band, step).shift(-origin.top, 0)
        rows = _weights(band.top, band.bottom, step[0], source.top + origin.top, source.height)
        averages[top - box.top : band.bottom - box.top] = weigh(
            pixels[source.top : source.bottom], rows, across
        )
    return averages


def halved(pixels: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Average a block of (h, w, C) pixels over squares of 2, 4, 8, ... pixels, without end.

    The sums stay exact integers, so that every average is rounded only once. Of floating-point
    pixels those that are no number do not count.
    """
    if pixels.dtype.kind == "f":
        yield from _halved_numbers(pixels)
        return
    # 32 bits hold the sum of 2**12 x 2**12 8-bit pixels, 64 bits of far more 16-bit pixels
    exact = np.dtype(np.uint32 if pixels.dtype.itemsize == 1 else np.uint64)
    sums, area = pixels, 1
    while True:
        sums = np.add(sums[::2], sums[1::2], dtype=exact)
        sums = sums[:, ::2] + sums[:, 1::2]
        area *= 4
        yield ((sums + exact.type(area // 2)) // exact.type(area)).astype(pixels.dtype)


def _halved_numbers(pixels: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Average floating-point pixels as `halved` does; NaN where all are NaN."""
    valid = np.isfinite(pixels)
    sums, counts = np.where(valid, pixels, 0).astype(np.float64), valid.astype(np.float64)
    while True:
        sums, counts = (
            (one[::2, ::2] + one[1::2, ::2]) + (one[::2, 1::2] + one[1::2, 1::2])
            for one in (sums, counts)
        )
        with np.errstate(invalid="ignore"):
            yield (sums / counts).astype(pixels.dtype)


def _weighted_numbers(
    pixels: NDArray[np.generic], down: csr_array, across: csr_array
) -> NDArray[Any]:
    """Weighted means of the pixels that are numbers; NaN where there is none."""
    valid = np.isfinite(pixels)
    if valid.all():
        return _sums(pixels, down, across, np.float64)
    sums = _sums(np.where(valid, pixels, 0), down, across, np.float64)
    weights = _sums(valid, down, across, np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(weights > _EPSILON, sums / weights, np.nan))


def _weighted(pixels: NDArray[np.generic], down: csr_array, across: csr_array) -> NDArray[Any]:
    """Apply the weights of both axes: (rows of down, rows of across, C) floats, to be truncated."""
    exact = np.float32 if pixels.dtype == np.uint8 else np.float64
    # halves round up, as in whole blocks; storing as integers truncates
    return np.asarray(_sums(pixels, down, across, exact) + exact(0.5))


def _sums(
    pixels: NDArray[Any], down: csr_array, across: csr_array, exact: type[np.floating[Any]]
) -> NDArray[Any]:
    """Weighted sums along both axes: (rows of down, rows of across, C)."""
    height, width, channels = pixels.shape
    values = down.astype(exact) @ pixels.reshape(height, -1).astype(exact)
    # the sparse product works on the first axis: columns are moved there and back
    values = values.reshape(-1, width, channels).transpose(1, 0, 2).reshape(width, -1)
    values = across.astype(exact) @ values
    return np.asarray(values.reshape(across.shape[0], -1, channels).transpose(1, 0, 2))


def _whole(step: float) -> int:
    """The step as an integer; 0 if it is none."""
    nearest = round(step)
    return nearest if abs(step - nearest) < 1e-9 else 0


def _block_average(pixels: NDArray[Any], rows: int, columns: int) -> NDArray[np.generic]:
    """Average whole blocks of pixels, in integers."""
    area = rows * columns
    # half of the area is added before dividing, to round to nearest; the sums must hold it
    room = area * (int(np.iinfo(pixels.dtype).max) + 1)
    total = np.min_scalar_type(room - 1)
    height, width, channels = pixels.shape
    averages = np.empty((height // rows, width // columns, channels), pixels.dtype)
    for top in range(0, len(averages), _BLOCK_ROWS):
        band = averages[top : top + _BLOCK_ROWS]
        source = pixels[top * rows : (top + len(band)) * rows]
        # adding strided planes runs several times faster than a sum over two short axes
        down = _sum([source[row::rows] for row in range(rows)], total)
        for channel in range(channels):  # three times as fast as loops over a pixel's values
            planes = [down[:, column::columns, channel] for column in range(columns)]
            across = _sum(planes, total)
            across += total.type(area // 2)
            across //= total.type(area)
            band[..., channel] = across
    return averages


def _sum(planes: Sequence[NDArray[Any]], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Sum of some arrays, as a new one; the first two are added as they are converted."""
    first, *others = planes
    if not others:
        return first.astype(dtype)
    total: NDArray[Any] = np.add(first, others[0], dtype=dtype)
    for plane in others[1:]:
        total += plane
    return total


def _span(start: int, stop: int, step: float) -> tuple[int, int]:
    """Source pixels [first, last) of the target pixels [start, stop) along one axis."""
    if start == stop:
        return math.floor(start * step), math.floor(start * step)
    if step >= 1 or _whole(step):
        return math.floor(start * step + _EPSILON), math.ceil(stop * step - _EPSILON)
    return math.floor(_centre(start, step)), math.floor(_centre(stop - 1, step)) + 2


def _centre(target: int, step: float) -> float:
    """Position of a target pixel's centre, in source pixels from the first one's centre."""
    return (target + 0.5) * step - 0.5


def _weights(start: int, stop: int, step: float, first: int, length: int) -> csr_array:
    """Weight of each source pixel in each target pixel along one axis.

    Returns
    -------
    (stop - start, length) sparse float64; column 0 is source pixel `first`.
    """
    from scipy.sparse import csr_array

    target = np.arange(start, stop)[:, None]
    if step >= 1 or _whole(step):
        low, high = target * step, (target + 1) * step
        source = np.floor(low + _EPSILON) + np.arange(math.ceil(step) + 1)
        weight = (np.minimum(source + 1, high) - np.maximum(source, low)) / step
    else:
        centre = (target + 0.5) * step - 0.5
        source = np.floor(centre) + np.arange(2)
        weight = 1 - np.abs(source - centre)
    column = source.astype(np.intp) - first
    # an overlap beyond the last pixel is a rounding error of the position, and was not read
    row, tap = np.nonzero((weight > _EPSILON) & (column >= 0) & (column < length))
    return csr_array((weight[row, tap], (row, column[row, tap])), shape=(len(target), length))
