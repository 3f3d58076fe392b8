"""Choice among the channels of an image: one of them, or three that are red, green and blue."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from napari_twostage.errors import SlideError
from napari_twostage.slides.picture import COLOURS

if TYPE_CHECKING:
    from collections.abc import Sequence

Colour = tuple[int, int, int]
"""Red, green and blue, each 0 to 255."""

_SHOWN_NAMES, _SHOWN_CHARACTERS = 10, 16
"""Part of the names that a message lists."""
_COLOUR_NAMES = (("red", "r"), ("green", "g"), ("blue", "b"))
_COLOUR_VALUES: tuple[Colour, ...] = ((255, 0, 0), (0, 255, 0), (0, 0, 255))
_NO_NAME = re.compile(r"((channel|ch|c)?[\s:_#-]*\d+([:/]\d+)*)?")
"""Names that number a channel and say nothing of it."""


def choose_channel(channel: int | str | None, names: Sequence[str]) -> int | None:
    """Find the index of a channel.

    Parameters
    ----------
    channel : int or str or None
        Number or name of the channel, whose case counts only where two names differ in nothing
        else; None if the user chose none.
    names : sequence of str
        Names of all channels.

    Returns
    -------
    Index of the channel; None if there is only one.

    Raises
    ------
    SlideError
        If no channel, or a missing one, was chosen; the message lists the channels and begins
        with its verb, to follow the slide's name.
    """
    if channel is None and len(names) == 1:
        return None
    found = None if channel is None else _index(channel, names)
    if found is None:
        missing = "" if channel is None else f" and none is {channel!r}"
        count = "one channel" if len(names) == 1 else f"{len(names)} channels"
        colours = f", or {COLOURS} for all three as colours," if len(names) == 3 else ""
        raise SlideError(
            f"has {count}{missing}; choose one of {_listed(names)}{colours} with channel=, "
            "or --channel on the command line"
        )
    return found if len(names) > 1 else None


def colour_channels(
    channel: int | str | None,
    names: Sequence[str],
    colours: Sequence[Colour | None] = (),
    *,
    assumed: bool = False,
) -> tuple[int, ...] | None:
    """Find the channels that are to be read together, as red, green and blue.

    Without a choice they are so where the names of three channels are those of the colours. Where
    channels have no names, the colours in which they are shown decide.

    Parameters
    ----------
    channel : int or str or None
        The user's choice; ``rgb`` asks for colours.
    names : sequence of str
        Names of all channels; empty, or a number, for those without one.
    colours : sequence of (int, int, int) or None
        Colour in which each channel is shown. Pass none for pixels of more than 8 bits: programs
        show the first three channels of fluorescence in red, green and blue by default.
    assumed : bool
        Whether three channels are colours where neither names nor colours tell.

    Returns
    -------
    Indices of the red, green and blue channel; None if one channel is to be read.

    Raises
    ------
    SlideError
        If colours were asked of other than three channels; the message begins with its verb.

    Examples
    --------
    >>> colour_channels(None, ["Red", "Green", "Blue"])
    (0, 1, 2)
    >>> colour_channels(None, ["DAPI", "FITC", "TRITC"], assumed=True) is None
    True
    >>> colour_channels("rgb", ["DAPI", "FITC", "TRITC"])
    (0, 1, 2)
    """
    if channel is not None and str(channel).lower() != COLOURS:
        return None
    if channel is not None and _index(channel, names) is not None:
        return None  # a channel of that name
    if len(names) != 3:
        if channel is None:
            return None
        count = "one channel" if len(names) == 1 else f"{len(names)} channels"
        raise SlideError(
            f"has {count}, {COLOURS} needs three; choose one of {_listed(names)} with channel="
        )
    told = _told_by_names(names)
    if told is None:
        told = _told_by_colours(colours)
        # blue, green, red is how fluorescence is listed, by wavelength
        if channel is None and told and told != (0, 1, 2):
            return None
    if told:
        return told
    return (0, 1, 2) if channel is not None or (assumed and told is None) else None


def _index(channel: int | str, names: Sequence[str]) -> int | None:
    wanted = str(channel)
    if wanted in names:
        return list(names).index(wanted)
    if wanted.isdecimal():
        return int(wanted) if int(wanted) < len(names) else None
    alike = [n for n, name in enumerate(names) if name.casefold() == wanted.casefold()]
    return alike[0] if len(alike) == 1 else None


def _told_by_names(names: Sequence[str]) -> tuple[int, ...] | None:
    """Order of the colours; () if the names are others, None if there are no names."""
    plain = [name.strip().lower() for name in names]
    if all(_NO_NAME.fullmatch(name) for name in plain):
        return None
    found = [[n for n, name in enumerate(plain) if name in known] for known in _COLOUR_NAMES]
    return tuple(one[0] for one in found) if all(len(one) == 1 for one in found) else ()


def _told_by_colours(colours: Sequence[Colour | None]) -> tuple[int, ...] | None:
    """Order of the colours; () if they are others, None if not all are stated."""
    if len(colours) != 3 or None in colours:
        return None
    if sorted(filter(None, colours)) != sorted(_COLOUR_VALUES):
        return ()
    return tuple(list(colours).index(value) for value in _COLOUR_VALUES)


def _listed(names: Sequence[str]) -> str:
    listed = ", ".join(
        str(n) if name == str(n) else f"{n} ({name[:_SHOWN_CHARACTERS]})"
        for n, name in enumerate(names[:_SHOWN_NAMES])
    )
    return f"{listed}, ... {len(names) - 1}" if len(names) > _SHOWN_NAMES else listed
