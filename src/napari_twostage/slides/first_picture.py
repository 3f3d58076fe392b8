"""The picture of a file that is shown before a user has chosen any: its planes and channel."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from napari_twostage.errors import MissingPixelSizeError, SlideError
from napari_twostage.slides.planes import PROJECTION

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal

    from napari_twostage.slides.base import Slide
    from napari_twostage.slides.picture import Picture

PROJECTED_PLANES = 32
"""Most focal planes whose maximum is shown at first: every view reads all of them."""


def open_first_picture(open_picture: Callable[[Picture], Slide], wanted: Picture) -> Slide:
    """Open a file with what was chosen of it, and the rest chosen for the user.

    Of several channels that are no colours it is the first, of time points the first. Of focal
    planes it is what `first_focus` says.

    Parameters
    ----------
    open_picture : callable
        Opens the file.
    wanted : Picture
        What was chosen already.

    Raises
    ------
    SlideError
        The first one, if no choice of planes and channel helps.
    """
    slide = _open(open_picture, wanted)
    if slide.focal_planes == 1 or wanted.z is not None:
        return slide
    picture = replace(slide.picture, z=first_focus(slide.focal_planes, grey=slide.channels == 1))
    slide.close()
    return open_picture(picture)


def first_focus(planes: int, *, grey: bool) -> int | Literal["max"]:
    """Focal plane to show first: the middle one, or ``max`` for the maximum of fluorescence.

    Parameters
    ----------
    planes : int
        Number of focal planes.
    grey : bool
        Whether pixels have one value. Stained tissue is not: the maximum over its planes is glass.

    Examples
    --------
    >>> first_focus(7, grey=True), first_focus(7, grey=False)
    ('max', 3)
    """
    return PROJECTION if grey and planes <= PROJECTED_PLANES else planes // 2


def _open(open_picture: Callable[[Picture], Slide], wanted: Picture) -> Slide:
    """Open with what was chosen; else with the first planes; else with the first channel, too."""
    try:
        return open_picture(wanted)
    except MissingPixelSizeError:
        raise
    except SlideError:
        planes = replace(wanted, z=wanted.z or 0, t=wanted.t or 0)
        for picture in (planes, replace(planes, channel=0)):
            if wanted.channel is None or picture is planes:
                with suppress(SlideError):
                    return open_picture(picture)
        raise
