"""Slides: files, folders and arrays, which `open_slide` opens as a `Slide`."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

from napari_twostage.errors import SlideError
from napari_twostage.io.paths import is_folder, locate
from napari_twostage.io.url import Url
from napari_twostage.slides import formats
from napari_twostage.slides.arguments import (
    check_source,
    given_cache_bytes,
    given_pixel_size,
    other_kind,
)
from napari_twostage.slides.picture import Picture

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Literal

    from napari_twostage.geometry import Scale
    from napari_twostage.io.paths import Location
    from napari_twostage.slides.arrays import ArrayLike
    from napari_twostage.slides.base import Slide
    from napari_twostage.slides.formats import Format

__all__ = ["open_slide"]

_SHOWN_CHARACTERS = 300


def open_slide(
    source: str | Location | ArrayLike | Sequence[ArrayLike],
    *,
    mpp: float | Scale | None = None,
    scene: int | str | None = None,
    channel: int | str | None = None,
    z: int | Literal["max"] | None = None,
    t: int | None = None,
    intensity: tuple[float, float] | None = None,
    cache_bytes: int = 256 << 20,
) -> Slide:
    """Open a slide.

    Parameters
    ----------
    source : path, URL, array-like or sequence of array-like
        A file of the TIFF family (SVS, NDPI, SCN, BIF, OME-TIFF, plain), an OME-Zarr folder, a
        plain image, or with an extra DICOM (a file or folder), CZI, LIF, ND2 and others, as
        `formats` lists them; or
        a numpy, dask or zarr array, or a list of arrays, finest level first. URLs
        (``https://``, ``s3://``, ``gs://``, ``az://``) are read in parts; a URL is a
        folder if its name contains ``.zarr``.
    mpp : float or (float, float), optional
        Micrometres per pixel (y, x) of level 0; overrides the file's own.
    scene : int or str, optional
        Number or name of a scene, series, section or well of a file with several; by default
        the largest scan. `Slide.scenes` lists them.
    channel : int or str, optional
        Number or name of one channel of a multichannel image, or ``rgb`` for three grey planes
        that are red, green and blue. `Slide.channel_names` lists them.
    z : int or "max", optional
        Focal plane of a stack, or the maximum over all.
    t : int, optional
        Time point of a series.
    intensity : (float, float), optional
        Pixel values shown as black and white, for slides of more than 8 bits; by default
        `Slide.intensity_range` finds them.
    cache_bytes : int
        Memory for decoded TIFF tiles and OME-Zarr chunks.

    Returns
    -------
    Slide

    Raises
    ------
    SlideError
        If the slide cannot be opened; one line with what was expected, what was found and what
        to do next.
    """
    check_source(source)
    picture = Picture(scene=scene, channel=channel, z=z, t=t, intensity=intensity)
    return _open(source, given_pixel_size(mpp), picture, given_cache_bytes(cache_bytes))


def _open(
    source: str | Location | ArrayLike | Sequence[ArrayLike],
    mpp: Scale | None,
    picture: Picture,
    cache_bytes: int,
) -> Slide:
    if not isinstance(source, str | Path | Url):
        from napari_twostage.slides.arrays import open_arrays

        return open_arrays(source, mpp=mpp, picture=picture)
    path = locate(source).expanduser()
    if is_folder(path):
        return _open_folder(path, mpp, picture, cache_bytes)
    start = _first_bytes(path)
    closed = formats.refusal(path.name)
    if closed and not _has_plugin(path):
        raise SlideError(f"{path.name} is {closed}")
    if not closed and (kind := other_kind(start)):
        raise SlideError(f"{path.name} is {kind}")
    found = formats.by_first_bytes(start)
    if found and found.reader == "tiff" and not closed:
        return _open_tiff(path, mpp, picture, cache_bytes)
    return _open_other(path, found, mpp, picture, cache_bytes)


def _open_tiff(path: Location, mpp: Scale | None, picture: Picture, cache_bytes: int) -> Slide:
    from napari_twostage.slides.tiff import open_tiff
    from napari_twostage.slides.tiff_images import NeedsStitchingError

    try:
        return open_tiff(path, mpp=mpp, picture=picture, cache_bytes=cache_bytes)
    except NeedsStitchingError:
        if isinstance(path, Url) or not formats.is_installed("openslide"):
            raise
    return _open_openslide(path, mpp, picture)


def _open_folder(path: Location, mpp: Scale | None, picture: Picture, cache_bytes: int) -> Slide:
    found = formats.by_contents(path)
    if found and found.reader == "ome_zarr":
        from napari_twostage.slides.ome_zarr import open_ome_zarr

        return open_ome_zarr(path, mpp=mpp, picture=picture, cache_bytes=cache_bytes)
    if isinstance(path, Url):
        raise SlideError(f"there is no OME-Zarr image at {path}: no zarr.json; check the address")
    if found:
        return _open_by_extra(path, found, mpp, picture, cache_bytes)
    raise SlideError(
        f"{_shown(path)} is a folder without zarr.json or .zattrs, and not of DICOM files; "
        "a slide file or the folder of an OME-Zarr image was expected"
    )


def _first_bytes(path: Location) -> bytes:
    try:
        if isinstance(path, Url):
            start = path.read_range(0, min(formats.MAGIC_BYTES, path.size()))
        else:
            _check_regular(path)
            with path.open("rb") as file:
                start = file.read(formats.MAGIC_BYTES)
    except FileNotFoundError:
        raise SlideError(f"there is no file {_shown(path)}; check the path") from None
    except OSError as error:
        raise SlideError(
            f"{_shown(path)} cannot be opened ({error.strerror}); check the file"
        ) from error
    if not start:
        raise SlideError(f"{path.name} is empty (0 bytes); copy it again")
    return start


def _check_regular(path: Path) -> None:
    """Refuse devices, and pipes, on which opening waits for a writer."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise SlideError(f"{_shown(path)} is a device or pipe; a file or folder was expected")


def _shown(path: Location) -> str:
    """A path in a message, of which the end tells most if it is long."""
    text = str(path)
    return text if len(text) <= _SHOWN_CHARACTERS else f"...{text[-_SHOWN_CHARACTERS:]}"


def _open_other(
    path: Location, found: Format | None, mpp: Scale | None, picture: Picture, cache_bytes: int
) -> Slide:
    """Open a plain image, or a file that an extra may know.

    `found` is the format by the first bytes. An ending of an extra's counts more: a MIRAX slide's
    file is its thumbnail, a JPEG, and old ND2 files begin like JPEG 2000.
    """
    named = formats.by_ending(path.name)
    if found is None or (named and named.extra):
        found = named
    if found and found.reader == "image":
        from napari_twostage.slides.plain_images import open_image

        return open_image(path, found.kind, mpp=mpp, picture=picture)
    if found and found.reader in {"dicom", "czi", "bioio", "openslide"}:
        return _open_by_extra(path, found, mpp, picture, cache_bytes)
    if not isinstance(path, Url):
        if _has_plugin(path):
            from napari_twostage.slides.bioio_images import open_with_bioio

            return open_with_bioio(path, mpp=mpp, picture=picture, cache_bytes=cache_bytes)
        if formats.is_installed("openslide"):
            return _open_openslide(path, mpp, picture)
    raise SlideError(
        f"{path.name} is no TIFF, OME-Zarr or plain image that can be read; "
        "convert it to OME-TIFF or OME-Zarr"
    )


def _has_plugin(path: Location) -> bool:
    """Whether a plugin of bioio, which users may add, reads a file of this ending."""
    if isinstance(path, Url) or not formats.is_installed("bioio"):
        return False
    from napari_twostage.slides.bioio_images import has_plugin_for

    return has_plugin_for(path.name)


def _open_by_extra(
    path: Location, found: Format, mpp: Scale | None, picture: Picture, cache_bytes: int
) -> Slide:
    """Open a file, or a folder of DICOM, with the library that reads its format."""
    if isinstance(path, Url):
        raise SlideError(f"{path.name} is {found.name}, which is not read by URL; download it")
    if not formats.is_installed(found.extra):
        if found.by_openslide and formats.is_installed("openslide"):
            return _open_openslide(path, mpp, picture)
        raise SlideError(
            f"{path.name} is {found.name}, and what reads it is not installed; "
            f"run: pip install 'napari-twostage[{found.extra}]'"
        )
    if found.reader == "dicom":
        from napari_twostage.slides.dicom import open_dicom

        return open_dicom(path, mpp=mpp, picture=picture, cache_bytes=cache_bytes)
    if found.reader == "czi":
        from napari_twostage.slides.czi import open_czi

        return open_czi(path, mpp=mpp, picture=picture, cache_bytes=cache_bytes)
    if found.reader == "bioio":
        from napari_twostage.slides.bioio_images import open_with_bioio

        return open_with_bioio(path, mpp=mpp, picture=picture, cache_bytes=cache_bytes)
    return _open_openslide(path, mpp, picture)


def _open_openslide(path: Path, mpp: Scale | None, picture: Picture) -> Slide:
    from napari_twostage.slides.openslide import open_with_openslide

    if path.is_dir():  # of DICOM files, of which it takes one and finds the others
        path = next(one for one in sorted(path.iterdir()) if formats.is_dicom(one))
    return open_with_openslide(path, mpp=mpp, picture=picture)
