"""Damaged parts of a result: what a check finds, and how files are moved out of the way."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal, NamedTuple

from napari_twostage.io.files import is_unreadable, rename
from napari_twostage.io.url import Url

if TYPE_CHECKING:
    from napari_twostage.io.paths import Location

DAMAGED = "damaged"
"""Folder, in a result, of files that were set aside."""
Verdict = Literal["computed again", "restored", "lost"]


class Finding(NamedTuple):
    """A damaged part of a result."""

    file: str
    """Path in the folder."""
    verdict: Verdict
    """``computed again`` by the next `segment` or `refine`, ``restored`` from a second copy by a
    repair, or ``lost``."""
    what: str
    """What is affected."""

    def __str__(self) -> str:
        return f"{self.file}: {self.what}; {self.verdict}"


def set_aside(folder: Location, name: str) -> None:
    """Move a damaged file out of the way, so that nothing is deleted; nothing where none is."""
    file = folder / name
    if isinstance(folder, Url) or isinstance(file, Url) or not os.path.lexists(file):
        return  # an object is replaced as a whole
    away = folder / DAMAGED
    away.mkdir(exist_ok=True)
    target = away / name.replace("/", "-")
    for number in range(1, 1000):
        if not os.path.lexists(target):
            break
        target = away / f"{name.replace('/', '-')}.{number}"
    rename(file, target)


def set_aside_unreadable(folder: Location, name: str) -> None:
    """Move away what cannot be read and so not be written: a folder, a link that leads nowhere."""
    file = folder / name
    if isinstance(file, Url):
        return
    try:
        with file.open("rb"):
            return
    except FileNotFoundError:
        if file.is_symlink():
            set_aside(folder, name)
    except OSError as error:
        if not is_unreadable(error):
            raise
        set_aside(folder, name)
