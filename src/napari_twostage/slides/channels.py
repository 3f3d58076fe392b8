"""Choice of one channel of several."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_twostage.errors import SlideError

if TYPE_CHECKING:
    from collections.abc import Sequence


_SHOWN_NAMES, _SHOWN_CHARACTERS = 10, 16
"""Part of the names that a message lists."""


def choose_channel(channel: int | str | None, names: Sequence[str]) -> int | None:
    """Find the index of a channel.

    Parameters
    ----------
    channel : int or str or None
        Number or name of the channel; None if the user chose none.
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
    wanted = str(channel)
    if channel is not None and wanted in names:
        found = names.index(wanted)
    elif wanted.isdecimal() and int(wanted) < len(names):
        found = int(wanted)
    else:
        listed = ", ".join(
            str(n) if name == str(n) else f"{n} ({name[:_SHOWN_CHARACTERS]})"
            for n, name in enumerate(names[:_SHOWN_NAMES])
        )
        if len(names) > _SHOWN_NAMES:
            listed += f", ... {len(names) - 1}"
        missing = "" if channel is None else f" and none is {channel!r}"
        count = "one channel" if len(names) == 1 else f"{len(names)} channels"
        raise SlideError(
            f"has {count}{missing}; choose one of {listed} with channel=, "
            "or --channel on the command line"
        )
    return found if len(names) > 1 else None
