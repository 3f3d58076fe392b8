"""Files and arrays in: one function opens them all as a `Slide`."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from napari_twostage.errors import SlideError
from napari_twostage.io.paths import is_folder, locate
from napari_twostage.io.url import Url

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_twostage.geometry import Scale
    from napari_twostage.io.paths import Location
    from napari_twostage.slides.arrays import ArrayLike
    from napari_twostage.slides.base import Slide

__all__ = ["open_slide"]

_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_ZARR_MARKS = ("zarr.json", ".zattrs", ".zgroup", ".zarray")
_OPENSLIDE_SUFFIXES = {".mrxs", ".vms", ".vmu", ".dcm", ".czi", ".svslide"}
"""Some of these begin like another format: a MIRAX slide's file is its thumbnail, a JPEG."""


def open_slide(
    source: str | Location | ArrayLike | Sequence[ArrayLike],
    *,
    mpp: float | Scale | None = None,
    channel: int | str | None = None,
    cache_bytes: int = 256 << 20,
) -> Slide:
    """Open a slide.

    Parameters
    ----------
    source : path, URL, array-like or sequence of array-like
        A file of the TIFF family (SVS, NDPI, SCN, BIF, OME-TIFF, plain), an OME-Zarr folder,
        what OpenSlide reads (where it is installed), a plain image; or a numpy, dask or zarr
        array, or a list of them, finest level first. URLs, ``https://``, ``s3://`` and what else
        fsspec knows, are read in parts; a folder by URL is known by a name with ``.zarr``.
    mpp : float or (float, float), optional
        Micrometres per pixel (y, x) of level 0, instead of what the file states.
    channel : int or str, optional
        Number or name of the channel of a fluorescence image with several.
    cache_bytes : int
        Memory for decoded tiles of TIFF files and chunks of OME-Zarr.

    Returns
    -------
    Slide

    Raises
    ------
    SlideError
        In one line: what was expected, what was found, what to do next.
    """
    slide = _open(source, mpp, channel, cache_bytes)
    slide.channel = channel
    return slide


def _open(
    source: str | Location | ArrayLike | Sequence[ArrayLike],
    mpp: float | Scale | None,
    channel: int | str | None,
    cache_bytes: int,
) -> Slide:
    if not isinstance(source, str | Path | Url):
        from napari_twostage.slides.arrays import open_arrays

        return open_arrays(source, mpp=mpp, channel=channel)
    path = locate(source).expanduser()
    size = mpp if mpp is None or isinstance(mpp, tuple) else (mpp, mpp)
    if is_folder(path):
        return _open_folder(path, size, channel, cache_bytes)
    start = _first_bytes(path)
    if start.startswith(_TIFF_STARTS):
        return _open_tiff(path, size, channel, cache_bytes)
    return _open_other(path, start, size, channel)


def _open_tiff(
    path: Location, mpp: Scale | None, channel: int | str | None, cache_bytes: int
) -> Slide:
    from napari_twostage.slides.tiff import open_tiff
    from napari_twostage.slides.tiff_series import NeedsStitchingError

    try:
        return open_tiff(path, mpp=mpp, channel=channel, cache_bytes=cache_bytes)
    except NeedsStitchingError:
        if not find_spec("openslide") or isinstance(path, Url):
            raise
    from napari_twostage.slides.openslide import open_with_openslide

    return open_with_openslide(path, mpp=mpp)


def _open_folder(
    path: Location, mpp: Scale | None, channel: int | str | None, cache_bytes: int
) -> Slide:
    if any((path / mark).exists() for mark in _ZARR_MARKS):
        from napari_twostage.slides.ome_zarr import open_ome_zarr

        return open_ome_zarr(path, mpp=mpp, channel=channel, cache_bytes=cache_bytes)
    if isinstance(path, Url):
        raise SlideError(f"there is no OME-Zarr image at {path}: no zarr.json; check the address")
    raise SlideError(
        f"{path} is a folder without zarr.json or .zattrs; "
        "a slide file or the folder of an OME-Zarr image was expected"
    )


def _first_bytes(path: Location) -> bytes:
    try:
        if isinstance(path, Url):
            start = path.read_range(0, min(16, path.size()))
        else:
            with path.open("rb") as file:
                start = file.read(16)
    except FileNotFoundError:
        raise SlideError(f"there is no file {path}; check the path") from None
    except OSError as error:
        raise SlideError(f"{path} cannot be opened ({error.strerror}); check the file") from error
    if not start:
        raise SlideError(f"{path.name} is empty (0 bytes); copy it again")
    return start


def _open_other(
    path: Location, start: bytes, mpp: Scale | None, channel: int | str | None
) -> Slide:
    """Open what is neither TIFF nor zarr: a plain image, or a format of OpenSlide."""
    from napari_twostage.slides.images import image_codec, open_image

    codec = image_codec(start)
    for_openslide = path.suffix.lower() in _OPENSLIDE_SUFFIXES
    if codec and not for_openslide:
        return open_image(path, codec, mpp=mpp, channel=channel)
    if find_spec("openslide") and not isinstance(path, Url):
        from napari_twostage.slides.openslide import open_with_openslide

        return open_with_openslide(path, mpp=mpp)
    if not for_openslide:
        hint = "convert it to OME-TIFF or OME-Zarr"
    elif isinstance(path, Url):
        hint = "OpenSlide may read it, which takes no URLs: download it"
    else:
        hint = "install OpenSlide: pip install 'napari-twostage[openslide]'"
    raise SlideError(f"{path.name} is no TIFF, OME-Zarr or plain image that can be read; {hint}")
