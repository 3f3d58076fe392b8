"""Zeiss CZI files, read with pylibCZIrw, an optional extra."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_twostage.errors import ReadError, SlideError, reason_of
from napari_twostage.slides.base import Slide
from napari_twostage.slides.channels import choose_channel, colour_channels
from napari_twostage.slides.czi_metadata import CziMetadata, parse_czi_metadata
from napari_twostage.slides.limits import check_sides
from napari_twostage.slides.pixel_size import resolve_mpp
from napari_twostage.slides.planes import (
    PROJECTION,
    as_pixels,
    choose_focal_plane,
    choose_time_point,
    maximum_over,
)
from napari_twostage.slides.sampling import sampled_fingerprint
from napari_twostage.slides.scenes import Scene, choose_scene

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_twostage.geometry import Box, Scale, Shape
    from napari_twostage.slides.picture import Picture

    Place = tuple[int, int, int, int]
    """Left, top, width and height of a scene, in pixels of the stage's plane."""

_TYPES: dict[str, type[np.generic]] = {
    "Gray8": np.uint8,
    "Gray16": np.uint16,
    "Gray32Float": np.float32,
    "Bgr24": np.uint8,
    "Bgr48": np.uint16,
    "Bgr96Float": np.float32,
}
_OTHER_AXES = {"R": "rotations", "I": "illuminations", "H": "phases", "V": "views"}
_WHITE = (1.0, 1.0, 1.0)
_BLACK = (0.0, 0.0, 0.0)


def open_czi(
    path: Path, *, mpp: Scale | None, picture: Picture, cache_bytes: int = 256 << 20
) -> Slide:
    """Open a CZI file.

    Parameters
    ----------
    path : Path
    mpp : (float, float) or None
        Micrometres per pixel (y, x) of level 0; overrides the file's own.
    picture : Picture
        Scene, channel, focal plane and time point; the largest scene by default.
    cache_bytes : int
        Memory for decompressed tiles.

    Raises
    ------
    SlideError
        If it cannot be opened, states no pixel size, or a choice is needed.
    """
    from pylibCZIrw.czi import CacheOptions, CacheType, CziReader

    try:
        cache = CacheOptions(CacheType.Standard, max_memory_usage=cache_bytes)
        reader = CziReader(str(path), cache_options=cache)
    except Exception as error:  # its library's errors share no base class
        raise SlideError(
            f"{path.name} is no readable CZI file ({reason_of(error)}); copy it again"
        ) from error
    try:
        scan = _choose(_Czi.of(reader), picture)
        stated = (scan.metadata.mpp, "CZI scaling") if scan.metadata.mpp else None
        size, source = resolve_mpp(mpp, stated, path.name)
    except SlideError as error:
        reader.close()
        if str(error).startswith(path.name):
            raise
        raise SlideError(f"{path.name} {error}") from None
    except Exception as error:
        reader.close()
        raise SlideError(
            f"{path.name} has unreadable metadata ({reason_of(error)}); copy it again"
        ) from error
    return CziSlide(path, scan, mpp=size, mpp_source=source)


@dataclass(frozen=True, slots=True)
class _Czi:
    """An open file, and what it holds."""

    reader: Any
    metadata: CziMetadata
    places: Mapping[int | None, Place]
    """Scenes by the file's number; one of number None in files without scenes."""
    lengths: Mapping[str, int]
    """Planes along each axis but y and x."""

    @classmethod
    def of(cls, reader: Any) -> _Czi:  # noqa: ANN401 - its library is untyped
        """Read what an open file states."""
        bounds = reader.total_bounding_box
        lengths = {axis: stop - start for axis, (start, stop) in bounds.items()}
        scenes = reader.scenes_bounding_rectangle_no_pyramid
        places: dict[int | None, Place] = {key: tuple(one) for key, one in sorted(scenes.items())}
        if not places:
            places[None] = tuple(reader.total_bounding_rectangle_no_pyramid)
        return cls(reader, parse_czi_metadata(reader.raw_metadata), places, lengths)

    def length(self, axis: str) -> int:
        """Planes along an axis; 1 along one that the file lacks."""
        return self.lengths.get(axis, 1)

    @property
    def scenes(self) -> list[Scene]:
        """All scenes, in the order of `places`."""
        names = self.metadata.scene_names
        return [
            Scene(names.get(number or 0, str(number or 0)), (height, width), self.metadata.mpp)
            for number, (_, _, width, height) in self.places.items()
        ]


@dataclass(frozen=True, slots=True)
class _Scan:
    """The picture of a file that is read."""

    file: _Czi
    number: int | None
    """The file's number of the scene."""
    picture: Picture
    channels: tuple[int, ...]
    """Index of one channel, or of three grey ones that are colours."""
    kind: str
    """The library's name of the type of pixels."""
    z: int | Literal["max"]
    t: int
    factors: tuple[int, ...]
    """Level-0 pixels per pixel of each level."""

    @property
    def metadata(self) -> CziMetadata:
        return self.file.metadata

    @property
    def place(self) -> Place:
        return self.file.places[self.number]

    @property
    def is_colour(self) -> bool:
        """Whether each pixel of a channel has three colours."""
        return self.kind.startswith("Bgr")


