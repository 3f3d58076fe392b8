"""Pixel size of a slide: from the user, else from the file, else an error."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from napari_twostage.errors import MissingPixelSizeError, SlideError

if TYPE_CHECKING:
    from napari_twostage.geometry import Scale


def resolve_mpp(
    given: float | Scale | None, stated: tuple[Scale, str] | None, name: str
) -> tuple[Scale, str]:
    """Choose the pixel size: the user's, else the file's.

    Parameters
    ----------
    given : float or (float, float) or None
        Micrometres per pixel, or (y, x), from the user.
    stated : ((float, float), str) or None
        The file's (y, x) micrometres per pixel and their source, in words.
    name : str
        Name of the slide, for error messages.

    Returns
    -------
    ((y, x) micrometres per pixel, source in words)

    Raises
    ------
    MissingPixelSizeError
        If neither states one.
    SlideError
        If the user's value is no size.
    """
    if given is None:
        if stated is None:
            raise MissingPixelSizeError(
                f"{name} states no pixel size; "
                "pass mpp=(y, x) in micrometres, or --mpp 0.5 on the command line"
            )
        return stated
    y, x = given if isinstance(given, tuple | list) else (given, given)
    if not (min(y, x) > 0 and math.isfinite(y) and math.isfinite(x)):
        raise SlideError(
            f"mpp={given!r} is no pixel size for {name}; pass micrometres per pixel above 0"
        )
    return (float(y), float(x)), "given by the user"
