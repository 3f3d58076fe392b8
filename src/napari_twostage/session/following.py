"""What a session takes in from the disk: the rest of a stopped run, and the work of others."""

from __future__ import annotations

import errno
import os
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from napari_twostage.session import upkeep

if TYPE_CHECKING:
    from napari_twostage.engine.segmentation import Segmentation
    from napari_twostage.session.scheduler import Scheduler
    from napari_twostage.session.state import SessionState

FOLLOW_S = 1.0
"""Seconds between two looks for what other windows and processes have written."""


class Follower:
    """Keeps a session's state abreast of its result folder.

    Parameters
    ----------
    state : SessionState
        State of the session.
    jobs : Scheduler
        Jobs of the session.
    """

    def __init__(self, state: SessionState, jobs: Scheduler) -> None:
        self._state = state
        self._jobs = jobs
        self._next_look = 0.0
        self._away: Segmentation | None = None
        """Result whose folder was not there at the last look."""
        self._seen: tuple[Segmentation | None, int] = None, 0

    def look(self) -> None:
        """Take in what others have written since the last look; costs one look at a file."""
        now, state = time.monotonic(), self._state
        if state.seg is None or now < self._next_look or self._jobs.busy:
            return
        self._next_look = now + FOLLOW_S
        try:
            self._look_for_folder(state.seg)
            state.seg.follow()
            ended = self._other_has_ended(state.seg)
        except Exception as error:  # noqa: BLE001 - the owner's timer calls again
            state.report(error)
            return
        seen, self._seen = self._seen, (state.seg, state.seg.events_taken)
        if ended or seen != self._seen:
            self._start("follow", first=False)

    def catch_up(self) -> None:
        """Report what a stopped run had already written."""
        self._start("catch up", first=True)

    def _start(self, name: str, *, first: bool) -> None:
        """Start a job; if it comes first, it is neither cancelled nor overtaken by a run."""
        seg, reported, curve = self._state.seg, self._state.reported, self._state.curve
        if seg is not None:
            seconds = seg.seconds_per_tile if curve is None else curve.seconds_per_tile
            steps = partial(upkeep.follow, seg, reported, seconds)
            self._jobs.add_task(name, lambda _job: steps(), must_finish=first, before_run=first)

    def _look_for_folder(self, seg: Segmentation) -> None:
        """Tell when the folder goes away, and show its labels again when it is back."""
        if not isinstance(seg.path, Path):
            return  # a URL is not asked about every second
        away, self._away = self._away, None if seg.path.exists() else seg
        if self._away is seg and away is not seg:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(seg.path))
        if away is seg and self._away is None:
            state = self._state
            state.events.labels_edited.emit(seg.grid.box)
            state.say(f"{seg.path.name} is back")

    def _other_has_ended(self, seg: Segmentation) -> bool:
        standing = self._state.standing
        return standing is not None and bool(standing.writer) and seg.other_writer is None
