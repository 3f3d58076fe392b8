"""Slides read with OpenSlide, an optional extra: MIRAX, DICOM, CZI and others."""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.errors import ReadError, SlideError, reason_of
from napari_twostage.geometry import Box
from napari_twostage.slides.base import Slide
from napari_twostage.slides.limits import check_sides
from napari_twostage.slides.pixel_size import resolve_mpp
from napari_twostage.slides.view import on_white

if TYPE_CHECKING:
    from collections.abc import Mapping

    import openslide
    from numpy.typing import NDArray

    from napari_twostage.geometry import Scale, Shape


def open_with_openslide(path: str | Path, *, mpp: float | Scale | None = None) -> Slide:
    """Open a slide file with the OpenSlide library.

    Parameters
    ----------
    path : str or Path
        File of any format of OpenSlide.
    mpp : float or (float, float), optional
        Micrometres per pixel (y, x) of level 0; overrides the file's own.

    Returns
    -------
    Slide
        8-bit RGB over OpenSlide's whole plane, white outside the scanned area, so that
        positions are those of other software that does not crop. `Slide.bounds` is the area
        that others crop to.

    Raises
    ------
    SlideError
        If OpenSlide is not installed, cannot open the file, or finds no pixel size.
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
        size, source = resolve_mpp(mpp, _stated_mpp(handle), path.name)
    except SlideError:
        handle.close()
        raise
    return OpenSlideSlide(path, handle, mpp=size, mpp_source=source)


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
    """

    def __init__(
        self, path: Path, handle: openslide.OpenSlide, *, mpp: Scale, mpp_source: str
    ) -> None:
        self._file = path
        self._handle = handle
        self._reopening = threading.Lock()
        self._downsamples = handle.level_downsamples
        self._properties = dict(handle.properties)
        super().__init__(
            name=path.name,
            level_shapes=[(height, width) for width, height in handle.level_dimensions],
            channels=3,
            dtype=np.dtype(np.uint8),
            mpp=mpp,
            mpp_source=mpp_source,
            format=f"{self._properties.get('openslide.vendor', 'unknown')} through OpenSlide",
            path=path,
            bounds=_stated_bounds(self._properties, handle.level_dimensions[0]),
        )

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
