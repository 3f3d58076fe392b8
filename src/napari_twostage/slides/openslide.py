"""Slides through OpenSlide, an optional extra: MIRAX and whatever else it reads."""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.errors import ReadError, SlideError
from napari_twostage.slides.base import Slide
from napari_twostage.slides.pixel_size import resolve_mpp

if TYPE_CHECKING:
    import openslide
    from numpy.typing import NDArray

    from napari_twostage.geometry import Box, Scale, Shape


def open_with_openslide(path: str | Path, *, mpp: float | Scale | None = None) -> Slide:
    """Open a slide file with the OpenSlide library.

    Parameters
    ----------
    path : str or Path
        Any file that OpenSlide reads.
    mpp : float or (float, float), optional
        Micrometres per pixel (y, x) of level 0, instead of what the file says.

    Returns
    -------
    Slide
        8-bit RGB over OpenSlide's whole plane: white where nothing was scanned, so that
        positions are the same as in other software that does not crop.

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
    except openslide.OpenSlideError as error:
        raise SlideError(
            f"{path.name} cannot be opened with OpenSlide ({error}); "
            "expected a whole-slide image, complete with its companion files"
        ) from error
    try:
        size, source = resolve_mpp(mpp, _stated_mpp(handle), path.name)
    except SlideError:
        handle.close()
        raise
    return OpenSlideSlide(path, handle, mpp=size, mpp_source=source)


class OpenSlideSlide(Slide):
    """A file read through OpenSlide; made by `open_with_openslide`.

    Parameters
    ----------
    path : Path
        The file.
    handle : openslide.OpenSlide
        It, opened; this slide closes it.
    mpp : (float, float)
        Micrometres per pixel (y, x) of level 0.
    mpp_source : str
        Where that was found.
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
        )

    def tile_shape(self, level: int) -> Shape:
        """Rows and columns of a tile where OpenSlide knows them."""
        sides = [
            self._properties.get(f"openslide.level[{level}].tile-{side}")
            for side in ("height", "width")
        ]
        if sides[0] is None or sides[1] is None:
            return super().tile_shape(level)
        return int(sides[0]), int(sides[1])

    def _read_inside(self, box: Box, level: int) -> NDArray[np.generic]:
        import openslide

        # OpenSlide wants the corner in level-0 pixels, by its own downsample of the level.
        factor = self._downsamples[level]
        corner = (round(box.left * factor), round(box.top * factor))
        handle = self._handle
        try:
            image = handle.read_region(corner, level, (box.width, box.height))
        except openslide.OpenSlideError as error:
            self._reopen(handle)
            raise ReadError(
                f"{self.name} cannot be read at rows {box.top} to {box.bottom}, columns "
                f"{box.left} to {box.right} of level {level}: {error}"
            ) from error
        return on_white(np.asarray(image))

    def _reopen(self, broken: openslide.OpenSlide) -> None:
        """Replace a handle that met a damaged tile: OpenSlide refuses to read on with it.

        The old one stays open for the threads that still read with it.
        """
        import openslide

        with self._reopening:
            if self._handle is broken:
                self._handle = openslide.OpenSlide(self._file)

    def fingerprint(self) -> str:
        """Hash what the file says of itself, OpenSlide's own quick hash of its pixels included."""
        facts = [self.level_shapes, sorted(self._properties.items())]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def close(self) -> None:
        """Close the file."""
        self._handle.close()


def on_white(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lay pixels over white.

    Parameters
    ----------
    pixels : (h, w, 4) uint8 array
        Red, green, blue, and alpha: 0 where nothing was scanned, 255 where everything was.

    Returns
    -------
    (h, w, 3) uint8 array

    Examples
    --------
    >>> on_white(np.array([[[9, 9, 9, 255], [0, 0, 0, 0]]], np.uint8)).tolist()
    [[[9, 9, 9], [255, 255, 255]]]
    """
    colours, alpha = pixels[..., :3], pixels[..., 3:]
    if alpha.min() == 255:
        return colours.copy()
    weighted = colours.astype(np.uint16) * alpha + np.uint16(255) * (255 - alpha)
    return np.asarray((weighted + 127) // 255, np.uint8)


def _stated_mpp(handle: openslide.OpenSlide) -> tuple[Scale, str] | None:
    """Micrometres per pixel (y, x) as OpenSlide found them, and where; None where it did not."""
    y, x = (handle.properties.get(f"openslide.mpp-{axis}") for axis in ("y", "x"))
    if not y or not x:
        return None
    mpp = float(y), float(x)
    return (mpp, "OpenSlide mpp") if min(mpp) > 0 else None
