"""What a session takes in from the disk: the rest of a stopped run, and the work of others."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from napari_twostage.session import upkeep
from napari_twostage.session.advice import missing_folder

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
        state = self._state
        if state.folder_is_gone():
            if not state.disk_failed:
                state.report(missing_folder(seg.path))
        elif state.disk_failed:
            state.disk_failed = False
            state.events.labels_edited.emit(seg.grid.box)  # blank where it could not be read

    def _other_has_ended(self, seg: Segmentation) -> bool:
        standing = self._state.standing
        return standing is not None and bool(standing.writer) and seg.other_writer is None
