"""The pixel size of a slide: from the user, from the file, or an error."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from napari_twostage.errors import MissingPixelSizeError, SlideError

if TYPE_CHECKING:
    from napari_twostage.geometry import Scale


def resolve_mpp(
    given: float | Scale | None, stated: tuple[Scale, str] | None, name: str
) -> tuple[Scale, str]:
    """Decide on a pixel size: what the user gives counts more than what the file states.

    Parameters
    ----------
    given : float or (float, float) or None
        Micrometres per pixel, or (y, x), from the user.
    stated : ((float, float), str) or None
        What the file states, and where.
    name : str
        The slide, for the error.

    Returns
    -------
    ((y, x) micrometres per pixel, source in words)

    Raises
    ------
    MissingPixelSizeError
        Where neither says.
    SlideError
        Where what the user gives is no size.
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
