"""Jobs: iterators that run in threads, and whose items come out in the owner's thread."""

from __future__ import annotations

import atexit
import concurrent.futures.thread  # noqa: F401 - registers its own end before ours: see below
import threading
import weakref
from dataclasses import dataclass, field
from queue import Empty, Full, Queue
from typing import TYPE_CHECKING

from napari_twostage.errors import TwoStageError
from napari_twostage.session.advice import advise, again_after, log_unexpected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

EVENTS_AHEAD = 512
"""Events that may wait for the owner; then jobs wait, so that memory stays bounded."""
_END_S = 10.0
"""Seconds that the interpreter waits at its end for a job that is at work."""
_alive: weakref.WeakSet[Job] = weakref.WeakSet()
_exiting = threading.Event()
_POLL_S = 0.1
"""Seconds between two looks whether a job that waits for its owner was cancelled."""


@dataclass(frozen=True, slots=True)
class JobFailed:
    """A job was ended by an error."""

    error: Exception
    job: str = field(default="", compare=False)
    """Name of the job."""

    @property
    def reason(self) -> str:
        """One line for the user of a window."""
        return advise(self.error, again_after(self.job))

    def reraise(self) -> None:
        """Raise the error: as it is if it is one of ours, else as the cause of a `TwoStageError`.

        Raises
        ------
        TwoStageError
            Always.
        """
        if isinstance(self.error, TwoStageError):
            raise self.error
        raise TwoStageError(self.reason) from self.error


@dataclass(frozen=True, slots=True)
class JobEnded:
    """The last event of every job."""

    cancelled: bool
    complete: bool
    """Whether the iterator was exhausted."""


JobEvent = tuple["Job", object]
"""A job, and an item of its iterator, `JobFailed` or `JobEnded`."""
Inbox = Queue[JobEvent]


def new_inbox() -> Inbox:
    """Make the queue that jobs put their events into."""
    return Queue(EVENTS_AHEAD)


class Cancelled(Exception):  # noqa: N818 - it is no error
    """Raised in a job's own thread, to end work between two items of the iterator."""


class Job:
    """An iterator that runs in a thread; its items go to an inbox.

    Parameters
    ----------
    name : str
        Name of the thread.
    begin : callable
        Called with the job, in the thread; returns the iterator. Closing the iterator must stop
        its work.
    inbox : Queue
        Gets (job, item) for each item, and (job, `JobEnded`) at the end.
    after : sequence of Job
        Jobs that must end before this one starts.
    must_finish : bool
        Ignore `cancel`: what the user painted must not get lost.
    """

    def __init__(
        self,
        name: str,
        begin: Callable[[Job], Iterator[object]],
        inbox: Inbox,
        after: Sequence[Job] = (),
        *,
        must_finish: bool = False,
    ) -> None:
        self.name = name
        self.must_finish = must_finish
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
        """Whether the thread is running."""
        return self._thread.is_alive()

    def pause(self) -> None:
        """Wait at the next item, or call of `wait_while_paused`."""
        self._go.clear()

    def resume(self) -> None:
        """End a pause."""
        self._go.set()

    def cancel(self) -> None:
        """Stop at the next item, or call of `wait_while_paused`."""
        if not self.must_finish:
            self._cancelled.set()
        self._go.set()

    def join(self, timeout_s: float | None = None) -> None:
        """Wait for the end of the thread.

        A job that was not cancelled may itself wait for its events to be taken.
        """
        self._thread.join(timeout_s)

    def report(self, item: object) -> None:
        """Put an event into the inbox from within the job: from a progress callback, say.

        Raises
        ------
        Cancelled
            If the job was cancelled; do not catch it, it ends the job.
        """
        self._put(item)
        self.wait_while_paused()

    def wait_while_paused(self) -> None:
        """Block the calling thread, one of the job's, while the job is paused.

        Raises
        ------
        Cancelled
            If the job was cancelled; do not catch it, it ends the job.
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
            complete = self._iterate()
        except Cancelled:
            pass
        except Exception as error:  # noqa: BLE001 - logged there
            log_unexpected(self.name, error)
            self._put(JobFailed(error, self.name), even_if_cancelled=True)
        self._put(JobEnded(self._cancelled.is_set(), complete), even_if_cancelled=True)

    def _iterate(self) -> bool:
        """Pass items on; True if the iterator was exhausted, False if the job was cancelled."""
        if self._cancelled.is_set():
            return False
        items = self._begin(self)
        try:
            for item in items:
                self._put(item)
                self._go.wait()
                if self._cancelled.is_set():
                    return False
        finally:
            if hasattr(items, "close"):
                items.close()
        return True

    def _put(self, item: object, *, even_if_cancelled: bool = False) -> None:
        while not _exiting.is_set():
            try:
                self._inbox.put((self, item), timeout=_POLL_S)
            except Full:
                if self._cancelled.is_set() and not even_if_cancelled:
                    return
            else:
                return


def _end_all() -> None:
    """End all jobs before the interpreter ends: a thread killed inside a library crashes it."""
    _exiting.set()
    for job in list(_alive):
        job.cancel()
    for job in list(_alive):
        job.join(_END_S)


# `atexit` comes after Python has ended the thread pools that jobs work with; those use this, too
getattr(threading, "_register_atexit", atexit.register)(_end_all)


def take(inbox: Inbox, timeout_s: float | None = None) -> Iterator[JobEvent]:
    """Take the events that wait, the oldest first.

    Parameters
    ----------
    inbox : Queue
        From `new_inbox`.
    timeout_s : float, optional
        Seconds to wait for the first event; None takes only what is there.
    """
    try:
        if timeout_s is not None:
            yield inbox.get(timeout=timeout_s)
        for _ in range(EVENTS_AHEAD):  # bounded: a job may be faster than its owner
            yield inbox.get_nowait()
    except Empty:
        return
