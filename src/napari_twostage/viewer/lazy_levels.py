"""Levels of slides and labels as napari wants them: lazy, and never an exception while panning."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_twostage.errors import ReadError
from napari_twostage.geometry import Box

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from napari_twostage.engine.segmentation import Segmentation
    from napari_twostage.geometry import Scale, Shape
    from napari_twostage.slides.base import Slide

    Read = Callable[[Box], NDArray[Any]]

_VIEW_PX = 512
"""napari grows what is in view to whole chunks of about this side: larger ones cost memory."""
_BETWEEN = (256, 256)
"""Chunk of a level that is made of a finer one while it is shown."""


class LazyLevel:
    """An array that is read where it is indexed, by integers and slices.

    Parameters
    ----------
    read : callable
        Gives the pixels of a box: (height, width) or (height, width, channels).
    shape : tuple of int
        Of the whole level, channels included.
    dtype : numpy dtype
        Of the pixels.
    chunks : (int, int)
        Rows and columns that are best read at once; napari reads whole chunks.
    """

    def __init__(
        self, read: Read, shape: tuple[int, ...], dtype: np.dtype[Any], chunks: Shape
    ) -> None:
        self._read = read
        self.shape = shape
        self.dtype = dtype
        self.ndim = len(shape)
        self.size = int(np.prod(shape))
        self.chunks = (*chunks, *shape[2:])

    def __getitem__(self, index: Any) -> NDArray[Any]:  # noqa: ANN401 - numpy's own rule
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
    slide: Slide, tell: Callable[[str], None]
) -> list[LazyLevel | NDArray[np.generic]]:
    """Levels of a slide, grey ones in two axes; the coarsest in memory, for napari caches it.

    Where levels are more than a factor of two apart, others come between: napari shows the next
    finer one, which may be the size of many screens.

    Parameters
    ----------
    slide : Slide
        Its coarsest level is read at once.
    tell : callable
        Is given the first read error in one line; what is damaged is shown blank.
    """
    patient = _PatientReader(slide, tell)
    levels: list[LazyLevel | NDArray[np.generic]] = []
    for level, shape in enumerate(slide.level_shapes):
        tile = slide.tile_shape(level)
        read = partial(patient.read, partial(slide.read, level=level), tile)
        levels.append(_lazy(slide, read, shape, view_chunks(tile, shape)))
        for factor in _between(slide.factors[level : level + 2]):
            read = partial(patient.read, partial(read_bands, slide, factor), _BETWEEN)
            plane = [ceil(n / f) for n, f in zip(slide.level_shapes[0], factor, strict=True)]
            levels.append(_lazy(slide, read, (plane[0], plane[1]), _BETWEEN))
    return [*levels[:-1], np.asarray(levels[-1])]


def _lazy(slide: Slide, read: Read, plane: Shape, chunks: Shape) -> LazyLevel:
    shape = plane if slide.channels == 1 else (*plane, slide.channels)
    return LazyLevel(read, shape, slide.dtype, chunks)


def read_bands(slide: Slide, factor: Scale, box: Box) -> NDArray[np.generic]:
    """Read on a grid that no level has; band by band, for averaging takes memory.

    Parameters
    ----------
    slide : Slide
        To read from.
    factor : (float, float)
        Level-0 pixels per pixel (y, x) of the grid.
    box : Box
        On the grid.
    """
    pixels = np.empty((*box.shape, slide.channels), slide.dtype)
    rows = max(1, int(_VIEW_PX * slide.factors[slide.level_for(factor)][0] / factor[0]))
    for top in range(box.top - box.top % rows, box.bottom, rows):
        band = Box(max(top, box.top), box.left, min(top + rows, box.bottom), box.right)
        pixels[band.shift(-box.top, -box.left).slices] = slide.read_at(band, factor)
    return pixels


def _between(factors: Sequence[Scale]) -> Iterator[Scale]:
    """The downsample factors to add between two neighbouring levels; none after the last."""
    (y, x), *coarser = factors
    for goal in coarser:
        while min(goal[0] / y, goal[1] / x) > 3:
            y, x = 2 * y, 2 * x
            yield y, x


def label_levels(seg: Segmentation) -> list[LazyLevel | NDArray[np.uint8]]:
    """Labels of a result at each level; the coarsest in memory, for napari caches it."""
    *finer, coarsest = range(len(seg.level_shapes))
    side = seg.card.tile_px
    levels: list[LazyLevel | NDArray[np.uint8]] = []
    for level in finer:
        shape = seg.level_shapes[level]
        read = partial(seg.read_labels, level=level)
        chunks = view_chunks((side, side), shape)
        levels.append(LazyLevel(read, shape, np.dtype(np.uint8), chunks))
    whole = Box(0, 0, *seg.level_shapes[coarsest])
    return [*levels, seg.read_labels(whole, coarsest)]


def view_chunks(tile: Shape, shape: Shape) -> Shape:
    """Rows and columns to read at once for display: whole tiles where these are small.

    Examples
    --------
    >>> view_chunks((240, 240), (30000, 40000))
    (480, 480)
    >>> view_chunks((8, 40000), (30000, 40000))  # strips: the screen is not as wide
    (512, 512)
    """
    rows, columns = (
        min(length, part * max(1, round(_VIEW_PX / part)) if part <= 2 * _VIEW_PX else _VIEW_PX)
        for part, length in zip(tile, shape, strict=True)
    )
    return rows, columns


class _PatientReader:
    """Reads a slide; tiles that cannot be read come blank, and the first is told."""

    def __init__(self, slide: Slide, tell: Callable[[str], None]) -> None:
        self._slide = slide
        self._tell = tell
        self._told = False
        # glass is white, the ground of fluorescence is black
        self._blank = 256**slide.dtype.itemsize - 1 if slide.channels > 1 else 0

    def read(self, read: Read, tile: Shape, box: Box) -> NDArray[np.generic]:
        """Read a box; where that fails, in tiles of `tile` pixels."""
        try:
            pixels = read(box)
        except ReadError as error:
            if not self._told:
                self._told = True
                self._tell(str(error))
            pixels = self._piecewise(read, tile, box)
        return pixels[..., 0] if self._slide.channels == 1 else pixels

    def _piecewise(self, read: Read, tile: Shape, box: Box) -> NDArray[np.generic]:
        pixels = np.full((*box.shape, self._slide.channels), self._blank, self._slide.dtype)
        rows, columns = tile
        for top in range(box.top - box.top % rows, box.bottom, rows):
            for left in range(box.left - box.left % columns, box.right, columns):
                piece = Box.at(top, left, rows, columns).intersect(box)
                with suppress(ReadError):  # stays blank
                    pixels[piece.shift(-box.top, -box.left).slices] = read(piece)
        return pixels


def _bounds(index: slice | int, length: int) -> tuple[int, int, slice | int]:
    """The range to read for one index of an axis, and the index within what was read."""
    wanted = range(length)[index]
    if isinstance(wanted, int):
        return wanted, wanted + 1, 0
    if not wanted:
        return 0, 0, slice(None)
    return min(wanted), max(wanted) + 1, slice(None, None, wanted.step)
