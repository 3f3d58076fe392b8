"""Slides in arrays: numpy, dask or zarr, one array or a list of levels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from napari_twostage.errors import ReadError, SlideError, reason_of
from napari_twostage.slides.base import Slide
from napari_twostage.slides.picture import COLOURS, WHOLE, Picture, refuse_choices
from napari_twostage.slides.pixel_size import resolve_mpp
from napari_twostage.slides.planes import as_pixels, pixel_type
from napari_twostage.slides.sampling import sampled_fingerprint

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.geometry import Box, Scale, Shape
    from napari_twostage.io.paths import Location

_COLOURS = {3, 4}
# raised by zarr, dask and their codecs on damaged chunks
_READ_ERRORS = (RuntimeError, ValueError, TypeError, KeyError, OSError)


class ArrayLike(Protocol):
    """Interface that numpy, dask and zarr arrays share."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""

    @property
    def dtype(self) -> Any:  # noqa: ANN401 - libraries have dtypes of their own
        """Type of the values."""

    def __getitem__(self, index: Any) -> Any:  # noqa: ANN401 - numpy's own rule
        """Part of the array, lazy or not."""


class ArraySlide(Slide):
    """A slide whose levels are arrays.

    Parameters
    ----------
    levels : sequence of array-like
        Finest first: (y, x), (y, x, colours), or channels first with `channel`.
    name : str
        Display name.
    mpp, mpp_source, format, path, picture
        As for `Slide`.
    channel : int or None
        Plane to read from arrays with channels.
    channel_axis : int or None
        Axis that holds channels or colours.
    """

    def __init__(
        self,
        levels: Sequence[ArrayLike],
        *,
        name: str,
        mpp: Scale,
        mpp_source: str,
        format: str,  # noqa: A002 - as in Slide
        path: Location | None = None,
        picture: Picture = WHOLE,
        channel: int | None = None,
        channel_axis: int | None = None,
    ) -> None:
        self._arrays = tuple(levels)
        self._channel = channel
        self._channel_axis = channel_axis
        colours = channel_axis is not None and channel is None
        super().__init__(
            name=name,
            level_shapes=[_plane(array.shape, channel_axis) for array in levels],
            channels=levels[0].shape[channel_axis or 0] if colours else 1,
            dtype=pixel_type(np.dtype(levels[0].dtype)),
            mpp=mpp,
            mpp_source=mpp_source,
            format=format,
            path=path,
            picture=picture,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by value, or by place if the arrays are a file's."""
        if self.path is not None:
            return super().__reduce__()
        return _with_source, (self._arrays, self.name, self.mpp, self.mpp_source, self.picture,
                              self.format)  # fmt: skip

    def tile_shape(self, level: int) -> Shape:
        """Rows and columns of a chunk; 1024 × 1024 for an array without chunks."""
        array = self._arrays[level]
        chunks = getattr(array, "chunksize", None) or getattr(array, "chunks", None)
        return _plane(chunks, self._channel_axis) if chunks else super().tile_shape(level)

    def fingerprint(self) -> str:
        """SHA-256 of the shapes, the type and a fixed sample of pixels."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        return sampled_fingerprint(
            self, self.level_shapes, self.channels, self._channel, self.dtype.str
        )

    def _read_inside(self, box: Box, level: int) -> NDArray[np.generic]:
        index: list[slice | int] = list(box.slices)
        if self._channel_axis is not None:
            chosen = slice(None) if self._channel is None else self._channel
            index.insert(self._channel_axis, chosen)
        try:
            pixels = as_pixels(np.array(self._arrays[level][tuple(index)]))
        except _READ_ERRORS as error:
            raise ReadError(
                f"{self.name}: rows {box.top} to {box.bottom}, columns {box.left} to {box.right} "
                f"of level {level} cannot be read: {reason_of(error)}"
            ) from error
        if self.channels > 1 and self._channel_axis == 0:
            return np.ascontiguousarray(np.moveaxis(pixels, 0, -1))
        return pixels.reshape(*box.shape, self.channels)


def open_arrays(
    source: ArrayLike | Sequence[ArrayLike],
    *,
    name: str = "array",
    mpp: float | Scale | None = None,
    picture: Picture = WHOLE,
    format: str = "array",  # noqa: A002 - as in Slide
    path: Location | None = None,
) -> ArraySlide:
    """Use an array, or a list of levels, as a slide.

    Parameters
    ----------
    source : array-like or sequence of array-like
        (y, x), RGB(A) as (y, x, 3 or 4), or with `channel` any three axes, channels first or
        last. Pixels other than uint8 and uint16 are read as float32.
    name : str
        Display name.
    mpp : float or (float, float)
        Micrometres per pixel (y, x); required, since arrays state none.
    picture : Picture
        Which plane to read of an array with channels.
    format, path
        As for `Slide`.

    Raises
    ------
    SlideError
        If this is no 2-D image, or `mpp` is missing.
    """
    several = isinstance(source, Sequence) and not isinstance(source, bytes | memoryview)
    levels: list[ArrayLike] = list(source) if several else [source]  # type: ignore[list-item, arg-type]
    if not levels:
        raise SlideError(f"{name} is an empty list; pass at least one level")
    for array in levels:
        _check_array(array, name)
    try:
        refuse_choices(picture, "scene", "z", "t")
    except SlideError as error:
        raise SlideError(f"{name} {error}") from None
    axis, index = _channel_place(levels[0].shape, picture.channel, name)
    shapes = [_plane(array.shape, axis) for array in levels]
    kinds = {(str(array.dtype), len(array.shape)) for array in levels}
    shrinking = all(a[0] > b[0] and a[1] > b[1] for a, b in pairwise(shapes))
    if len(kinds) > 1 or not shrinking or not all(_same_plane(shapes[0], one) for one in shapes):
        raise SlideError(
            f"the levels of {name} have shapes {', '.join(str(a.shape) for a in levels)}; "
            "pass one image at ever lower resolution, finest first, all of one type"
        )
    size, source_words = resolve_mpp(mpp, None, name)
    return ArraySlide(
        levels,
        name=name,
        mpp=size,
        mpp_source=source_words,
        format=format,
        path=path,
        picture=picture,
        channel=index,
        channel_axis=axis,
    )


def _with_source(
    levels: Sequence[ArrayLike], name: str, mpp: Scale, mpp_source: str, picture: Picture, kind: str
) -> ArraySlide:
    """Make a slide of pickled arrays."""
    slide = open_arrays(levels, name=name, mpp=mpp, picture=picture, format=kind)
    slide.mpp_source = mpp_source
    return slide


def _check_array(array: ArrayLike, name: str) -> None:
    if not hasattr(array, "shape") or not hasattr(array, "dtype"):
        raise SlideError(
            f"a path or an array was expected, {type(array).__name__} was found; "
            "pass a file name, an array or a list of levels"
        )
    if len(array.shape) not in {2, 3}:
        raise SlideError(
            f"{name} has {len(array.shape)} axes {tuple(array.shape)}, (y, x) or (y, x, colours) "
            "was expected; pass one plane"
        )
    if any(length != length for length in array.shape):  # nan: known once it is computed
        raise SlideError(
            f"{name} has an unknown size {tuple(array.shape)}; "
            "pass array.compute_chunk_sizes() of dask"
        )
    if not all(array.shape):
        raise SlideError(f"{name} has no pixels: its shape is {tuple(array.shape)}; pass another")
    try:
        pixel_type(np.dtype(array.dtype))
    except TypeError:  # of another library, such as a tensor's
        raise SlideError(
            f"{name} has {array.dtype} pixels of another library; pass it as an array of numpy"
        ) from None
    except SlideError as error:
        raise SlideError(f"{name} {error}") from None


def _channel_place(
    shape: tuple[int, ...], channel: int | str | None, name: str
) -> tuple[int | None, int | None]:
    """Axis that holds channels or colours, and the index on it to read; None for all."""
    if len(shape) == 2:
        if channel not in {None, 0, "0"}:
            raise SlideError(f"{name} has one channel, {channel!r} was asked for; leave it out")
        return None, None
    if channel in {None, COLOURS} and shape[2] in _COLOURS:
        return 2, None
    axis = 2 if shape[2] < shape[0] else 0
    if channel == COLOURS and shape[axis] == 3:
        return axis, None
    if channel is None and shape[axis] == 1:
        return axis, 0
    if channel is None or not str(channel).isdecimal() or int(channel) >= shape[axis]:
        raise SlideError(
            f"{name} has shape {shape}, (y, x), RGB or RGBA was expected; choose one of its "
            f"{shape[axis]} channels, 0 to {shape[axis] - 1}, with channel=, or pass one plane"
        )
    return axis, int(channel)


def _plane(shape: tuple[int, ...], channel_axis: int | None) -> Shape:
    rows, columns = (n for axis, n in enumerate(shape) if axis != channel_axis)
    return int(rows), int(columns)


def _same_plane(full: Shape, part: Shape) -> bool:
    """Whether two shapes fit one image at two resolutions, rounded up or down."""
    expected = full[0] * part[1] / full[1]
    return abs(part[0] - expected) <= max(2, 0.02 * expected)
