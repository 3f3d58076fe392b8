"""Runs of a session's slide: which there are, which fits the options, how each was looked at."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from napari_twostage.errors import DamagedFileError, SegmentationError
from napari_twostage.result.record import read_record
from napari_twostage.session.events import RunsFound
from napari_twostage.session.memory import Remembered, RunMemory, slide_name
from napari_twostage.session.result_paths import has_size_of
from napari_twostage.session.slide_runs import SlideRun, find_runs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_twostage.geometry import Box
    from napari_twostage.io.paths import Location
    from napari_twostage.session.scheduler import Scheduler
    from napari_twostage.session.state import SessionState


class RunBook:
    """Runs of the slide of a session.

    Parameters
    ----------
    state : SessionState
        Session whose slide, options and result are read.
    jobs : Scheduler
        Takes the task that looks for runs.
    memory : RunMemory, optional
        Remembers how runs were looked at; without, nothing is remembered.
    """

    def __init__(self, state: SessionState, jobs: Scheduler, memory: RunMemory | None) -> None:
        self._state = state
        self._jobs = jobs
        self._memory = memory
        self._looks = 0
        self.sections: list[str] = []
        """Sections of a panel that are open, to be remembered."""

    @property
    def fits(self) -> bool:
        """Whether a coarse pass goes on with the result that is open; else it begins another."""
        seg = self._state.seg
        return seg is None or self._state.options.fit(seg.record)

    def look(self) -> None:
        """Look for runs, in a task that no other waits for; the last of several looks counts."""
        slide = self._state.slide
        if slide is None:
            return
        known = [] if self._memory is None else self._memory.runs_of(slide.path)

        self._looks += 1
        look = self._looks

        def begin() -> Iterator[object]:
            found = tuple(find_runs(slide, known))
            if look == self._looks:
                yield RunsFound(found)

        self._jobs.add_task("list runs", lambda _job: begin(), at_once=True)

    def matching(self) -> SlideRun | None:
        """The newest run of the open result's model with the session's options, if it has one."""
        state, seg = self._state, self._state.seg
        if seg is None:
            return None
        model = seg.record.model.sha256
        return next(
            (
                run
                for run in state.runs
                if run.record.model.sha256 == model
                and run.path != seg.path
                and state.options.fit(run.record)
            ),
            None,
        )

    def last(self, model: str | None = None) -> Location | None:
        """The run of the slide, or of one model on it, that was opened last."""
        slide = self._state.slide
        if self._memory is None or slide is None:
            return None
        for run in self._memory.runs_of(slide.path, model):
            with suppress(SegmentationError, DamagedFileError, OSError):
                if has_size_of(read_record(run), slide):
                    return run
        return None

    def recall(self) -> Remembered | None:
        """How the open result was last looked at; None if it was never opened."""
        seg = self._state.seg
        return None if self._memory is None or seg is None else self._memory.recall(seg.path)

    def keep(self, view: Box | None = None) -> None:
        """Remember how the open result is looked at, and that it was the last one.

        Parameters
        ----------
        view : Box, optional
            Visible box of the slide's level 0; the one remembered before if None.
        """
        state, seg = self._state, self._state.seg
        if self._memory is None or seg is None:
            return
        slide = None if state.slide is None else state.slide.path
        before = self._memory.recall(seg.path)
        how = before or Remembered(slide_name(slide), seg.record.model.sha256)
        how = replace(how, threshold=state.threshold)
        if view is not None:
            how = replace(how, view=view)
        if self.sections:
            how = replace(how, sections=list(self.sections))
        self._memory.keep(seg.path, how)
