"""The choice of one channel of many."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_twostage.errors import SlideError

if TYPE_CHECKING:
    from collections.abc import Sequence


def choose_channel(channel: int | str | None, names: Sequence[str]) -> int | None:
    """Find the channel that was asked for.

    Parameters
    ----------
    channel : int or str or None
        Its number, or its name.
    names : sequence of str
        All there are.

    Returns
    -------
    Its index; None where there is only one.

    Raises
    ------
    SlideError
        Where none, or one that is not there, was asked for; the message lists them and begins
        with its verb.
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
            str(n) if name == str(n) else f"{n} ({name})" for n, name in enumerate(names)
        )
        missing = "" if channel is None else f" and none is {channel!r}"
        count = "one channel" if len(names) == 1 else f"{len(names)} channels"
        raise SlideError(
            f"has {count}{missing}; choose one of {listed} with channel=, "
            "or --channel on the command line"
        )
    return found if len(names) > 1 else None
