"""Group commits: pixels reach the disk first, then the journal lines that speak of them.

A line that named pixels which a power cut took away would be worse than none. Syncing a file takes
milliseconds, so lines wait for up to a second and are committed together, the files that they
speak of before them. What a kill or a power cut takes with it is that second's work.
"""

from __future__ import annotations

from threading import RLock, Timer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_twostage.io.durable import DirtyFiles
    from napari_twostage.result.journal import Journal, Line

DELAY_S = 1.0
"""Longest time that a line waits."""


class Commits:
    """Journal lines that wait for the pixels they speak of; any thread may call.

    Parameters
    ----------
    journal : Journal
        Journal to append to.
    dirty : DirtyFiles, optional
        Files that lines may speak of; None where writing a file is final, as on an object store.
    """

    def __init__(self, journal: Journal, dirty: DirtyFiles | None = None) -> None:
        self._journal = journal
        self._dirty = dirty
        self._lock = RLock()
        self._waiting: list[Line] = []
        self._timer: Timer | None = None
        self._error: Exception | None = None

    def add(self, line: Line) -> None:
        """Take a line whose pixels are written; it is committed within a second.

        Raises
        ------
        OSError, TwoStageError
            If the commit before failed; its lines and this one still wait.
        """
        with self._lock:
            self._waiting.append(line)
            if self._error is not None:
                error, self._error = self._error, None
                raise error
            if self._timer is None:
                self._timer = Timer(DELAY_S, self._commit_later)
                self._timer.daemon = True
                self._timer.start()

    def commit_now(self, line: Line) -> None:
        """Commit a line with all that waits before it, or not at all.

        Raises
        ------
        OSError, TwoStageError
            If the disk is full or gone; the line is forgotten, those before it still wait.
        """
        with self._lock:
            self._waiting.append(line)
            try:
                self.commit()
            except BaseException:
                self._waiting.pop()
                raise

    def commit(self) -> None:
        """Put all that waits on the disk, in its order.

        Raises
        ------
        OSError, TwoStageError
            If the disk is full or gone; the lines still wait.
        """
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._error = None
            lines = self._waiting
            if self._dirty is not None:
                self._dirty.sync()
            if lines:
                self._journal.append(*lines)
                self._waiting = []

    def _commit_later(self) -> None:
        with self._lock:
            try:
                self.commit()
            except Exception as error:  # noqa: BLE001 - raised by the next call, in its thread
                self._error = error
