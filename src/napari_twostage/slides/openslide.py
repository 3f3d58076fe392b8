"""Slides read with OpenSlide, an optional extra: MIRAX, DICOM, CZI and others."""

from __future__ import annotations

import ctypes
import hashlib
import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_twostage.errors import ReadError, SlideError, reason_of
from napari_twostage.geometry import Box
from napari_twostage.slides.arrays import ArraySlide
from napari_twostage.slides.base import Slide
from napari_twostage.slides.factors import stated_factors, whole_factors
from napari_twostage.slides.limits import check_sides
from napari_twostage.slides.picture import COLOURS, WHOLE, Picture, refuse_choices
from napari_twostage.slides.pixel_size import resolve_mpp
from napari_twostage.slides.scenes import Scene, choose_scene
from napari_twostage.slides.view import on_white

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import openslide
    from numpy.typing import NDArray

    from napari_twostage.geometry import Scale, Shape


def open_with_openslide(
    path: str | Path, *, mpp: float | Scale | None = None, picture: Picture = WHOLE
) -> Slide:
    """Open a slide file with the OpenSlide library.

    Parameters
    ----------
    path : str or Path
        File of any format of OpenSlide.
    mpp : float or (float, float), optional
        Micrometres per pixel (y, x) of level 0; overrides the file's own.
    picture : Picture
        As for `Slide`.

    Returns
    -------
    Slide
        8-bit RGB over OpenSlide's whole plane, white outside the scanned area, so that
        positions are those of other software that does not crop. `Slide.bounds` is the area
        that others crop to.

    Raises
    ------
    SlideError
        If OpenSlide is not installed, cannot open the file, or finds no pixel size; or if another
        scene, channel or plane is chosen than there is.
    """
    path = Path(path)
    try:
        import openslide
    except ImportError as error:
        raise SlideError(
            f"{path.name} needs OpenSlide, which is not installed; "
            "run: pip install 'napari-twostage[openslide]'"
        ) from error
    if not path.exists():
        raise SlideError(f"{path} does not exist; check the path")
    try:
        handle = openslide.OpenSlide(path)
    except (openslide.OpenSlideError, OSError, ValueError) as error:
        raise SlideError(
            f"{path.name} cannot be opened with OpenSlide ({reason_of(error)}); "
            "expected a whole-slide image, complete with its companion files"
        ) from error
    try:
        _check_levels(handle, path.name)
        scenes = _scenes(handle)
        number = _choose(picture, scenes, path.name)
        stated = None if number else _stated_mpp(handle)
        size, source = resolve_mpp(mpp, stated, path.name)
    except SlideError:
        handle.close()
        raise
    if len(scenes) > 1:
        picture = replace(picture, scene=number)
    if number:
        return _beside(path, handle, scenes, mpp=size, mpp_source=source, picture=picture)
    return OpenSlideSlide(path, handle, mpp=size, mpp_source=source, picture=picture, scenes=scenes)


def _scenes(handle: openslide.OpenSlide) -> list[Scene]:
    """The scan, then the label, macro picture and the like."""
    width, height = handle.dimensions
    stated = _stated_mpp(handle)
    scenes = [Scene("scan", (height, width), stated[0] if stated else None)]
    for name in sorted(handle.associated_images):
        sides = [
            handle.properties.get(f"openslide.associated.{name}.{side}", "0")
            for side in ("height", "width")
        ]
        scenes.append(Scene(name, (int(sides[0]), int(sides[1])), scan=False))
    return scenes


def _choose(picture: Picture, scenes: list[Scene], name: str) -> int:
    try:
        refuse_choices(picture, "z", "t")
        if picture.channel != COLOURS:
            refuse_choices(picture, "channel")
        return choose_scene(picture.scene, scenes)
    except SlideError as error:
        raise SlideError(f"{name} {error}") from None


def _beside(
    path: Path,
    handle: openslide.OpenSlide,
    scenes: list[Scene],
    *,
    mpp: Scale,
    mpp_source: str,
    picture: Picture,
) -> Slide:
    """Slide of a label, macro picture or the like, which is read as a whole."""
    name = scenes[int(picture.scene or 0)].name
    with handle:
        pixels = on_white(np.asarray(handle.associated_images[name]))
    slide = ArraySlide(
        [pixels],
        name=path.name,
        mpp=mpp,
        mpp_source=mpp_source,
        format=f"{name} through OpenSlide",
        path=path,
        picture=picture,
        channel_axis=2,
    )
    slide.scenes = tuple(scenes)
    return slide


def _check_levels(handle: openslide.OpenSlide, name: str) -> None:
    """Refuse levels without pixels, or longer than any slide."""
    for width, height in handle.level_dimensions:
        try:
            check_sides(height, width)
        except SlideError as error:
            raise SlideError(f"{name} {error}") from None


