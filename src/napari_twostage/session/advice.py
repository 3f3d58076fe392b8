"""What to tell the user of a window: errors and stopped runs in one line, and buttons to go on."""

from __future__ import annotations

import errno
import logging
import os
from enum import Enum
from typing import TYPE_CHECKING

from napari_twostage.errors import (
    AGAIN,
    DamagedFileError,
    LockedError,
    OutOfMemoryError,
    explained,
    one_line,
    storage_error,
)
from napari_twostage.io.paths import Location
from napari_twostage.result.folder_names import SUFFIX
from napari_twostage.result.result_files import is_result

if TYPE_CHECKING:
    from napari_twostage.measure.completeness import Completeness

log = logging.getLogger(__name__)


class WayOn(Enum):
    """A button that goes on after trouble."""

    RESUME = "Continue"
    """Go on with the run that was stopped."""
    SAVE = "Save again"
    """Write the edit that could not be written."""
    BRING_BACK = "Bring back"
    """Open the edit again that was discarded."""
    REPAIR = "Repair"
    """Restore what can be, and compute the rest again."""
    TAKE_OVER = "Take over…"
    """Write a result that a process of another machine holds, which is known to be gone."""


def press(way: WayOn) -> str:
    """Advice to press a button."""
    return f"press {way.value.removesuffix('…')}"


_WAYS = {"coarse": WayOn.RESUME, "refine": WayOn.RESUME, "commit": WayOn.SAVE}
"""Job to the button that does it once more."""


def again_after(job: str) -> str:
    """Advice how a job that failed is done once more."""
    way = _WAYS.get(job)
    return "try again" if way is None else press(way)


def advise(error: BaseException, again: str = "try again") -> str:
    """Describe an error to the user of a window, in one line.

    Parameters
    ----------
    error : Exception
        The error, or one that it caused.
    again : str
        How what failed is done once more.

    Examples
    --------
    >>> advise(OSError(28, "No space left on device", "a.twostage.zarr"), press(WayOn.RESUME))
    'a.twostage.zarr: the disk is full; free space and press Continue'
    """
    known = explained(error)
    if known is None and isinstance(error, OSError):
        known = storage_error(error)
    match known:
        case None:
            return f"unexpected {one_line(error)}; what was done so far is kept"
        case LockedError(folder=folder, owner=owner, here=here):
            more = "" if here else f"; if that no longer runs, {press(WayOn.TAKE_OVER)}"
            return f"{describe_writer(folder, owner)}; wait until it is done and {again}{more}"
        case DamagedFileError(path=path, why=why):
            found = f" ({why})" if why else ""
            return (
                f"{_inside_result(path)} is damaged{found}; the rest is shown: "
                f"{press(WayOn.REPAIR)} to restore it or compute it again"
            )
        case OutOfMemoryError():
            return f"there is too little free memory; close other programs and {again}"
    return one_line(known).replace(AGAIN, again)


def describe_writer(folder: object, owner: str) -> str:
    """Say which process is writing a result."""
    program, _, since = owner.partition(", since ")
    if f"process {os.getpid()} on " in program:
        program = "another window of this program"
    name = getattr(folder, "name", folder)
    return f"{name} is being written by {program}" + (f" since {since}" if since else "")


def log_unexpected(name: str, error: BaseException) -> None:
    """Log the traceback of an error that nobody foresaw."""
    if explained(error) is None:
        log.error("%s", name, exc_info=error)


def describe_missing(found: Completeness) -> str:
    """Describe in a few words how far a stopped run came; empty if nothing is missing.

    Examples
    --------
    >>> from napari_twostage.measure.completeness import Completeness
    >>> found = Completeness(
    ...     tissue_known=True, windows_done=41, windows_needed=120, coarse_complete=False,
    ...     run_finished=False, tiles_selected=None, tiles_left=None, tiles_failed=0,
    ... )
    >>> describe_missing(found)
    'stopped: 41 of 120 windows'
    """
    if not found.tissue_known:
        return "stopped: no tissue found yet"
    if not found.coarse_complete:
        return f"stopped: {found.windows_done:,} of {found.windows_needed:,} windows"
    if not found.run_finished and found.tiles_left is None:
        return "stopped before its end"
    if not found.run_finished and found.tiles_selected is not None:
        done = found.tiles_selected - (found.tiles_left or 0)
        return f"stopped: {done:,} of {found.tiles_selected:,} tiles"
    if found.tiles_failed:
        return f"{found.tiles_failed:,} tile{'s' * (found.tiles_failed > 1)} failed"
    return ""


def missing_folder(folder: Location) -> FileNotFoundError:
    """Error that a result folder is gone: a drive was taken away, or somebody moved it."""
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder))


def result_of(file: Location) -> Location:
    """Folder of the result that a file belongs to."""
    folder = file.parent
    while folder != folder.parent:
        if folder.name.endswith(SUFFIX) or is_result(folder):
            return folder
        folder = folder.parent
    return file.parent


def _inside_result(file: object) -> str:
    """Path of a file from its result folder on: the whole one fills the panel."""
    if not isinstance(file, Location):
        return str(file)
    return str(file)[len(str(result_of(file).parent)) + 1 :]
