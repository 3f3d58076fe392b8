"""OME-Zarr images, versions 0.4 (zarr 2) and 0.5 (zarr 3)."""

from __future__ import annotations

import hashlib
import json
import math
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from napari_twostage.errors import ReadError, SlideError, TwoStageError, reason_of
from napari_twostage.geometry import Box
from napari_twostage.io.paths import locate
from napari_twostage.io.url import Url
from napari_twostage.slides.base import Slide
from napari_twostage.slides.channels import choose_channel
from napari_twostage.slides.ngff_metadata import Multiscale, parse_multiscale
from napari_twostage.slides.picture import WHOLE, Picture
from napari_twostage.slides.pixel_size import resolve_mpp
from napari_twostage.slides.tile_cache import TileCache
from napari_twostage.slides.zarr_arrays import open_node, within_limits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from napari_twostage.geometry import Scale, Shape
    from napari_twostage.io.paths import Location

    Array = zarr.Array[Any]

_CELL_PX = 512
"""Least side of the cells that are read and cached: each call of zarr costs a millisecond."""
_MOST_CELLS = 16
"""Boxes of more cells are read in one call: zarr fetches their chunks concurrently."""
_ALONE_BYTES = 32 << 20
"""Size of chunks that are decoded one after the other, to bound the memory."""
_CHANNELS = 1024
"""Most channels of an image."""

_SAMPLES_PER_AXIS = 4
_SAMPLE_PX = 64
_AT_ONCE = 8
"""Cells read concurrently by URL, to hide its latency."""


def open_ome_zarr(
    path: str | Location,
    *,
    mpp: float | Scale | None = None,
    picture: Picture = WHOLE,
    cache_bytes: int = 256 << 20,
) -> Slide:
    """Open the folder of one OME-Zarr image.

    Parameters
    ----------
    path : str, Path or Url
        Folder of the image, or a folder written by bioformats2raw, whose first image is read.
    mpp : float or (float, float), optional
        Micrometres per pixel (y, x) of level 0; overrides the metadata.
    picture : Picture
        What to read of an image with several channels. None is needed for a grey image, for RGB
        (three 8-bit channels, or three channels as last axis), or RGBA (four as last axis).
    cache_bytes : int
        Memory for decoded chunks, which neighbouring windows share.

    Returns
    -------
    Slide

    Raises
    ------
    SlideError
        If this is no OME-Zarr image, is a stack, states no pixel size, or needs a channel.
    """
    path = locate(path)
    group = _open_group(path)
    image = parse_multiscale(group.attrs.asdict(), path.name)
    arrays = _open_levels(group, image, path.name)
    stated = (image.mpp, "OME-Zarr scale") if image.mpp else None
    size, source = resolve_mpp(mpp, stated, path.name)
    return OmeZarrSlide(
        path,
        image,
        arrays,
        mpp=size,
        mpp_source=source,
        picture=picture,
        cache_bytes=cache_bytes,
    )


