"""Choice of one plane of a stack or series, and of the type that its pixels are read as."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_twostage.errors import SlideError
from napari_twostage.slides.picture import refuse_choices

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from napari_twostage.slides.picture import Picture

PROJECTION: Literal["max"] = "max"
"""Focal plane that stands for the maximum over all."""
_KEPT = (np.dtype(np.uint8), np.dtype(np.uint16))


def choose_focal_plane(picture: Picture, count: int) -> int | Literal["max"]:
    """Index of the focal plane to read, or ``max`` for the maximum over several.

    Parameters
    ----------
    picture : Picture
        The user's choice.
    count : int
        Focal planes of the image.

    Raises
    ------
    SlideError
        If there are several and none was chosen, or there is no such plane; the message begins
        with its verb, to follow the slide's name.

    Examples
    --------
    >>> from napari_twostage.slides.picture import Picture
    >>> choose_focal_plane(Picture(z=2), 5), choose_focal_plane(Picture(z="max"), 1)
    (2, 0)
    """
    if count == 1:
        refuse_choices(picture, "z")
        return 0
    if picture.z == PROJECTION:
        return PROJECTION
    return _index(
        picture.z,
        count,
        "focal plane",
        f"choose one with z=0 to z={count - 1}, or their maximum with z='max', "
        "or --z on the command line",
    )


def choose_time_point(picture: Picture, count: int) -> int:
    """Index of the time point to read; see `choose_focal_plane`."""
    if count == 1:
        refuse_choices(picture, "t")
        return 0
    advice = f"choose one with t=0 to t={count - 1}, or --t on the command line"
    return _index(picture.t, count, "time point", advice)


def _index(wanted: int | None, count: int, noun: str, advice: str) -> int:
    if wanted is None or wanted >= count:
        missing = "" if wanted is None else f" and none is {wanted}"
        raise SlideError(f"has {count} {noun}s{missing}; {advice}")
    return wanted


def maximum_over(planes: range, read: Callable[[int], NDArray[np.generic]]) -> NDArray[np.generic]:
    """Maximum of each pixel over planes that are read one by one; NaN only where all are NaN.

    Parameters
    ----------
    planes : range
        Numbers of the planes, at least one.
    read : callable
        Reads the plane of a number; all have one shape.
    """
    highest = read(planes[0])
    for number in planes[1:]:
        highest = np.fmax(highest, read(number))
    return highest


def pixel_type(stored: np.dtype[np.generic]) -> np.dtype[np.generic]:
    """Type that pixels are read as: uint8 and uint16 as they are, other numbers as float32.

    Raises
    ------
    SlideError
        If they are no real numbers; the message begins with its verb.

    Examples
    --------
    >>> pixel_type(np.dtype(">u2")), pixel_type(np.dtype("int16")), pixel_type(np.dtype(bool))
    (dtype('uint16'), dtype('float32'), dtype('uint8'))
    """
    native = stored.newbyteorder("=")
    if native in _KEPT:
        return native
    if native.kind == "b":
        return np.dtype(np.uint8)
    if native.kind not in "iuf":
        raise SlideError(
            f"holds {native} pixels, integers or real numbers were expected; convert the image"
        )
    return np.dtype(np.float32)


def as_pixels(stored: NDArray[Any]) -> NDArray[np.generic]:
    """Convert stored values to their `pixel_type`.

    True becomes 255. What float32 cannot hold becomes NaN, as do infinities; integers are exact
    up to 24 bits.

    Examples
    --------
    >>> as_pixels(np.array([-3, 70000])), as_pixels(np.array([np.inf, 0.5]))
    (array([-3.e+00,  7.e+04], dtype=float32), array([nan, 0.5], dtype=float32))
    """
    kind = pixel_type(stored.dtype)
    if stored.dtype.kind == "b":
        return np.where(stored, np.uint8(255), np.uint8(0))
    if kind != np.float32:
        return np.asarray(stored, kind)
    with np.errstate(over="ignore"):
        pixels: NDArray[np.float32] = stored.astype(np.float32)
    if stored.dtype.kind == "f":
        pixels[~np.isfinite(pixels)] = np.nan
    return pixels
