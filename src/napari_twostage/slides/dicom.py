"""DICOM whole slides, read with wsidicom, an optional extra."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_twostage.errors import ReadError, SlideError, TwoStageError, reason_of
from napari_twostage.geometry import Box
from napari_twostage.slides.base import Slide
from napari_twostage.slides.channels import choose_channel, colour_channels
from napari_twostage.slides.dicom_files import scans_of
from napari_twostage.slides.factors import stated_factors, whole_factors
from napari_twostage.slides.limits import check_sides
from napari_twostage.slides.picture import COLOURS
from napari_twostage.slides.pixel_size import resolve_mpp
from napari_twostage.slides.planes import (
    PROJECTION,
    as_pixels,
    choose_focal_plane,
    choose_time_point,
    maximum_over,
    pixel_type,
)
from napari_twostage.slides.sampling import sampled_fingerprint
from napari_twostage.slides.scenes import Scene, choose_scene
from napari_twostage.slides.tile_cache import TileCache

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_twostage.geometry import Scale, Shape
    from napari_twostage.slides.picture import Picture


def open_dicom(
    path: Path, *, mpp: Scale | None, picture: Picture, cache_bytes: int = 256 << 20
) -> Slide:
    """Open a DICOM whole slide.

    Parameters
    ----------
    path : Path
        Folder of its files, or one of them.
    mpp : (float, float) or None
        Micrometres per pixel (y, x) of level 0; overrides the file's own.
    picture : Picture
        Scene, and of fluorescence the channel: an optical path; and focal plane.
    cache_bytes : int
        Memory for decoded tiles.

    Raises
    ------
    SlideError
        If it cannot be opened, states no pixel size, or a choice is needed.
    """
    opened: list[Any] = []
    try:
        pictures = _pictures(path, opened)
        scenes = [one.scene for one in pictures]
        index = choose_scene(picture.scene, scenes)
        if len(pictures) > 1:
            picture = replace(picture, scene=index)
        scan = _choose_planes(pictures[index], picture)
        stated = (scan.picture.scene.mpp, "DICOM Pixel Spacing") if scan.picture.scene.mpp else None
        size, source = resolve_mpp(mpp, stated, path.name)
    except SlideError as error:
        _close(opened)
        if str(error).startswith(path.name):
            raise
        raise SlideError(f"{path.name} {error}") from None
    except BaseException:
        _close(opened)
        raise
    return DicomSlide(
        path,
        scan,
        opened,
        mpp=size,
        mpp_source=source,
        picture=picture,
        scenes=scenes if len(scenes) > 1 else (),
        cache_bytes=cache_bytes,
    )


@dataclass(frozen=True, slots=True)
class _DicomPicture:
    """A pyramid, a label or an overview of a slide."""

    scene: Scene
    levels: tuple[Any, ...]
    """Groups of instances of wsidicom, finest first."""
    names: dict[str, str]
    """Description of each optical path, by its identifier."""


@dataclass(frozen=True, slots=True)
class _Scan:
    """What is read of a picture."""

    picture: _DicomPicture
    paths: tuple[str, ...]
    """Identifiers of the optical paths that are read."""
    channel_names: tuple[str, ...]
    z: tuple[float, ...]
    """Focal planes that are read, in micrometres; the maximum of several."""
    focal_planes: int
    """Number of focal planes that there are."""


def _close(opened: list[Any]) -> None:
    for one in opened:
        one.close()


def _pictures(path: Path, opened: list[Any]) -> list[_DicomPicture]:
    """All pictures of a folder, scans first; `opened` takes what is to be closed."""
    from wsidicom import WsiDicom

    found, others = [], {}
    for files in scans_of(path):
        try:
            slide = WsiDicom.open(files)
            opened.append(slide)
            found += [_pyramid(pyramid) for pyramid in slide.pyramids]
            for kind in ("label", "overview"):
                for group in getattr(slide, f"{kind}s") or ():
                    others[str(group.default_instance.identifier)] = _beside(group, kind)
        except TwoStageError:
            raise
        except Exception as error:  # its library's errors share no base class
            raise SlideError(
                f"is no readable DICOM whole slide ({reason_of(error)}); copy all its files again"
            ) from error
    scans = [
        replace(one, scene=replace(one.scene, name=str(number))) for number, one in enumerate(found)
    ]
    return [*scans, *others.values()]


def _pyramid(pyramid: Any) -> _DicomPicture:  # noqa: ANN401 - its library's types are not exported
    levels = tuple(pyramid.levels)
    base = levels[0]
    spacing = base.pixel_spacing
    mpp = (spacing.height * 1e3, spacing.width * 1e3) if spacing else None
    paths = pyramid.metadata.optical_paths
    names = {str(one.identifier): one.description or str(one.identifier) for one in paths}
    return _DicomPicture(Scene("", _shape(base), mpp), levels, names)


def _beside(group: Any, kind: str) -> _DicomPicture:  # noqa: ANN401
    return _DicomPicture(Scene(kind, _shape(group), scan=False), (group,), {})


def _shape(group: Any) -> Shape:  # noqa: ANN401
    return int(group.size.height), int(group.size.width)


def _choose_planes(picture: _DicomPicture, wanted: Picture) -> _Scan:
    for level in picture.levels:
        check_sides(*_shape(level))
    base = picture.levels[0]
    # the library does not keep their order, the metadata do
    paths = sorted(map(str, base.optical_paths))
    paths.sort(key=lambda one: [*picture.names, one].index(one))
    names = tuple(picture.names.get(one, one) for one in paths)
    choose_time_point(wanted, 1)
    samples = base.default_instance.image_data.samples_per_pixel
    if samples >= 3 and len(paths) == 1 and wanted.channel in {None, 0, "0", COLOURS}:
        channels: tuple[int, ...] = (0,)
    else:
        found = colour_channels(wanted.channel, names) if samples == 1 else None
        channels = found or (choose_channel(wanted.channel, names) or 0,)
    focal = sorted(base.focal_planes_by_optical_path[paths[channels[0]]])
    z = choose_focal_plane(wanted, len(focal))
    return _Scan(
        picture,
        tuple(paths[one] for one in channels),
        names if len(names) > 1 else (),
        tuple(focal) if z == PROJECTION else (focal[z],),
        len(focal),
    )


class DicomSlide(Slide):
    """A DICOM whole slide; made by `open_dicom`.

    Parameters
    ----------
    path : Path
        File or folder that was opened.
    scan : _Scan
        What is read of it.
    opened : list
        wsidicom's slides, closed with this one.
    mpp, mpp_source, picture, scenes
        As for `Slide`.
    cache_bytes : int
        Memory for decoded tiles.
    """

    def __init__(
        self,
        path: Path,
        scan: _Scan,
        opened: list[Any],
        *,
        mpp: Scale,
        mpp_source: str,
        picture: Picture,
        scenes: Sequence[Scene],
        cache_bytes: int,
    ) -> None:
        self._scan = scan
        self._opened = opened
        self._levels = scan.picture.levels
        self._cache = TileCache(cache_bytes)
        image = self._levels[0].default_instance.image_data
        shapes = [_shape(level) for level in self._levels]
        super().__init__(
            name=path.name,
            level_shapes=shapes,
            channels=len(scan.paths) if image.samples_per_pixel == 1 else 3,
            dtype=pixel_type(np.dtype(image.dtype)),
            mpp=mpp,
            mpp_source=mpp_source,
            format="DICOM",
            path=path,
            factors=self._stated_factors(shapes),
            picture=picture,
            scenes=scenes,
            channel_names=scan.channel_names,
            focal_planes=scan.focal_planes,
        )

    def _stated_factors(self, shapes: list[Shape]) -> tuple[Scale, ...]:
        spacings = [level.pixel_spacing for level in self._levels]
        tiles = [self.tile_shape(level) for level in range(len(shapes))]
        if len(shapes) == 1 or None in spacings:
            return stated_factors([(1.0, 1.0)], shapes[:1], tiles)
        ratios = [
            (one.height / spacings[0].height, one.width / spacings[0].width) for one in spacings
        ]
        return stated_factors(whole_factors(ratios), shapes, tiles)

    def tile_shape(self, level: int) -> Shape:
        """Rows and columns of a frame."""
        size = self._levels[level].default_instance.tile_size
        return int(size.height), int(size.width)

    def _read_inside(self, box: Box, level: int) -> NDArray[np.generic]:
        pixels = np.empty((*box.shape, self.channels), self.dtype)
        self._cache.fill(pixels, box, level, self.tile_shape(level), self._read_tile)
        return pixels

    def _read_tile(self, level: int, row: int, column: int) -> NDArray[np.generic]:
        rows, columns = self.tile_shape(level)
        tile = Box.at(row * rows, column * columns, rows, columns).clip(self.level_shapes[level])
        parts = [self._read_path(tile, level, path) for path in self._scan.paths]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)

    def _read_path(self, box: Box, level: int, path: str) -> NDArray[np.generic]:
        focal = self._scan.z
        planes = range(len(focal))
        return maximum_over(planes, lambda z: self._read_region(box, level, focal[z], path))

    def _read_region(self, box: Box, level: int, z: float, path: str) -> NDArray[np.generic]:
        from wsidicom.geometry import Point, Region, Size
        from wsidicom.thread import ReadExecutor

        region = Region(Point(box.left, box.top), Size(box.width, box.height))
        try:
            with ReadExecutor(1, None) as executor:
                pixels = self._levels[level].get_region(region, z, path, executor=executor)
        except Exception as error:  # its library's errors share no base class
            raise ReadError(
                f"{self.name} cannot be read at rows {box.top} to {box.bottom}, columns "
                f"{box.left} to {box.right} of level {level}: {reason_of(error)}"
            ) from error
        return as_pixels(np.asarray(pixels)).reshape(*box.shape, -1)

    def fingerprint(self) -> str:
        """SHA-256 of the geometry, of the unique names of the images and a sample of pixels."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        names = [sorted(map(str, level.instances)) for level in self._levels]
        choice = (self._scan.paths, self._scan.z)
        return sampled_fingerprint(self, "DICOM", self.level_shapes, names, choice)

    def close(self) -> None:
        """Close the files."""
        self._cache.clear()
        _close(self._opened)
