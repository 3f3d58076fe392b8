"""Lazy levels for napari's multiscale layers; a read error never raises while panning."""

from __future__ import annotations

from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_twostage.geometry import Box
from napari_twostage.session.advice import advise
from napari_twostage.slides.view import white
from napari_twostage.viewer.tolerant_reader import TolerantReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from napari_twostage.geometry import Scale, Shape
    from napari_twostage.result.result import Result
    from napari_twostage.slides.base import Slide

    ReadBox = Callable[[Box], NDArray[Any]]

_VIEW_PX = 512
"""Side, in pixels, that chunks should have: napari reads every chunk that is partly in view."""
_COMPUTED_CHUNK = (256, 256)
"""Chunk, in pixels, of a level that is averaged from a finer one for display."""


class LazyLevel:
    """Read-only array that reads only the pixels it is indexed with, by integers and slices.

    Parameters
    ----------
    read : callable
        Returns the pixels of a box: (height, width) or (height, width, channels).
    shape : tuple of int
        Shape of the whole level, channels included.
    dtype : numpy dtype
        Type of the pixels.
    chunks : (int, int)
        Rows and columns of a chunk; napari reads whole chunks.
    """

    def __init__(
        self, read: ReadBox, shape: tuple[int, ...], dtype: np.dtype[Any], chunks: Shape
    ) -> None:
        self._read = read
        self.shape = shape
        self.dtype = dtype
        self.ndim = len(shape)
        self.size = int(np.prod(shape))
        self.chunks = (*chunks, *shape[2:])

    def __getitem__(self, index: Any) -> NDArray[Any]:  # noqa: ANN401 - any numpy index
        parts = list(index) if isinstance(index, tuple) else [index]
        if Ellipsis in parts:
            at = parts.index(Ellipsis)
            parts[at : at + 1] = [slice(None)] * (self.ndim - len(parts) + 1)
        parts += [slice(None)] * (self.ndim - len(parts))
        (top, bottom, rows), (left, right, columns) = map(_bounds, parts[:2], self.shape[:2])
        pixels = self._read(Box(top, left, bottom, right))
        found: NDArray[Any] = pixels[(rows, columns, *parts[2:])]
        return found

    def __array__(
        self, dtype: np.dtype[Any] | None = None, *, copy: bool | None = None
    ) -> NDArray[Any]:
        if copy is False:
            raise ValueError("a lazy level is read from its file: there is nothing to share")
        return self[...] if dtype is None else self[...].astype(dtype)


def slide_levels(
    slide: Slide, warn: Callable[[str], None]
) -> list[LazyLevel | NDArray[np.generic]]:
    """Lazy levels of a slide; the coarsest one is in memory, because napari caches it.

    Grey slides give 2-D levels. Levels more than a factor of three apart get computed levels in
    between: napari displays the next finer level, which could be many screens large.

    Parameters
    ----------
    slide : Slide
        The coarsest level is read immediately.
    warn : callable
        Called once, with the first read error in one line; damaged tiles are shown blank.
    """
    reader = _SlideReader(slide, warn)
    levels: list[LazyLevel | NDArray[np.generic]] = []
    for level, shape in enumerate(slide.level_shapes):
        tile = slide.tile_shape(level)
        read = partial(reader.read, partial(slide.read, level=level), tile)
        levels.append(_lazy(slide, read, shape, view_chunks(tile, shape)))
        for factor in _factors_between(slide.factors[level : level + 2]):
            read = partial(reader.read, partial(read_bands, slide, factor), _COMPUTED_CHUNK)
            plane = [ceil(n / f) for n, f in zip(slide.level_shapes[0], factor, strict=True)]
            levels.append(_lazy(slide, read, (plane[0], plane[1]), _COMPUTED_CHUNK))
    return [*levels[:-1], np.asarray(levels[-1])]


def _lazy(slide: Slide, read: ReadBox, plane: Shape, chunks: Shape) -> LazyLevel:
    shape = plane if slide.channels == 1 else (*plane, slide.channels)
    return LazyLevel(read, shape, slide.dtype, chunks)


