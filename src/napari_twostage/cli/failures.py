"""Errors to one line and an exit code; messages of libraries to where they do not clutter."""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

from napari_twostage.cli.crash_log import write_log
from napari_twostage.errors import (
    BusyFileError,
    LockedError,
    OutOfMemoryError,
    StorageError,
    UnfinishedError,
    explained,
    one_line,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DONE, FAILED, BAD_INPUT, STOPPED = 0, 1, 2, 130
"""Exit codes; `FAILED` where something failed or is missing that may be there next time."""
_PASSING = (BusyFileError, LockedError, OutOfMemoryError, StorageError, UnfinishedError)
"""Errors that are no fault of the input."""
_KEPT_MESSAGES = 200


class Messages(logging.Handler):
    """Keep the last log messages and warnings of all libraries, for a log of an error."""

    def __init__(self) -> None:
        super().__init__()
        self.last: deque[str] = deque(maxlen=_KEPT_MESSAGES)
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one message."""
        self.last.append(self.format(record))


class _Shown(logging.Handler):
    """Show messages on stderr, the one of this moment."""

    def emit(self, record: logging.LogRecord) -> None:
        sys.stderr.write(self.format(record) + "\n")


@contextmanager
def collected_messages(*, debug: bool) -> Iterator[Messages]:
    """Collect messages of libraries instead of showing them; our own warnings are shown.

    Parameters
    ----------
    debug : bool
        Show everything.
    """
    root, ours = logging.getLogger(), logging.getLogger("napari_twostage")
    messages, shown = Messages(), _Shown()
    shown.setLevel(logging.WARNING)
    pattern = "%(levelname)s %(name)s: %(message)s" if debug else "napari-twostage: %(message)s"
    shown.setFormatter(logging.Formatter(pattern))
    shower = root if debug else ours
    logging.captureWarnings(True)
    root.addHandler(messages)
    shower.addHandler(shown)
    hook, threading.excepthook = threading.excepthook, _log_of_thread
    try:
        yield messages
    finally:
        threading.excepthook = hook
        shower.removeHandler(shown)
        root.removeHandler(messages)
        logging.captureWarnings(False)


def report(error: Exception, arguments: Sequence[str], messages: Messages, *, debug: bool) -> int:
    """Write an error to stderr, as one line and with `debug` with its traceback.

    Returns
    -------
    int
        The exit code.
    """
    if debug:
        traceback.print_exception(error)
    known = explained(error)
    if known is None:
        line, code = _unforeseen(error, arguments, messages), FAILED
    else:
        line, code = one_line(known), FAILED if isinstance(known, _PASSING) else BAD_INPUT
    sys.stderr.write(f"napari-twostage: {line}\n")
    return code


def _unforeseen(error: Exception, arguments: Sequence[str], messages: Messages) -> str:
    path = write_log(error, arguments, messages.last)
    found = f"{arguments[0]} ended by an error that is not yours ({one_line(error)})"
    if path is None:
        return f"{found}; run it again with --debug and report what that shows"
    return f"{found}; report it with {path}, or run it again with --debug"


def _log_of_thread(arguments: threading.ExceptHookArgs) -> None:
    """Log an error that ended a thread; whoever waits for the thread reports it."""
    error = arguments.exc_value
    if error is not None:
        logging.getLogger("threading").error("%s", one_line(error), exc_info=error)
