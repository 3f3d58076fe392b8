"""Progress of a session's work, with the time that is left."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from napari_twostage.session.events import Progress

if TYPE_CHECKING:
    from collections.abc import Callable

SETTLED_S = 1.0
"""Seconds of a task before its time left is estimated."""


@dataclass(slots=True)
class Stopwatch:
    """Seconds of work, without the pauses."""

    started: float = field(default_factory=time.monotonic)
    paused_at: float | None = None

    def pause(self) -> None:
        """Stop counting."""
        self.paused_at = self.paused_at or time.monotonic()

    def resume(self) -> None:
        """Count again."""
        if self.paused_at is not None:
            self.started += time.monotonic() - self.paused_at
            self.paused_at = None

    def seconds(self) -> float:
        """Seconds of work so far."""
        return (self.paused_at or time.monotonic()) - self.started


class ProgressMeter:
    """Progress of the run, else of the task beside it.

    Parameters
    ----------
    changed : callable
        Called with `current` after each change.
    """

    def __init__(self, changed: Callable[[Progress | None], None]) -> None:
        self._changed = changed
        self._watch, self._task_watch = Stopwatch(), Stopwatch()
        self._run: Progress | None = None
        self._task: Progress | None = None

    @property
    def current(self) -> Progress | None:
        """Progress to show, or None if nothing reports any."""
        return self._run or self._task

    def restart(self) -> None:
        """Begin to time a stage of the run; a pause goes on."""
        paused = self._watch.paused_at is not None
        self._watch = Stopwatch()
        if paused:
            self._watch.pause()

    def pause(self) -> None:
        """Stop counting time."""
        self._watch.pause()

    def resume(self) -> None:
        """Count time again."""
        self._watch.resume()

    def show(self, progress: Progress) -> None:
        """Set the progress of the run."""
        self._run = progress
        self._changed(self.current)

    def advance(self, count: int) -> None:
        """Add finished units to the run's progress, and estimate the time left."""
        shown = self._run
        if shown is None:
            return
        done = min(shown.total, shown.done + count)
        left = self._watch.seconds() / done * (shown.total - done)
        self.show(Progress(shown.stage, done, shown.total, shown.unit, left))

    def end_run(self) -> None:
        """Forget the progress of the run."""
        self._run = None
        self._watch.resume()
        self._changed(self.current)

    def show_task(self, progress: Progress) -> None:
        """Set the progress of the task beside the run, and estimate the time left."""
        if self._task is None or self._task.stage != progress.stage:
            self._task_watch = Stopwatch()
        seconds, share = self._task_watch.seconds(), progress.share
        if seconds > SETTLED_S and share > 0:
            progress = replace(progress, seconds_left=seconds / share * (1 - share))
        self._task = progress
        self._changed(self.current)

    def end_task(self) -> None:
        """Forget the progress of the task."""
        self._task = None
        self._changed(self.current)

    def clear(self) -> None:
        """Forget all progress."""
        self._task = None
        self.end_run()