def read_bands(slide: Slide, factor: Scale, box: Box) -> NDArray[np.generic]:
    """Pixels on a grid that no level has; averaged in bands to bound memory.

    Parameters
    ----------
    slide : Slide
        Slide to read.
    factor : (float, float)
        Level-0 pixels per pixel (y, x) of the grid.
    box : Box
        Box to read, on the grid.
    """
    pixels = np.empty((*box.shape, slide.channels), slide.dtype)
    rows = max(1, int(_VIEW_PX * slide.factors[slide.level_for(factor)][0] / factor[0]))
    for top in range(box.top - box.top % rows, box.bottom, rows):
        band = Box(max(top, box.top), box.left, min(top + rows, box.bottom), box.right)
        pixels[band.shift(-box.top, -box.left).slices] = slide.read_at(band, factor)
    return pixels


def _factors_between(factors: Sequence[Scale]) -> Iterator[Scale]:
    """Downsample factors to insert between two adjacent levels; none after the last."""
    (y, x), *coarser = factors
    for target in coarser:
        while min(target[0] / y, target[1] / x) > 3:
            y, x = 2 * y, 2 * x
            yield y, x


def label_levels(
    result: Result, warn: Callable[[str], None]
) -> list[LazyLevel | NDArray[np.uint8]]:
    """Lazy labels of a result, one array per level; the coarsest one is in memory.

    Parameters
    ----------
    result : Result
    warn : callable
        Called with each read error in one line; damaged tiles are shown blank.
    """
    kind = np.dtype(np.uint8)
    reader = TolerantReader(0, kind, (), lambda error: warn(advise(error)))
    side = result.card.tile_px

    def read(level: int, box: Box) -> NDArray[np.uint8]:
        return reader.read(partial(result.read_labels, level=level), (side, side), box)[0]

    *finer, coarsest = range(len(result.level_shapes))
    levels: list[LazyLevel | NDArray[np.uint8]] = []
    for level in finer:
        shape = result.level_shapes[level]
        chunks = view_chunks((side, side), shape)
        levels.append(LazyLevel(partial(read, level), shape, kind, chunks))
    whole = Box(0, 0, *result.level_shapes[coarsest])
    return [*levels, read(coarsest, whole)]


def view_chunks(tile: Shape, shape: Shape) -> Shape:
    """Rows and columns of a display chunk: whole file tiles if these are small.

    Examples
    --------
    >>> view_chunks((240, 240), (30000, 40000))
    (480, 480)
    >>> view_chunks((8, 40000), (30000, 40000))  # strips are wider than a screen
    (512, 512)
    """
    rows, columns = (
        min(length, part * max(1, round(_VIEW_PX / part)) if part <= 2 * _VIEW_PX else _VIEW_PX)
        for part, length in zip(tile, shape, strict=True)
    )
    return rows, columns


class _SlideReader:
    """Slide reader that leaves unreadable tiles blank and warns about the first one."""

    def __init__(self, slide: Slide, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._warned = False
        self._grey = slide.channels == 1
        # empty glass is white, the background of fluorescence is black
        blank = 0 if self._grey else white(slide.dtype)
        self._reader = TolerantReader(blank, slide.dtype, (slide.channels,), self._tell)

    def read(self, read: ReadBox, tile: Shape, box: Box) -> NDArray[np.generic]:
        """Pixels of a box; if reading it fails, read each `tile` on its own."""
        pixels, _ = self._reader.read(read, tile, box)
        return pixels[..., 0] if self._grey else pixels

    def _tell(self, error: Exception) -> None:
        if not self._warned:
            self._warned = True
            self._warn(advise(error))


def _bounds(index: slice | int, length: int) -> tuple[int, int, slice | int]:
    """Start and stop to read for one index of an axis, and the index into the pixels read."""
    wanted = range(length)[index]
    if isinstance(wanted, int):
        return wanted, wanted + 1, 0
    if not wanted:
        return 0, 0, slice(None)
    return min(wanted), max(wanted) + 1, slice(None, None, wanted.step)
