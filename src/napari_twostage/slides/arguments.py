"""Arguments of `open_slide`, which users give in many types."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING

from napari_twostage.errors import SlideError, brief

if TYPE_CHECKING:
    from napari_twostage.geometry import Scale


def given_pixel_size(mpp: object) -> Scale | None:
    """Pixel size (y, x) that the user gave: a number, or one or two in a tuple, list or array.

    Raises
    ------
    SlideError
        If it is something else.

    Examples
    --------
    >>> given_pixel_size(0.5), given_pixel_size([0.5, 0.25])
    ((0.5, 0.5), (0.5, 0.25))
    """
    import numpy as np

    if mpp is None:
        return None
    try:
        sizes = np.asarray(mpp)
        numbers = sizes.astype(float).ravel().tolist() if sizes.dtype.kind in "iuf" else []
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) not in (1, 2):
        raise SlideError(
            f"mpp must be micrometres per pixel, a number or (y, x); found {brief(mpp)}; "
            "pass mpp=0.5, say"
        )
    return numbers[0], numbers[-1]


def given_cache_bytes(cache_bytes: object) -> int:
    """Bytes of a cache, a whole number from 0 on.

    Raises
    ------
    SlideError
        If it is something else.
    """
    real = isinstance(cache_bytes, Real) and not isinstance(cache_bytes, bool)
    number = float(cache_bytes) if real else -1.0  # type: ignore[arg-type]  # real is a number
    if not 0 <= number < 1 << 60:
        raise SlideError(
            f"cache_bytes must be a number of bytes from 0 on; found {brief(cache_bytes)}; "
            "leave it out"
        )
    return int(number)


def check_source(source: object) -> None:
    """Refuse what names no slide.

    Raises
    ------
    SlideError
        With what was expected.
    """
    if isinstance(source, str) and not source.strip():
        raise SlideError("an empty path names no slide; pass the path of a file")


_OTHER_KINDS = (
    (b"version https://", "a pointer of Git LFS, not the file itself; get it: git lfs pull"),
    (b"\x1f\x8b", "packed with gzip; unpack it"),
    (b"PK\x03\x04", "a zip archive; unpack it and open what is in it"),
    (b"PK\x05\x06", "an empty zip archive; get the file again"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it and open what is in it"),
    (b"Rar!", "a rar archive; unpack it and open what is in it"),
    (b"BZh", "packed with bzip2; unpack it"),
    (b"\xfd7zXZ\0", "packed with xz; unpack it"),
    (b"\x28\xb5\x2f\xfd", "packed with zstd; unpack it"),
    (
        b"\x00\x05\x16\x07",
        "notes that macOS puts beside a slide; open the slide itself",
    ),
    (b"/annex/objects/", "a pointer of git-annex, not the file itself; get it: git annex get"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file; convert it to OME-TIFF or OME-Zarr"),
    (b"<?xml", "a text in XML, perhaps a server's error; download the slide again"),
    (b"%PDF", "a PDF; a slide or image was expected"),
)
_PAGE = (b"<!doctype", b"<html", b"<head")


def other_kind(start: bytes) -> str | None:
    """What a file is that is no slide, and what to do, by its first bytes; None if unknown.

    Examples
    --------
    >>> other_kind(b"<!DOCTYPE html><")
    'a web page, perhaps a log-in; download the slide again'
    """
    if start.lstrip().lower().startswith(_PAGE):
        return "a web page, perhaps a log-in; download the slide again"
    return next((kind for magic, kind in _OTHER_KINDS if start.startswith(magic)), None)