class OmeZarrSlide(Slide):
    """An OME-Zarr image as a slide; made by `open_ome_zarr`.

    Parameters
    ----------
    path : Path or Url
        Folder of the image.
    image : Multiscale
        Metadata of the image.
    arrays : sequence of zarr.Array
        One per level, axes as in `image.axes`.
    mpp : (float, float)
        Micrometres per pixel (y, x) of level 0.
    mpp_source : str
        Source of the pixel size, in words.
    picture : Picture
        As for `Slide`.
    cache_bytes : int
        Memory for decoded chunks.
    """

    def __init__(
        self,
        path: Location,
        image: Multiscale,
        arrays: Sequence[Array],
        *,
        mpp: Scale,
        mpp_source: str,
        picture: Picture,
        cache_bytes: int,
    ) -> None:
        self._arrays = tuple(arrays)
        self._cache = TileCache(cache_bytes)
        self._cache_bytes = cache_bytes
        self._axes = image.axes
        self._y, self._x = image.axes.index("y"), image.axes.index("x")
        self._channel = _pick_channel(image, arrays[0], picture.channel, path.name)
        shapes = [(array.shape[self._y], array.shape[self._x]) for array in arrays]
        super().__init__(
            name=path.name,
            level_shapes=shapes,
            channels=arrays[0].shape[image.axes.index("c")] if self._channel is None else 1,
            dtype=arrays[0].dtype.newbyteorder("="),
            mpp=mpp,
            mpp_source=mpp_source,
            format=f"OME-Zarr {image.version}",
            path=path,
            factors=image.factors(shapes),
            picture=picture,
        )

    def tile_shape(self, level: int) -> Shape:
        """Rows and columns of a chunk."""
        chunks = self._arrays[level].chunks
        return chunks[self._y], chunks[self._x]

    def close(self) -> None:
        """Drop the cached chunks."""
        self._cache.clear()

    def _read_inside(self, box: Box, level: int) -> NDArray[np.generic]:
        cell = self._cell(level)
        touched = box.scaled((1 / cell[0], 1 / cell[1])).area
        bytes_each = cell[0] * cell[1] * self.channels * self.dtype.itemsize
        if touched > _MOST_CELLS or touched * bytes_each > self._cache_bytes // 2:
            return self._read_array(box, level)
        pixels = np.empty((*box.shape, self.channels), self.dtype)
        try:
            at_once = _AT_ONCE if isinstance(self.path, Url) else 1
            self._cache.fill(pixels, box, level, cell, self._read_cell, at_once=at_once)
        except ReadError:  # the damaged chunk may be one that the box does not touch
            return self._read_array(box, level)
        return pixels

    def _cell(self, level: int) -> Shape:
        """Rows and columns that are read and cached at once: whole chunks."""
        rows, columns = (side * math.ceil(_CELL_PX / side) for side in self.tile_shape(level))
        return rows, columns

    def _read_cell(self, level: int, row: int, column: int) -> NDArray[np.generic]:
        rows, columns = self._cell(level)
        cell = Box.at(row * rows, column * columns, rows, columns)
        return self._read_array(cell.clip(self.level_shapes[level]), level)

    def _read_array(self, box: Box, level: int) -> NDArray[np.generic]:
        array = self._arrays[level]
        if math.prod(array.chunks) * self.dtype.itemsize < _ALONE_BYTES:
            return self._read_part(box, level)
        pixels = np.empty((*box.shape, self.channels), self.dtype)
        for part in box.blocks(self.tile_shape(level)):
            at = part.shift(-box.top, -box.left)
            pixels[at.slices] = self._read_part(part, level)
        return pixels

    def _read_part(self, box: Box, level: int) -> NDArray[np.generic]:
        rows, columns = box.slices
        wanted: dict[str, slice | int] = {"y": rows, "x": columns}
        wanted["c"] = slice(None) if self._channel is None else self._channel
        index = tuple(wanted.get(axis, 0) for axis in self._axes)
        try:
            pixels = np.asarray(self._arrays[level][index], self.dtype)
        except TwoStageError:
            raise
        except Exception as error:  # zarr's and its codecs' errors share no base class
            raise ReadError(
                f"{self.name} cannot be read at rows {box.top} to {box.bottom}, columns "
                f"{box.left} to {box.right} of level {level}: {reason_of(error)}"
            ) from error
        kept = [axis for axis in self._axes if isinstance(wanted.get(axis, 0), slice)]
        order = [kept.index(axis) for axis in ("y", "x", "c") if axis in kept]
        return np.ascontiguousarray(pixels.transpose(order)).reshape(*box.shape, self.channels)

    def fingerprint(self) -> str:
        """SHA-256 of the geometry and of evenly spread blocks of the finest and coarsest level."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        shapes = [array.shape for array in self._arrays]
        facts = [self._axes, shapes, str(self.dtype), self._channel]
        digest = hashlib.sha256(json.dumps(facts).encode())
        for level in sorted({0, len(self._arrays) - 1}):
            height, width = self.level_shapes[level]
            for top in _spread(height):
                for left in _spread(width):
                    box = Box.at(top, left, _SAMPLE_PX, _SAMPLE_PX).clip((height, width))
                    digest.update(self._read_sample(box, level))
        return digest.hexdigest()

    def _read_sample(self, box: Box, level: int) -> bytes:
        """Bytes of the pixels; a damaged chunk must not make the whole slide unusable."""
        try:
            return self._read_array(box, level).tobytes()
        except ReadError:
            return b"damaged"


def _pick_channel(
    image: Multiscale, array: Array, channel: int | str | None, name: str
) -> int | None:
    """Index of the channel to read; None for all of them as colours."""
    count = array.shape[image.axes.index("c")] if "c" in image.axes else 1
    last = image.axes[-1] == "c"
    colours = (count == 3 and (last or array.dtype == np.uint8)) or (count == 4 and last)
    if channel is None and colours:
        return None
    stated = image.channel_names
    names = [
        stated[index] if index < len(stated) and stated[index] else str(index)
        for index in range(count)
    ]
    try:
        return choose_channel(channel, names) or 0
    except SlideError as error:
        raise SlideError(f"{name} {error}") from None


def _open_group(path: Location) -> zarr.Group:
    """Open the group that holds one image's metadata."""
    if not isinstance(path, Url) and not path.exists():
        raise SlideError(f"{path} does not exist; check the path")
    node = open_node(path)
    if isinstance(node, zarr.Group) and _is_collection(node.attrs.asdict()):
        node = open_node(path / "0")
    if isinstance(node, zarr.Group):
        return node
    raise SlideError(
        f"{path.name} is a plain zarr array without OME metadata; open it with zarr "
        "and pass the array itself, with mpp=(y, x) in micrometres"
    )


