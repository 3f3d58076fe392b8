"""Ctrl-C and SIGTERM: one line and an exit code, whatever the process is doing.

A signal ends the process at once, except within `saving`: there the first one raises
KeyboardInterrupt, so that a run writes what it has computed, and the second ends the process.
It always ends without Python's own shutdown, during which libraries with threads of their own
abort. This module imports next to nothing: until `handle_interrupts` has run, Ctrl-C ends in
Python's own traceback.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

RESUMABLE = ("batch", "demo", "refine", "segment", "train")
"""Verbs that go on where they were stopped."""
_HANDLED = (signal.SIGINT, signal.SIGTERM)


class _State:
    """The only one of a process, as signals are."""

    def __init__(self) -> None:
        self.arguments: Sequence[str] = ()
        self.saving = False
        self.received: int | None = None


_state = _State()


def stopped_line(arguments: Sequence[str]) -> str:
    """Message of a command that was stopped, and how to go on.

    Examples
    --------
    >>> stopped_line(["info", "a.svs"])
    'stopped. To start again: napari-twostage info a.svs'
    """
    words = ["napari-twostage", *arguments]
    if os.name == "nt":
        import subprocess

        command = subprocess.list2cmdline(words)
    else:
        import shlex

        command = shlex.join(words)
    if arguments and arguments[0] in RESUMABLE:
        return f"stopped; what was computed is kept. To go on: {command}"
    return f"stopped. To start again: {command}"


def handle_interrupts(arguments: Sequence[str]) -> None:
    """Handle the signals that stop this process; those that its parent had ignored stay so."""
    _state.arguments = arguments
    for number in _HANDLED:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _handle)
    sys.unraisablehook = _raise_again
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_leave_to_parent)


@contextmanager
def saving() -> Iterator[None]:
    """Let work be saved: within the block the first signal raises KeyboardInterrupt."""
    _state.saving = True
    try:
        yield
    finally:
        _state.saving = False


def exit_if_interrupted() -> None:
    """End the process if a signal came, whatever error it led to."""
    if _state.received is not None:
        _exit(_state.received)


def ignore_interrupts() -> None:
    """Ignore signals from now on: all is done, and Python shuts down."""
    for number in _HANDLED:
        signal.signal(number, signal.SIG_IGN)


def _leave_to_parent() -> None:
    """Let a forked child say nothing: a terminal sends Ctrl-C to it as well."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _handle(number: int, _frame: FrameType | None) -> None:
    if _state.received is None and _state.saving:
        _state.received = number
        raise KeyboardInterrupt
    _exit(number)


def _exit(number: int) -> NoReturn:
    """Write the line past Python's buffers, which may be in use at this moment, and end."""
    ignore_interrupts()  # one line is enough
    try:
        line = f"\n{stopped_line(_state.arguments)}\n"
        os.write(2, line.encode(sys.stderr.encoding, sys.stderr.errors or "replace"))
    finally:
        os._exit(128 + number)


def _raise_again(unraisable: sys.UnraisableHookArgs) -> None:
    """Deliver a signal again that came where Python drops exceptions; drop all others."""
    if unraisable.exc_type is KeyboardInterrupt and _state.received is not None:
        _exit(_state.received)
