"""Errors that a user can act on; each message says expected, found and what to do next."""

from __future__ import annotations

import errno
import os
import re
from typing import Any

_CONTROLS = re.compile(
    r"\s*[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]"
    r"[\s\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]*"
)
"""Characters that end a line, move a cursor or turn the direction of writing."""
_LONGEST_REASON = 160
"""Characters of a library's message that are shown: some quote the damaged data."""


class TwoStageError(Exception):
    """Base of every error this package raises on purpose; its message is one line.

    Names of files and texts from files may hold any character; those that end lines or command
    a terminal become spaces.
    """

    def __str__(self) -> str:
        return _CONTROLS.sub(" ", super().__str__())


class SlideError(TwoStageError):
    """A slide that cannot be opened or used."""


class MissingPixelSizeError(SlideError):
    """A slide without a pixel size: the user states none, and the file none that can be one."""


class ReadError(TwoStageError):
    """Pixels of an open slide that cannot be read, such as a damaged tile."""


class ModelError(TwoStageError):
    """A model bundle that cannot be loaded or does not fit the slide."""


class LogitsError(ModelError):
    """Logits that are not finite: a model whose numbers overflow, or that is damaged."""


class SelectionError(TwoStageError):
    """A selection of tiles that contradicts itself or lies out of range."""


class SegmentationError(TwoStageError):
    """A result folder that cannot be opened, resumed or changed as asked."""


class LockedError(SegmentationError):
    """A result that another process, or another window, is writing.

    Parameters
    ----------
    folder : path or URL
        The result.
    owner : str
        The process.
    here : bool
        Whether it is a process of this machine.
    """

    def __init__(self, folder: object, owner: str, *, here: bool) -> None:
        self.folder, self.owner, self.here = folder, owner, here
        advice = "wait until it is done, or choose another folder"
        if not here:
            advice += "; if it no longer runs, repeat the command with --take-over"
        super().__init__(f"{folder} is being written ({owner}); {advice}")

    def __reduce__(self) -> tuple[Any, ...]:
        return _locked, (self.folder, self.owner, self.here)


def _locked(folder: object, owner: str, here: bool) -> LockedError:
    return LockedError(folder, owner, here=here)


class DamagedFileError(SegmentationError):
    """A file of a result whose content is not what was written.

    Parameters
    ----------
    path : path or URL
        The file.
    why : str
        What is wrong with it.
    """

    def __init__(self, path: object, why: str = "") -> None:
        self.path, self.why = path, why
        found = f" ({why})" if why else ""
        super().__init__(
            f"{path} is damaged{found}; segment or refine the slide again, which computes it anew, "
            "or see what else is: napari-twostage info --check RESULT"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, self.why)


class ClusterError(TwoStageError):
    """A cluster that cannot be started or reached, or whose scheduler was lost."""


class ExportError(TwoStageError):
    """A result that cannot be written where or as asked."""


class AnnotationError(TwoStageError):
    """A file of annotations that cannot be read."""


class TransferError(TwoStageError):
    """A URL that cannot be reached; unlike damaged data, this is transient: resume later."""


class LocationError(TwoStageError):
    """A path or URL that cannot be the name of anything on this machine."""


class BusyFileError(TwoStageError, PermissionError):
    """A file that another program holds open, or that is write-protected."""


class UnfinishedError(SegmentationError):
    """A result that holds too little yet for what is asked; going on with its run adds it."""


class StorageError(TwoStageError):
    """A disk or folder that refuses: full, read-only, without permission, broken or gone."""


class UnwritableExportError(ExportError, StorageError):
    """An export that the disk or folder does not take."""


class OutOfMemoryError(TwoStageError):
    """A computation that needs more memory than there is."""


AGAIN = "run the same command again: it goes on"
"""Advice of errors that end a command; a window has a button instead."""
_REFUSED = {
    "ENOSPC": f"the disk is full; free space and {AGAIN}",
    "EDQUOT": f"the disk quota is used up; free space or ask for more, and {AGAIN}",
    "EFBIG": (
        "the file is larger than the disk's format or a limit of the system allows; "
        f"use another disk or raise the limit (ulimit -f), and {AGAIN}"
    ),
    "EROFS": "the disk is read-only; make it writable or choose another folder",
    "EACCES": "no permission; change the permissions or choose another folder",
    "ENOENT": f"no such file, folder or drive, or no longer; bring it back and {AGAIN}",
    "EIO": f"the disk or network drive does not respond as it should; check it and {AGAIN}",
    "EMFILE": f"too many files are open; raise the limit (ulimit -n) and {AGAIN}",
    "ENAMETOOLONG": "the name is too long for this file system; choose a shorter one",
    "EISDIR": "expected a file, found a folder; choose another name",
    "EEXIST": "the name is taken by something else; choose another name",
    "EBUSY": f"another program uses it; close that program and {AGAIN}",
    "ELOOP": "links that lead in a circle; give the path of the file itself",
    "EINVAL": "the system does not take this name or operation; choose another name or folder",
}
"""What a storage error means and what to do about it, by the symbol of its number."""
_ALIKE = {
    "EPERM": "EACCES",
    "ENOTDIR": "ENOENT",
    "ESTALE": "ENOENT",
    "ENXIO": "ENOENT",
    "ENODEV": "ENOENT",
    "ENOTCONN": "EIO",
    "EHOSTDOWN": "EIO",
    "EHOSTUNREACH": "EIO",
    "ETIMEDOUT": "EIO",
    "EREMOTEIO": "EIO",
    "ENFILE": "EMFILE",
    "ENOTEMPTY": "EEXIST",
    "ETXTBSY": "EBUSY",
}
_ON_WINDOWS = {19: "EROFS", 39: "ENOSPC", 53: "EIO", 64: "EIO", 112: "ENOSPC", 1295: "EDQUOT"}
"""Windows error codes that Python gives another number."""