def _is_collection(attributes: Mapping[str, Any]) -> bool:
    """Whether a group holds numbered images, as bioformats2raw writes them."""
    metadata = attributes.get("ome", attributes)
    return isinstance(metadata, dict) and "bioformats2raw.layout" in metadata


def _open_levels(group: zarr.Group, image: Multiscale, name: str) -> list[Array]:
    """Open the array of every level, and refuse those that cannot be a slide."""
    arrays = []
    for path in image.paths:
        try:
            array = group[path]
        except TwoStageError:
            raise
        except Exception as error:  # as when pixels are read
            raise SlideError(
                f"level {path} of {name}, promised by its metadata, cannot be opened "
                f"({reason_of(error)}); copy the image again"
            ) from error
        if not isinstance(array, zarr.Array) or array.ndim != len(image.axes):
            raise SlideError(
                f"level {path} of {name} is no array with axes {', '.join(image.axes)}; "
                "its metadata and its arrays contradict each other: convert the image again"
            )
        arrays.append(array)
    for array in arrays:
        _refuse_unusable(array, image.axes, name)
    for finer, coarser in pairwise(arrays):
        sides = zip(image.axes, finer.shape, coarser.shape, strict=True)
        fits = all(a >= b if axis in {"y", "x"} else a == b for axis, a, b in sides)
        if not fits or finer.dtype != coarser.dtype:
            raise SlideError(
                f"the levels of {name} are not one image at ever lower resolution, finest first; "
                "convert the image again"
            )
    plane = image.axes.index("y"), image.axes.index("x")
    return [
        within_limits(array, plane, f"level {path} of {name}")
        for array, path in zip(arrays, image.paths, strict=True)
    ]


def _refuse_unusable(array: Array, axes: tuple[str, ...], name: str) -> None:
    """Raise SlideError for stacks, empty planes and pixels that are not 8- or 16-bit."""
    for axis, length in zip(axes, array.shape, strict=True):
        if length == 0:
            raise SlideError(f"{name} has no pixels: its axis {axis} is of length 0")
        if axis == "c" and length > _CHANNELS:
            raise SlideError(
                f"{name} has {length} channels, at most {_CHANNELS} were expected; "
                "save the channels of interest as an image of their own"
            )
        if axis not in {"c", "y", "x"} and length > 1:
            raise SlideError(
                f"{name} has {length} planes along {axis}, expected a single 2-D plane; "
                f"save one {axis} plane as its own image"
            )
    if array.dtype.newbyteorder("=") not in (np.uint8, np.uint16):
        raise SlideError(
            f"{name} holds {array.dtype} pixels, expected uint8 or uint16; convert the image"
        )


def _spread(length: int) -> list[int]:
    """Starts of the fingerprint's blocks along an axis."""
    last = max(0, length - _SAMPLE_PX)
    return sorted({last * index // (_SAMPLES_PER_AXIS - 1) for index in range(_SAMPLES_PER_AXIS)})
