"""Log files of errors that nobody foresaw."""

from __future__ import annotations

import os
import platform
import re
import sys
import traceback
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import distributions
from typing import TYPE_CHECKING

import platformdirs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

KEPT = 20
"""Number of logs; older ones are removed."""
_SECRET = re.compile(r"(?<=://)[^/\s'\"@]+@|(?<=\?)[^\s'\"]+")
"""Password or signature in a URL."""


def log_folder() -> Path:
    """Folder of the logs, in this user's cache."""
    return platformdirs.user_cache_path("napari-twostage") / "logs"


def write_log(
    error: BaseException, arguments: Sequence[str], messages: Iterable[str]
) -> Path | None:
    """Write what a report of an error needs.

    Parameters
    ----------
    error : exception
        Its traceback, and those of its causes, are written.
    arguments : sequence of str
        Words of the command line. Passwords in URLs are left out.
    messages : iterable of str
        Messages of libraries before the error.

    Returns
    -------
    Path or None
        The file; None if it cannot be written.
    """
    now = datetime.now(UTC)
    versions = sorted(f"{found.name} {found.version}" for found in distributions())
    text = "\n".join(
        [
            f"napari-twostage {' '.join(arguments)}",
            f"{now.isoformat(timespec='seconds')}, {platform.platform()}, Python {sys.version}",
            f"folder {os.getcwd()}",  # noqa: PTH109 - nothing that a Path does to it
            "",
            "".join(traceback.format_exception(error)),
            *messages,
            "",
            *versions,
            "",
        ]
    )
    folder = log_folder()
    path = folder / f"{now:%Y-%m-%dT%H-%M-%S}-{os.getpid()}.log"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(_SECRET.sub("...", text), encoding="utf-8", errors="backslashreplace")
    except OSError:
        return None
    _prune(folder)
    return path


def _prune(folder: Path) -> None:
    with suppress(OSError):
        for old in sorted(folder.glob("*.log"))[:-KEPT]:
            old.unlink(missing_ok=True)