class OpenSlideSlide(Slide):
    """A file read with OpenSlide; made by `open_with_openslide`.

    Parameters
    ----------
    path : Path
        Slide file.
    handle : openslide.OpenSlide
        Open handle of the file, closed with this slide.
    mpp : (float, float)
        Micrometres per pixel (y, x) of level 0.
    mpp_source : str
        Source of the pixel size, in words.
    picture, scenes
        As for `Slide`.
    """

    def __init__(
        self,
        path: Path,
        handle: openslide.OpenSlide,
        *,
        mpp: Scale,
        mpp_source: str,
        picture: Picture,
        scenes: Sequence[Scene] = (),
    ) -> None:
        self._file = path
        self._handle = handle
        self._reopening = threading.Lock()
        self._downsamples = handle.level_downsamples
        self._properties = dict(handle.properties)
        shapes = [(height, width) for width, height in handle.level_dimensions]
        tiles = [self.tile_shape(level) for level in range(len(shapes))]
        ratios = whole_factors([(ratio, ratio) for ratio in self._downsamples])
        super().__init__(
            name=path.name,
            level_shapes=shapes,
            channels=3,
            dtype=np.dtype(np.uint8),
            mpp=mpp,
            mpp_source=mpp_source,
            format=f"{self._properties.get('openslide.vendor', 'unknown')} through OpenSlide",
            path=path,
            bounds=_stated_bounds(self._properties, handle.level_dimensions[0]),
            factors=stated_factors(ratios, shapes, tiles),
            picture=picture,
            scenes=scenes if len(scenes) > 1 else (),
        )

    def __reduce__(self) -> tuple[Any, ...]:
        arguments = self._file.absolute(), self.mpp, self.mpp_source, self.picture
        return _reopen, arguments

    def tile_shape(self, level: int) -> Shape:
        """Rows and columns of a tile, as OpenSlide states them; 1024 × 1024 if it does not."""
        sides = [
            self._properties.get(f"openslide.level[{level}].tile-{side}")
            for side in ("height", "width")
        ]
        if sides[0] is None or sides[1] is None:
            return super().tile_shape(level)
        return max(1, int(sides[0])), max(1, int(sides[1]))

    def _read_inside(self, box: Box, level: int) -> NDArray[np.generic]:
        import openslide

        # OpenSlide takes the corner in level-0 pixels, by its own downsample of the level
        factor = self._downsamples[level]
        corner = (round(box.left * factor), round(box.top * factor))
        handle = self._handle
        try:
            image = handle.read_region(corner, level, (box.width, box.height))
        except openslide.OpenSlideError as error:
            self._reopen(handle)
            raise ReadError(
                f"{self.name} cannot be read at rows {box.top} to {box.bottom}, columns "
                f"{box.left} to {box.right} of level {level}: {reason_of(error)}"
            ) from error
        except ctypes.ArgumentError as error:  # what the binding makes of a closed handle
            raise ReadError(f"{self.name} was closed; open the slide again") from error
        return on_white(np.asarray(image))

    def _reopen(self, broken: openslide.OpenSlide) -> None:
        """Replace a handle that met a damaged tile: OpenSlide refuses further reads with it.

        The old handle stays open for the threads that still read with it.
        """
        import openslide

        with self._reopening:
            if self._handle is broken:
                self._handle = openslide.OpenSlide(self._file)

    def fingerprint(self) -> str:
        """SHA-256 of the file's properties, including OpenSlide's quick hash of its pixels."""
        facts = [self.level_shapes, sorted(self._properties.items())]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def close(self) -> None:
        """Close the file."""
        self._handle.close()


def _reopen(path: Path, mpp: Scale, mpp_source: str, picture: Picture) -> Slide:
    slide = open_with_openslide(path, mpp=mpp, picture=picture)
    slide.mpp_source = mpp_source
    return slide


def _stated_mpp(handle: openslide.OpenSlide) -> tuple[Scale, str] | None:
    """Micrometres per pixel (y, x) as OpenSlide states them, with the source; else None."""
    y, x = (handle.properties.get(f"openslide.mpp-{axis}") for axis in ("y", "x"))
    if not y or not x:
        return None
    try:
        mpp = float(y), float(x)
    except ValueError:
        return None
    return (mpp, "OpenSlide mpp") if min(mpp) > 0 else None


def _stated_bounds(properties: Mapping[str, str], size: tuple[int, int]) -> Box | None:
    """The scanned part of level 0, of (width, height) pixels, as OpenSlide states it; else None."""
    try:
        left, top, width, height = (
            int(properties[f"openslide.bounds-{name}"]) for name in ("x", "y", "width", "height")
        )
    except (KeyError, ValueError):
        return None
    if min(width, height) < 1:
        return None
    inside = Box.at(top, left, height, width).clip((size[1], size[0]))
    return inside if inside.area else None