_ALWAYS = frozenset({"ENOSPC", "EDQUOT", "EFBIG", "EROFS"})
"""Storage errors even of a file without a name."""
_NO_MEMORY = ("OutOfMemoryError", "bad allocation", "bad_alloc", "allocate memory")
"""Signs of errors of torch and OpenVINO that stand for MemoryError."""


def explained(error: BaseException) -> TwoStageError | None:
    """An error, or its cause, in words for the user.

    Returns
    -------
    TwoStageError or None
        The error itself if it is one of ours, or what its cause means where memory or storage is
        the cause; None if nobody foresaw it.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, TwoStageError):
            return cause
        named = f"{type(cause).__name__} {cause}"
        if isinstance(cause, MemoryError) or any(sign in named for sign in _NO_MEMORY):
            return OutOfMemoryError(
                f"this needs more memory than there is ({one_line(cause)}); close other programs, "
                f"take fewer workers or another machine, and {AGAIN}"
            )
        if isinstance(cause, OSError) and _is_of_storage(cause):
            return storage_error(cause)
        cause = cause.__cause__
    return None


def storage_error(error: OSError, path: object | None = None) -> StorageError:
    r"""Explain what the file system refused, in one line that says what to do.

    Parameters
    ----------
    error : OSError
        Error of a file operation.
    path : path, optional
        File or folder it happened to; the error's own if None.

    Examples
    --------
    >>> print(storage_error(OSError(errno.ENOSPC, "No space left on device", "a.zarr")))
    a.zarr: the disk is full; free space and run the same command again: it goes on
    """
    reason = " ".join((error.strerror or str(error) or type(error).__name__).split())
    text = _REFUSED.get(_symbol(error), f"{reason}; check the disk and {AGAIN}")
    name = error.filename if path is None else path
    if name is None:
        return StorageError(text)
    return StorageError(f"{os.fsdecode(name) if isinstance(name, bytes) else name}: {text}")


def _is_of_storage(error: OSError) -> bool:
    """Whether an error comes from a disk or folder, not from a network or a program."""
    symbol = _symbol(error)
    return symbol in _ALWAYS or (symbol in _REFUSED and error.filename is not None)


def _symbol(error: OSError) -> str:
    """Symbol of an error's number, one for all that mean the same; empty without a number."""
    symbol = _ON_WINDOWS.get(getattr(error, "winerror", None) or 0)
    if symbol is None:
        symbol = errno.errorcode.get(error.errno or 0, "")
    return _ALIKE.get(symbol, symbol)


def one_line(error: BaseException) -> str:
    r"""An error as one line for the user; its kind comes first unless it is one of ours.

    Examples
    --------
    >>> one_line(SlideError("a.svs is empty;\n copy it again"))
    'a.svs is empty; copy it again'
    >>> one_line(KeyError("width"))
    "KeyError: 'width'"
    """
    text = " ".join(str(error).split())
    if isinstance(error, TwoStageError):
        return text
    kind = type(error).__name__
    return f"{kind}: {text}" if text else kind


def brief(value: object, most: int = 60) -> str:
    """A value in a message: its ``repr`` in one line, cut if it is long.

    Examples
    --------
    >>> brief("no such name"), brief(list(range(1000)), 12)
    ("'no such name'", '[0, 1, 2, 3,...')
    """
    text = " ".join(repr(value).split())
    return text if len(text) <= most else f"{text[:most]}..."


def reason_of(error: BaseException | None) -> str:
    r"""Reason for an error of ours: the message of its cause in one line, else the cause's kind.

    Examples
    --------
    >>> reason_of(ValueError("marker\n  is missing"))
    'marker is missing'
    >>> reason_of(EOFError())
    'EOFError'
    """
    text = " ".join(str(error).split()) or type(error).__name__
    if len(text) <= _LONGEST_REASON or isinstance(error, TwoStageError):
        return text
    return f"{text[:_LONGEST_REASON]}..."
