"""Levels of a slide as array-likes and as lazy dask arrays."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from napari_twostage.geometry import Box

if TYPE_CHECKING:
    from collections.abc import Callable

    import dask.array as da
    from numpy.typing import NDArray

    from napari_twostage.geometry import Shape

_CHUNK_PX = 1024
"""Chunks are about this long on each side, in whole file tiles."""


class TiledImage(Protocol):
    """The part of `Slide` that its lazy levels need."""

    level_shapes: tuple[Shape, ...]
    channels: int
    dtype: np.dtype[np.generic]

    def read(self, box: Box, level: int = 0) -> NDArray[np.generic]:
        """Read pixels of one level: (box.height, box.width, channels)."""

    def tile_shape(self, level: int) -> Shape:
        """Rows and columns that the file stores as one piece."""

    def fingerprint(self) -> str:
        """Name of the pixels, equal for the same file."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Function that opens it anew, and its arguments."""


class LevelArray:
    """One level of a slide, read when it is indexed.

    Parameters
    ----------
    slide : TiledImage
        Slide to read from.
    level : int
        0 is the finest.
    """

    ndim = 3

    def __init__(self, slide: TiledImage, level: int) -> None:
        self._slide = slide
        self._level = level
        self.shape = (*slide.level_shapes[level], slide.channels)
        self.size = int(np.prod(self.shape))
        self.dtype = slide.dtype
        self.chunks = (*chunk_shape(slide.tile_shape(level), self.shape[:2]), slide.channels)

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(
        self, dtype: np.dtype[Any] | None = None, copy: bool | None = None
    ) -> NDArray[Any]:
        if copy is False:
            raise ValueError("a level is read from its file: an array without a copy is impossible")
        return self[...] if dtype is None else self[...].astype(dtype, copy=False)

    def __getitem__(self, index: Any) -> NDArray[np.generic]:  # noqa: ANN401 - numpy's own rule
        index = index if isinstance(index, tuple) else (index,)
        if Ellipsis in index:
            at = index.index(Ellipsis)
            missing = self.ndim - len(index) + 1
            index = (*index[:at], *[slice(None)] * missing, *index[at + 1 :])
        index = (*index, *[slice(None)] * (self.ndim - len(index)))
        (top, bottom, rows), (left, right, columns) = (
            _read_range(part, length) for part, length in zip(index, self.shape[:2], strict=False)
        )
        pixels = self._slide.read(Box(top, left, bottom, right), self._level)
        part: NDArray[np.generic] = pixels[rows, columns, index[2]]
        return part

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle so that the levels and chunks of one slide share it where they arrive."""
        opener, arguments = self._slide.__reduce__()
        return _shared_level, (opener, arguments, self._slide.fingerprint(), self._level)

    def __dask_tokenize__(self) -> tuple[str, str, int]:
        return type(self).__name__, self._slide.fingerprint(), self._level


def _shared_level(
    opener: Callable[..., TiledImage], arguments: tuple[Any, ...], fingerprint: str, level: int
) -> LevelArray:
    try:
        slide = _shared_slide(opener, arguments, fingerprint)
    except TypeError:  # arrays, which are at hand and need no file
        slide = opener(*arguments)
    return LevelArray(slide, level)


@lru_cache(maxsize=4)
def _shared_slide(
    opener: Callable[..., TiledImage],
    arguments: tuple[Any, ...],
    fingerprint: str,  # noqa: ARG001 - tells a file that took the place of another
) -> TiledImage:
    """Slide that this process has opened for chunks that came from another."""
    return opener(*arguments)


def dask_levels(slide: TiledImage) -> list[da.Array]:
    """One lazy (height, width, channels) dask array per level, finest first."""
    import dask.array as da

    from_array: Callable[..., da.Array] = da.from_array  # dask is untyped
    arrays = (LevelArray(slide, level) for level in range(len(slide.level_shapes)))
    return [
        from_array(
            array,
            chunks=array.chunks,
            asarray=False,
            meta=np.empty((0, 0, 0), slide.dtype),
        )
        for array in arrays
    ]


def chunk_shape(tile: Shape, shape: Shape) -> Shape:
    """Rows and columns of a chunk: whole file tiles, of about a megapixel.

    Examples
    --------
    >>> chunk_shape((240, 240), (30000, 40000))
    (960, 960)
    >>> chunk_shape((8, 40000), (30000, 40000))  # strips
    (24, 40000)
    """
    rows, columns = (
        min(length, part * max(1, round(_CHUNK_PX / part)))
        for part, length in zip(tile, shape, strict=True)
    )
    if columns > 2 * _CHUNK_PX:
        fit = _CHUNK_PX**2 // (columns * tile[0])
        rows = min(rows, tile[0] * max(1, fit))
    return rows, columns


def _read_range(index: Any, length: int) -> tuple[int, int, Any]:  # noqa: ANN401 - as above
    """Range [start, stop) to read for one index of an axis, and the index within that range."""
    if isinstance(index, slice):
        start, stop, step = index.indices(length)
        if step > 0:
            return start, max(start, stop), slice(None, None, step)
        wanted = range(start, stop, step)
        if not wanted:
            return 0, 0, slice(None)
        return wanted[-1], wanted[0] + 1, slice(None, None, step)
    wanted = np.arange(length)[index]
    if np.ndim(wanted) == 0:
        return int(wanted), int(wanted) + 1, 0
    if not wanted.size:
        return 0, 0, slice(None)
    first = int(wanted.min())
    return first, int(wanted.max()) + 1, wanted - first
