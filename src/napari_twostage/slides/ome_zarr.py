"""OME-Zarr images, versions 0.1 to 0.4 (zarr 2) and 0.5 (zarr 3)."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_twostage.errors import (
    MissingPixelSizeError,
    ReadError,
    SlideError,
    TwoStageError,
    reason_of,
)
from napari_twostage.geometry import Box
from napari_twostage.io.paths import locate
from napari_twostage.io.url import Url
from napari_twostage.slides.base import Slide
from napari_twostage.slides.ngff_image import choose_image
from napari_twostage.slides.ngff_units import is_unknown
from napari_twostage.slides.picture import WHOLE, Picture
from napari_twostage.slides.pixel_size import HOW_TO_STATE_MPP, resolve_mpp
from napari_twostage.slides.planes import (
    PROJECTION,
    as_pixels,
    choose_focal_plane,
    choose_time_point,
    maximum_over,
    pixel_type,
)
from napari_twostage.slides.resample import resample, source_box
from napari_twostage.slides.tile_cache import TileCache
from napari_twostage.slides.zarr_gaps import ChunkGaps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_twostage.geometry import Scale, Shape
    from napari_twostage.io.paths import Location
    from napari_twostage.slides.ngff_image import NgffImage
    from napari_twostage.slides.scenes import Scene

_CELL_PX = 512
"""Least side of the cells that are read and cached: each call of zarr costs a millisecond."""
_MOST_CELLS = 16
"""Boxes of more cells are read in one call: zarr fetches their chunks concurrently."""
_ALONE_BYTES = 32 << 20
"""Size of chunks that are decoded one after the other, to bound the memory."""

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
    labels: bool = False,
) -> Slide:
    """Open the folder of an OME-Zarr image, or of several.

    Parameters
    ----------
    path : str, Path or Url
        Folder of an image, of a well or a plate, or one written by bioformats2raw.
    mpp : float or (float, float), optional
        Micrometres per pixel (y, x) of level 0; overrides the metadata.
    picture : Picture
        What to read. Of several images the largest scan is the default. No channel is needed
        for a grey image, for RGB (three 8-bit channels whose names or colours do not say
        otherwise, or three as last axis), or RGBA (four as last axis).
    cache_bytes : int
        Memory for decoded chunks, which neighbouring windows share.
    labels : bool
        Whether labels, a segmentation of another image, may be opened.

    Returns
    -------
    Slide

    Raises
    ------
    SlideError
        If this is no OME-Zarr image, states no pixel size, or needs the choice of a channel, a
        focal plane or a time point.
    """
    path = locate(path)
    image, scenes, picture = choose_image(path, picture)
    if image.metadata.is_labels and not labels:
        raise SlideError(
            f"{path.name} holds labels, a segmentation, no picture; open the image that they "
            "belong to, the folder that has this one under labels/"
        )
    try:
        planes = _choose_planes(image, picture)
    except SlideError as error:
        raise SlideError(f"{path.name} {error}") from None
    size, source = resolve_mpp(
        mpp, _stated_size(image, path.name, given=mpp is not None), path.name
    )
    return OmeZarrSlide(
        path,
        image,
        planes,
        mpp=size,
        mpp_source=source,
        picture=picture,
        scenes=scenes,
        cache_bytes=cache_bytes,
    )


def _stated_size(image: NgffImage, name: str, *, given: bool) -> tuple[Scale, str] | None:
    """The metadata's pixel size and its source, if they state one."""
    metadata = image.metadata
    if metadata.scales is None and not given:
        raise MissingPixelSizeError(
            f"{name} is OME-Zarr {metadata.version}, which states no pixel size; {HOW_TO_STATE_MPP}"
        )
    unknown = next((unit for unit in metadata.units if is_unknown(unit)), None)
    if unknown is not None and not given:
        raise MissingPixelSizeError(
            f"{name} states its pixel size in {unknown!r}, which is no unit of length that is "
            f"known; {HOW_TO_STATE_MPP}"
        )
    return (metadata.mpp, "OME-Zarr scale") if metadata.mpp else None


@dataclass(frozen=True, slots=True)
class _Planes:
    """The planes of an image that are read."""

    channel: int | tuple[int, ...]
    """Index of a channel, or of those that are colours, in their order."""
    z: int | Literal["max"]
    t: int


def _choose_planes(image: NgffImage, picture: Picture) -> _Planes:
    return _Planes(
        image.choose_channel(picture.channel),
        choose_focal_plane(picture, image.length("z")),
        choose_time_point(picture, image.length("t")),
    )


