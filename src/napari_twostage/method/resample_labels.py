"""Resampling of labels: upsampled coarse logits, thinned fine labels, lazy planes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_twostage.geometry import Box

if TYPE_CHECKING:
    from collections.abc import Callable

    import dask.array as da
    from numpy.typing import NDArray

    from napari_twostage.geometry import Shape


def upsample(
    read: Callable[[Box], NDArray[np.floating]], shape: Shape, box: Box, ratio: int
) -> NDArray[np.float32]:
    """Upsample a part of a coarse plane bilinearly, pixel centres aligned.

    The value of a pixel depends on its position alone, not on the box that contains it.

    Parameters
    ----------
    read : callable
        Returns the (K, height, width) values of a box inside the coarse plane.
    shape : (int, int)
        Rows and columns of the coarse plane; beyond its edge the last pixel repeats.
    box : Box
        Part to compute, on the fine grid.
    ratio : int
        Fine pixels per coarse pixel.

    Returns
    -------
    (K, box.height, box.width) float32 array
    """
    rows = _coarse_span(box.top, box.bottom, ratio)
    columns = _coarse_span(box.left, box.right, ratio)
    source = Box(rows[0], columns[0], rows[1], columns[1]).clip(shape)
    values = read(source).astype(np.float32)
    # beyond the plane's edge the last pixel repeats
    sides = [(source.top - rows[0], rows[1] - source.bottom)]
    sides += [(source.left - columns[0], columns[1] - source.right)]
    if any(map(any, sides)):
        values = np.pad(values, [(0, 0), *sides], mode="edge")
    values = _stretch(values, box.top, box.bottom, ratio, axis=1)
    return _stretch(values, box.left, box.right, ratio, axis=2)


def _coarse_span(start: int, stop: int, ratio: int) -> tuple[int, int]:
    """First and one past the last coarse pixel that fine pixels [start, stop) lie between."""
    return (2 * start + 1 - ratio) // (2 * ratio), (2 * stop - 1 - ratio) // (2 * ratio) + 2


def _stretch(
    values: NDArray[np.float32], start: int, stop: int, ratio: int, axis: int
) -> NDArray[np.float32]:
    """Interpolate along one axis of (K, H, W) values, which cover `_coarse_span` of it.

    Fine pixels at the same place within their coarse pixel have the same weights: each such phase
    is computed from two slices.
    """
    first = _coarse_span(start, stop, ratio)[0]
    shape = list(values.shape)
    shape[axis] = stop - start
    stretched = np.empty(shape, np.float32)
    steps = np.diff(values, axis=axis)
    for offset in range(min(ratio, stop - start)):
        fine = start + offset
        # twice the distance, in fine pixels, from the centre of coarse pixel 0
        before, beyond = divmod(2 * fine + 1 - ratio, 2 * ratio)
        count = -(-(stop - fine) // ratio)
        here = [slice(None)] * 3
        here[axis] = slice(before - first, before - first + count)
        there = [slice(None)] * 3
        there[axis] = slice(offset, None, ratio)
        weight = np.float32(beyond / (2 * ratio))
        stretched[tuple(there)] = values[tuple(here)] + steps[tuple(here)] * weight
    return stretched


def thin(labels: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Keep one pixel of each square of `factor` × `factor`: the one below and right of its centre.

    A square that the edge cuts keeps its pixel nearest to that position.

    Parameters
    ----------
    labels : (H, W) uint8 array
    factor : int
        Pixels along the side of a square.

    Returns
    -------
    (⌈H / factor⌉, ⌈W / factor⌉) uint8 array

    Examples
    --------
    >>> thin(np.arange(15, dtype=np.uint8).reshape(3, 5), 2)
    array([[ 6,  8,  9],
           [11, 13, 14]], dtype=uint8)
    """
    if factor == 1:
        return labels
    middle = factor // 2
    if all(n % factor == 0 for n in labels.shape):
        return labels[middle::factor, middle::factor].copy()
    rows, columns = (
        np.minimum(np.arange(math.ceil(n / factor)) * factor + middle, n - 1) for n in labels.shape
    )
    return labels[np.ix_(rows, columns)]


LAZY_CHUNK = 1024
"""Side of a chunk of a lazy plane, in pixels: a few megabytes of logits to read."""


class _LazyPlane:
    """Array interface that dask needs: a shape, a type, and slicing."""

    ndim = 2

    def __init__(
        self, read: Callable[[Box], NDArray[Any]], shape: Shape, dtype: type[np.generic]
    ) -> None:
        self._read = read
        self.shape = shape
        self.dtype = np.dtype(dtype)

    def __getitem__(self, index: tuple[slice, slice]) -> NDArray[Any]:
        rows, columns = (s.indices(n) for s, n in zip(index, self.shape, strict=True))
        pixels = self._read(Box(rows[0], columns[0], rows[1], columns[1]))
        return pixels[:: rows[2], :: columns[2]]


def lazy_plane(
    read: Callable[[Box], NDArray[Any]], shape: Shape, dtype: type[np.generic]
) -> da.Array:
    """Make a dask array (H, W) whose chunks are read when they are computed.

    Parameters
    ----------
    read : callable
        Returns the (height, width) pixels of a box.
    shape : (int, int)
        Rows and columns of the plane.
    dtype : type
        Type of the pixels that `read` returns.
    """
    import dask.array as da

    lazy: da.Array = da.from_array(
        _LazyPlane(read, shape, dtype), chunks=LAZY_CHUNK, name=False, asarray=False, fancy=False
    )
    return lazy
