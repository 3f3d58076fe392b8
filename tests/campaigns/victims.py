"""Processes that work until they are killed, and report what they have done."""

from __future__ import annotations

import time
import traceback
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.campaigns.runner import WrongResultError

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    Action = Callable[["Callable[[object], None]"], object]
    """Does something, and calls its argument with what it has done."""


class Report(NamedTuple):
    """One report of a victim."""

    time: float
    """Seconds of `time.monotonic`, which all processes share."""
    what: Any


class _Failed(NamedTuple):
    text: str


class Victim:
    """A forked process.

    Parameters
    ----------
    action : callable
        Runs in the process.
    """

    def __init__(self, action: Action) -> None:
        context = get_context("fork")
        self._receiver, sender = context.Pipe(duplex=False)
        self._process = context.Process(target=_act, args=(action, sender))
        self._process.start()
        sender.close()
        self.pid = self._process.pid or 0
        self.reports: list[Report] = []
        self._may_fail = False
        self.killed_at = 0.0
        """Time of the kill; 0 if the process came to its end before."""

    def live(self, seconds: float) -> None:
        """Let it work for so long, or to its end."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and self._receive(left):
            pass

    def kill(self, *, failed: bool = False) -> bool:
        """Kill it with SIGKILL; returns whether it was still alive.

        Parameters
        ----------
        failed : bool
            Whether it may have ended with an error of its own.

        Raises
        ------
        WrongResultError
            If it had ended with an error and may not.
        """
        self._may_fail = failed
        killed_at = time.monotonic()
        self._process.kill()
        self._process.join()
        while self._receive(0):
            pass
        if self._process.exitcode:
            self.killed_at = killed_at
        return bool(self._process.exitcode)

    def finish(self) -> list[Any]:
        """Wait for its end; returns all that it reported."""
        while self._receive(None):
            pass
        self._process.join()
        if self._process.exitcode:
            raise WrongResultError(f"a process ended with exit code {self._process.exitcode}")
        return [report.what for report in self.reports]

    def _receive(self, timeout: float | None) -> bool:
        """Take one report; False if none came, or none will."""
        try:
            if not self._receiver.poll(timeout):
                return False
            report = self._receiver.recv()
        except (EOFError, OSError):
            self._process.join(timeout)
            return False
        if isinstance(report.what, _Failed):
            self._process.join()
            if not self._may_fail:
                raise WrongResultError(report.what.text)
            return False
        self.reports.append(report)
        return True


def in_child(function: Callable[..., Any], *arguments: object) -> Any:
    """Call a function in a forked process, so that this one keeps no threads."""
    return Victim(lambda report: report(function(*arguments))).finish()[0]


def _act(action: Action, sender: Connection) -> None:
    try:
        action(lambda what: sender.send(Report(time.monotonic(), what)))
    except BaseException:
        sender.send(Report(time.monotonic(), _Failed(traceback.format_exc())))
        raise