class OmeZarrSlide(Slide):
    """An OME-Zarr image as a slide; made by `open_ome_zarr`.

    Parameters
    ----------
    path : Path or Url
        Folder that was opened.
    image : NgffImage
        The image in it, its metadata and arrays.
    planes : _Planes
        Channel, focal plane and time point.
    mpp : (float, float)
        Micrometres per pixel (y, x) of level 0.
    mpp_source : str
        Source of the pixel size, in words.
    picture, scenes
        As for `Slide`.
    cache_bytes : int
        Memory for decoded chunks.
    """

    def __init__(
        self,
        path: Location,
        image: NgffImage,
        planes: _Planes,
        *,
        mpp: Scale,
        mpp_source: str,
        picture: Picture,
        scenes: Sequence[Scene],
        cache_bytes: int,
    ) -> None:
        self._arrays = image.arrays
        self._cache = TileCache(cache_bytes)
        self._cache_bytes = cache_bytes
        self._planes = planes
        self._axes = image.metadata.axes
        self._y, self._x = image.plane
        self._projected = range(image.length("z")) if planes.z == PROJECTION else None
        super().__init__(
            name=path.name,
            level_shapes=image.shapes,
            channels=1 if isinstance(planes.channel, int) else len(planes.channel),
            dtype=pixel_type(image.arrays[0].dtype),
            mpp=mpp,
            mpp_source=mpp_source,
            format=f"OME-Zarr {image.metadata.version}",
            path=path,
            factors=image.factors,
            picture=picture,
            scenes=scenes,
            channel_names=image.channel_names,
            channel_colours=image.channel_colours,
            focal_planes=image.length("z"),
        )
        self.notices += image.notices
        self._gaps = self._find_gaps(image)

    def _find_gaps(self, image: NgffImage) -> ChunkGaps | None:
        if isinstance(image.place, Url) or len(image.arrays) == 1:
            return None
        read = {"c": self._planes.channel, "z": self._planes.z, "t": self._planes.t}
        others = {
            self._axes.index(axis): range(at, at + 1)
            if isinstance(at, int)
            else range(image.length(axis))
            for axis, at in read.items()
            if axis in self._axes
        }
        return ChunkGaps(image.place, image.arrays, image.plane, others, self.factors)

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
        pixels = self._read_stored(box, level)
        for gap in self._gaps.within(box, level) if self._gaps else ():
            finer = tuple(
                a / b for a, b in zip(self.factors[level], self.factors[level - 1], strict=True)
            )
            step = (finer[0], finer[1])
            source = self.read(source_box(gap, step), level - 1)
            pixels[gap.shift(-box.top, -box.left).slices] = resample(source, gap, step)
        return pixels

    def _read_stored(self, box: Box, level: int) -> NDArray[np.generic]:
        array = self._arrays[level]
        if math.prod(array.chunks) * self.dtype.itemsize < _ALONE_BYTES:
            return self._read_part(box, level)
        pixels = np.empty((*box.shape, self.channels), self.dtype)
        for part in box.blocks(self.tile_shape(level)):
            at = part.shift(-box.top, -box.left)
            pixels[at.slices] = self._read_part(part, level)
        return pixels

    def _read_part(self, box: Box, level: int) -> NDArray[np.generic]:
        if self._projected is None:
            return self._read_plane(box, level, self._planes.z)
        return maximum_over(self._projected, lambda z: self._read_plane(box, level, z))

    def _read_plane(self, box: Box, level: int, z: int | str) -> NDArray[np.generic]:
        rows, columns = box.slices
        channel = self._planes.channel
        wanted: dict[str, slice | int | str] = {
            "y": rows,
            "x": columns,
            "z": z,
            "t": self._planes.t,
        }
        wanted["c"] = channel if isinstance(channel, int) else slice(None)
        index: Any = tuple(wanted.get(axis, 0) for axis in self._axes)
        try:
            pixels = as_pixels(np.asarray(self._arrays[level][index]))
        except TwoStageError:
            raise
        except Exception as error:  # zarr's and its codecs' errors share no base class
            raise ReadError(
                f"{self.name} cannot be read at rows {box.top} to {box.bottom}, columns "
                f"{box.left} to {box.right} of level {level}: {reason_of(error)}"
            ) from error
        kept = [axis for axis in self._axes if isinstance(wanted.get(axis, 0), slice)]
        order = [kept.index(axis) for axis in ("y", "x", "c") if axis in kept]
        pixels = pixels.transpose(order).reshape(*box.shape, self.channels)
        if not isinstance(channel, int) and channel != tuple(range(self.channels)):
            pixels = pixels[..., channel]
        return np.ascontiguousarray(pixels)

    def fingerprint(self) -> str:
        """SHA-256 of the geometry and of evenly spread blocks of the finest and coarsest level."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        shapes = [array.shape for array in self._arrays]
        stored = self._arrays[0].dtype.newbyteorder("=")
        channel = self._planes.channel
        # None for colours in their usual order, as in the records of older versions
        usual = channel == tuple(range(self.channels))
        facts: list[Any] = [self._axes, shapes, str(stored), None if usual else channel]
        if (self._planes.z, self._planes.t) != (0, 0):
            facts += [self._planes.z, self._planes.t]
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
            return self._read_stored(box, level).tobytes()
        except ReadError:
            return b"damaged"


def _spread(length: int) -> list[int]:
    """Starts of the fingerprint's blocks along an axis."""
    last = max(0, length - _SAMPLE_PX)
    return sorted({last * index // (_SAMPLES_PER_AXIS - 1) for index in range(_SAMPLES_PER_AXIS)})
