"""Opening files that may be anything: pipes and devices are refused, none is waited for."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
"""A pipe that nobody writes to is opened at once instead of never."""


def open_regular(path: Path) -> int:
    """Open a regular file for reading.

    Returns
    -------
    File descriptor, which the caller closes.

    Raises
    ------
    OSError
        If there is no such file, or it is a folder, a pipe, a socket or a device.
    """
    # looked at before it is opened: opening alone makes some devices act
    _check(path, path.stat().st_mode)
    descriptor = os.open(path, _FLAGS)
    try:
        _check(path, os.fstat(descriptor).st_mode)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read_regular(path: Path, start: int, stop: int | None, most_bytes: int) -> bytes:
    """Read bytes [start, stop) of a regular file; fewer if it ends early.

    Parameters
    ----------
    path : Path
    start : int
        First byte; if negative, counted from the end.
    stop : int or None
        End of the bytes; None for the end of the file.
    most_bytes : int
        Length that is allowed.

    Raises
    ------
    ValueError
        If it is longer than `most_bytes`.
    OSError
        As `open_regular`.
    """
    with open(open_regular(path), "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        first = max(0, size + start) if start < 0 else start
        count = max(0, min(size if stop is None else stop, size) - first)
        if count > most_bytes:
            raise ValueError(
                f"{path.name} has {count:,} bytes, at most {most_bytes:,} were expected"
            )
        file.seek(min(first, size))
        parts = []
        while count and (part := file.read(count)):
            parts.append(part)
            count -= len(part)
    return b"".join(parts)


def _check(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(f"{path.name} is a folder, a file was expected")
    if not stat.S_ISREG(mode):
        raise OSError(f"{path.name} is a pipe or a device, a file was expected")
