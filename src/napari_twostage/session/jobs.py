"""Work in threads of its own whose news come out in the owner's thread."""

from __future__ import annotations

import atexit
import concurrent.futures.thread  # noqa: F401 - registers its own end before ours: see below
import logging
import threading
import weakref
from dataclasses import dataclass
from queue import Empty, Full, Queue
from typing import TYPE_CHECKING

from napari_twostage.errors import TwoStageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

log = logging.getLogger(__name__)

NEWS_AHEAD = 512
"""Pieces of news that may wait for the owner: then the work waits, so memory stays bounded."""
_END_S = 10.0
"""How long the interpreter waits for a job that was at work when the program ended."""
_alive: weakref.WeakSet[Job] = weakref.WeakSet()
_exiting = threading.Event()
_LOOK_S = 0.1
"""How often work that waits for its owner looks whether it was cancelled."""


@dataclass(frozen=True, slots=True)
class JobFailed:
    """The job came to an end it was not made for."""

    reason: str
    """One line for the user."""


@dataclass(frozen=True, slots=True)
class JobEnded:
    """The last piece of news of a job, always."""

    cancelled: bool
    complete: bool
    """Whether it did all it was made for."""


News = tuple["Job", object]
Inbox = Queue[News]


def new_inbox() -> Inbox:
    """Make the place where jobs leave their news."""
    return Queue(NEWS_AHEAD)


class Cancelled(Exception):  # noqa: N818 - it is no error
    """Raised in a job's own thread, to unwind what cannot be left between two items."""


class Job:
    """An iterator that runs in a thread; what it yields goes to an inbox.

    Parameters
    ----------
    name : str
        Of the thread.
    begin : callable
        Given the job, makes the iterator; called in the thread. Closing the iterator must stop
        its work.
    inbox : Queue
        Gets (job, item) for each item, in the end (job, `JobEnded`).
    after : sequence of Job
        Start when these have ended: two jobs never work on one thing.
    whole : bool
        Do it all, even if cancelled: what the user painted must not get lost.
    """

    def __init__(
        self,
        name: str,
        begin: Callable[[Job], Iterator[object]],
        inbox: Inbox,
        after: Sequence[Job] = (),
        *,
        whole: bool = False,
    ) -> None:
        self.name = name
        self._whole = whole
        self._begin = begin
        self._inbox = inbox
        self._after = tuple(after)
        self._go = threading.Event()
        self._go.set()
        self._cancelled = threading.Event()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        _alive.add(self)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread still works."""
        return self._thread.is_alive()

    @property
    def paused(self) -> bool:
        """Whether it waits to be resumed, or will after the item at work."""
        return not self._go.is_set()

    @property
    def cancelled(self) -> bool:
        """Whether it ends, or will after the item at work."""
        return self._cancelled.is_set()

    def pause(self) -> None:
        """Wait after the item at work."""
        self._go.clear()

    def resume(self) -> None:
        """Go on."""
        self._go.set()

    def cancel(self) -> None:
        """Stop after the item at work."""
        if not self._whole:
            self._cancelled.set()
        self._go.set()

    def join(self, timeout_s: float | None = None) -> None:
        """Wait for the thread's end; for a job that was cancelled, else it may wait for news."""
        self._thread.join(timeout_s)

    def report(self, item: object) -> None:
        """Leave a piece of news from within the job: from a progress callback, say.

        Raises
        ------
        Cancelled
            If the job was cancelled: let it pass, the job ends with it.
        """
        self._tell(item)
        self.wait_to_go_on()

    def wait_to_go_on(self) -> None:
        """Wait within the job while it is paused.

        Raises
        ------
        Cancelled
            If it was cancelled: let it pass, the job ends with it.
        """
        self._go.wait()
        if self._cancelled.is_set():
            raise Cancelled

    def _work(self) -> None:
        for job in self._after:
            job.join()
        self._after = ()
        complete = False
        try:
            complete = self._carry()
        except Cancelled:
            pass
        except TwoStageError as error:
            self._tell(JobFailed(str(error)), even_if_cancelled=True)
        except OSError as error:
            log.exception("%s", self.name)
            place = f": {error.filename}" if error.filename else ""
            reason = f"{error.strerror or error}{place}; mend that and try again"
            self._tell(JobFailed(reason), even_if_cancelled=True)
        except Exception as error:
            log.exception("%s", self.name)
            line = " ".join(str(error).split()) or "no reason given"
            reason = f"unexpected {type(error).__name__}: {line}; what was done so far is kept"
            self._tell(JobFailed(reason), even_if_cancelled=True)
        self._tell(JobEnded(self._cancelled.is_set(), complete), even_if_cancelled=True)

    def _carry(self) -> bool:
        """Whether it came to its end."""
        if self._cancelled.is_set():
            return False
        items = self._begin(self)
        try:
            for item in items:
                self._tell(item)
                self._go.wait()
                if self._cancelled.is_set():
                    return False
        finally:
            if hasattr(items, "close"):
                items.close()
        return True

    def _tell(self, item: object, *, even_if_cancelled: bool = False) -> None:
        while not _exiting.is_set():
            try:
                self._inbox.put((self, item), timeout=_LOOK_S)
            except Full:
                if self._cancelled.is_set() and not even_if_cancelled:
                    return
            else:
                return


def _end_all() -> None:
    """Let threads end before the interpreter does: one killed inside a library takes all down."""
    _exiting.set()
    for job in list(_alive):
        job.cancel()
    for job in list(_alive):
        job.join(_END_S)


# `atexit` comes after Python has ended the thread pools that jobs work with; those use this, too
getattr(threading, "_register_atexit", atexit.register)(_end_all)


def take(inbox: Inbox, timeout_s: float | None = None) -> Iterator[News]:
    """All news that wait, the oldest first.

    Parameters
    ----------
    inbox : Queue
        From `new_inbox`.
    timeout_s : float, optional
        Wait this long for the first one.
    """
    try:
        if timeout_s is not None:
            yield inbox.get(timeout=timeout_s)
        for _ in range(NEWS_AHEAD):  # not forever: work may be faster than its owner
            yield inbox.get_nowait()
    except Empty:
        return