def _choose(file: _Czi, picture: Picture) -> _Scan:
    for axis, noun in _OTHER_AXES.items():
        if file.length(axis) > 1:
            raise SlideError(
                f"has {file.length(axis)} {noun} (axis {axis}), a slide has one; export one of "
                "them as OME-TIFF"
            )
    index = choose_scene(picture.scene, file.scenes)
    if len(file.places) > 1:
        picture = replace(picture, scene=index)
    number = list(file.places)[index]
    _, _, width, height = file.places[number]
    check_sides(height, width)
    kinds = file.reader.pixel_types
    names = file.metadata.names_of(file.length("C"))
    channels = _choose_channels(picture, names, kinds)
    kind = kinds.get(channels[0], "unknown")
    if kind not in _TYPES:
        raise SlideError(f"has {kind} pixels, grey or RGB were expected; export it as OME-TIFF")
    return _Scan(
        file,
        number,
        picture,
        channels,
        kind,
        choose_focal_plane(picture, file.length("Z")),
        choose_time_point(picture, file.length("T")),
        _pyramid_factors(file, number, channels[0]),
    )


def _choose_channels(
    picture: Picture, names: tuple[str, ...], kinds: Mapping[int, str]
) -> tuple[int, ...]:
    if len(names) == 1 and kinds.get(0, "").startswith("Bgr"):
        return (choose_channel(None if picture.channel == "rgb" else picture.channel, names) or 0,)
    colours = colour_channels(picture.channel, names)
    return colours or (choose_channel(picture.channel, names) or 0,)


def _pyramid_factors(file: _Czi, number: int | None, channel: int) -> tuple[int, ...]:
    """Factors of the levels that the file stores for a scene, finest first."""
    found = {1}

    def look(_: int, block: Any) -> bool:  # noqa: ANN401
        covered, stored = block.logicalRect, block.physicalSize
        factor = round(max(covered.w, covered.h) / max(1, stored.w, stored.h))
        # sizes of tiles at an edge are rounded, and those of small ones tell nothing
        if max(stored.w, stored.h) > 2 * factor:
            found.add(factor)
        return True

    file.reader.enumerate_subblocks_subset(look, roi=file.places[number], plane={"C": channel})
    shorter = min(file.places[number][2:])
    return tuple(one for one in sorted(found) if shorter >= one)


class CziSlide(Slide):
    """A scene of a CZI file; made by `open_czi`.

    Parameters
    ----------
    path : Path
        CZI file.
    scan : _Scan
        The picture in it.
    mpp : (float, float)
        Micrometres per pixel (y, x) of level 0.
    mpp_source : str
        Source of the pixel size, in words.
    """

    def __init__(self, path: Path, scan: _Scan, *, mpp: Scale, mpp_source: str) -> None:
        self._scan = scan
        self._reading = threading.Lock()  # its library's reader is not said to be thread-safe
        _, _, width, height = scan.place
        scenes = scan.file.scenes
        names = scan.metadata.names_of(scan.file.length("C"))
        colours = scan.metadata.channel_colours
        super().__init__(
            name=path.name,
            level_shapes=[(height // factor, width // factor) for factor in scan.factors],
            channels=3 if scan.is_colour else len(scan.channels),
            dtype=np.dtype(_TYPES[scan.kind]),
            mpp=mpp,
            mpp_source=mpp_source,
            format="Zeiss CZI",
            path=path,
            factors=[(float(factor), float(factor)) for factor in scan.factors],
            picture=scan.picture,
            scenes=scenes if len(scenes) > 1 else (),
            channel_names=names if len(names) > 1 else (),
            channel_colours=colours if len(colours) == len(names) > 1 else (),
            focal_planes=scan.file.length("Z"),
        )

    def tile_shape(self, level: int) -> Shape:
        """Rows and columns that are read at once; the library places the file's own tiles."""
        height, width = self.level_shapes[level]
        return min(1024, height), min(1024, width)

    def _read_inside(self, box: Box, level: int) -> NDArray[np.generic]:
        scan = self._scan
        if scan.z == PROJECTION:
            planes = range(scan.file.length("Z"))
            return maximum_over(planes, lambda z: self._read_plane(box, level, z))
        return self._read_plane(box, level, scan.z)

    def _read_plane(self, box: Box, level: int, z: int) -> NDArray[np.generic]:
        parts = [self._read_channel(box, level, z, channel) for channel in self._scan.channels]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)

    def _read_channel(self, box: Box, level: int, z: int, channel: int) -> NDArray[np.generic]:
        scan, factor = self._scan, self._scan.factors[level]
        left, top, _, _ = scan.place
        roi = (left + box.left * factor, top + box.top * factor, box.width * factor,
               box.height * factor)  # fmt: skip
        try:
            with self._reading:
                pixels = scan.file.reader.read(
                    roi=roi,
                    plane={"C": channel, "Z": z, "T": scan.t},
                    scene=scan.number,
                    zoom=1 / factor,
                    background_pixel=_WHITE if scan.is_colour else _BLACK,
                )
        except Exception as error:  # its library's errors share no base class
            raise ReadError(
                f"{self.name} cannot be read at rows {box.top} to {box.bottom}, columns "
                f"{box.left} to {box.right} of level {level}: {reason_of(error)}"
            ) from error
        whole = as_pixels(np.array(pixels[: box.height, : box.width]))
        return whole[..., ::-1] if scan.is_colour else whole  # blue comes first

    def fingerprint(self) -> str:
        """SHA-256 of the geometry and of a fixed sample of pixels."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        scan = self._scan
        choice = (scan.number, scan.channels, scan.z, scan.t)
        return sampled_fingerprint(self, "CZI", self.level_shapes, self.dtype.str, choice)

    def close(self) -> None:
        """Close the file."""
        with self._reading:
            self._scan.file.reader.close()
