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
    rows = _neighbours(box.top, box.bottom, ratio, shape[0])
    columns = _neighbours(box.left, box.right, ratio, shape[1])
    source = Box(rows[0][0], columns[0][0], rows[1][-1] + 1, columns[1][-1] + 1)
    values = read(source).astype(np.float32)
    values = _mix(values, rows, source.top, axis=1)
    return _mix(values, columns, source.left, axis=2)


Neighbours = tuple["NDArray[np.intp]", "NDArray[np.intp]", "NDArray[np.float32]"]
"""Index of the coarse pixel before each fine one, of the one after, and the weight of the latter.

All are (n,), for n fine pixels along one axis.
"""


def _neighbours(start: int, stop: int, ratio: int, length: int) -> Neighbours:
    """Coarse neighbours of fine pixels [start, stop), on an axis of `length` coarse pixels."""
    position = (np.arange(start, stop) + 0.5) / ratio - 0.5
    before = np.floor(position).astype(np.intp)
    weight = (position - before).astype(np.float32)
    return before.clip(0, length - 1), (before + 1).clip(0, length - 1), weight


def _mix(
    values: NDArray[np.float32], neighbours: Neighbours, first: int, axis: int
) -> NDArray[np.float32]:
    """Interpolate along one axis of (K, H, W) values, which start at coarse pixel `first`."""
    before, after, weight = neighbours
    along = weight.reshape([-1 if dimension == axis else 1 for dimension in range(3)])
    low = values.take(before - first, axis=axis)
    high = values.take(after - first, axis=axis)
    return np.asarray(low + (high - low) * along, dtype=np.float32)


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
