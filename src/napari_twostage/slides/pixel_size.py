"""Pixel size of a slide: from the user, else from the file, else an error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_twostage.errors import MissingPixelSizeError, SlideError
from napari_twostage.slides.limits import PLAUSIBLE_MPP, POSSIBLE_MPP

if TYPE_CHECKING:
    from napari_twostage.geometry import Scale

HOW_TO_STATE_MPP = (
    "pass mpp=(y, x) in micrometres, or on the command line --mpp; "
    "scans at 20× have about 0.5, at 40× 0.25"
)
GIVEN = "given by the user"
"""Source of a pixel size that no file states."""


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
        If neither states one, or the file's cannot be a microscope's.
    SlideError
        If the user's value is no size, or out of all proportion.
    """
    if given is None:
        if stated is None:
            raise MissingPixelSizeError(f"{name} states no pixel size; {HOW_TO_STATE_MPP}")
        _check_plausible(stated[0], name)
        return stated
    y, x = given if isinstance(given, tuple | list) else (given, given)
    if not _lie_within(POSSIBLE_MPP, (y, x)):
        raise SlideError(
            f"mpp={given!r} is no pixel size for {name}; pass micrometres per pixel, "
            f"{POSSIBLE_MPP[0]:g} to {POSSIBLE_MPP[1]:g}"
        )
    return (float(y), float(x)), GIVEN


def _check_plausible(stated: Scale, name: str) -> None:
    """Refuse a pixel size whose unit was mistaken, or which is damaged."""
    if not _lie_within(PLAUSIBLE_MPP, stated):
        y, x = stated
        raise MissingPixelSizeError(
            f"{name} states a pixel size of {y:.4g} × {x:.4g} µm, {PLAUSIBLE_MPP[0]:g} to "
            f"{PLAUSIBLE_MPP[1]:g} µm were expected; {HOW_TO_STATE_MPP}"
        )


def _lie_within(limits: tuple[float, float], size: Scale) -> bool:
    """Whether both sides do; numbers that are none do not."""
    return all(limits[0] <= side <= limits[1] for side in size)
