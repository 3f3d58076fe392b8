"""The state of a session and how news from its threads changes it, in one place."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Self

from psygnal import Signal

from napari_twostage.errors import SelectionError, TwoStageError
from napari_twostage.method.selection import Curve
from napari_twostage.method.steps import (
    ChipFailed,
    ChipRefined,
    CoarsePassStarted,
    CoarseWindowDone,
    PyramidGrown,
    TilesSelected,
)
from napari_twostage.session import tasks
from napari_twostage.session.clock import Clock
from napari_twostage.session.events import (
    Edited,
    Exported,
    Found,
    Kind,
    Measured,
    Notice,
    Patch,
    Progress,
    RunState,
)
from napari_twostage.session.jobs import Job, JobEnded, JobFailed, new_inbox, take

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_twostage.engine.segmentation import Segmentation
    from napari_twostage.geometry import Box
    from napari_twostage.io.paths import Location
    from napari_twostage.measure.areas import ClassArea
    from napari_twostage.method.steps import Step
    from napari_twostage.models import ModelCard
    from napari_twostage.models.backends.base import Compute
    from napari_twostage.models.bundle import Bundle
    from napari_twostage.slides.base import Slide

    Begin = Callable[[Job], Iterator[object]]

_LOOK, _CATCH_UP = "look for results", "catch up"
_WAIT_S = 0.05
"""How long `SessionCore.wait` sleeps where there is no news."""


class SessionCore:
    """What is known and under way; `Session` adds what one can do.

    Parameters
    ----------
    device, precision : str
        What models run on; see `load_model`.
    """

    slide_changed = Signal()
    model_changed = Signal()
    result_changed = Signal()
    """`seg` is another one, or none."""
    tissue_found = Signal()
    """`seg.tissue` is known."""
    windows_done = Signal(list)
    """Coarse windows: a list of `CoarseWindowDone`."""
    chips_done = Signal(list)
    """Refined or failed places: a list of `ChipRefined` and `ChipFailed`."""
    state_changed = Signal(RunState)
    progress_changed = Signal(object)
    """A `Progress`, or None when nothing is under way."""
    forecast_changed = Signal()
    """`threshold`, `curve` or both are new."""
    edit_started = Signal(object)
    """A `Patch`."""
    edit_ended = Signal()
    labels_edited = Signal(object)
    """Edits in a `Box` of the fine grid were committed or taken back."""
    measured = Signal(list)
    """A list of `ClassArea`."""
    exported = Signal(object)
    """The path that was written."""
    noticed = Signal(object)
    """A `Notice`."""

    def __init__(self, *, device: str = "auto", precision: str = "f32") -> None:
        self.slide: Slide | None = None
        self.card: ModelCard | None = None
        self.out: Location | None = None
        self.seg: Segmentation | None = None
        self.coarse_done = False
        self.curve: Curve | None = None
        self.editing: Patch | None = None
        self.reading_edit = False
        """Whether an edit was asked for and its labels are on their way."""
        self.writing_edit = False
        """Whether the open edit is on its way to the disk."""
        self.tally: list[ClassArea] | None = None
        """What `measure` found; None once the labels have changed."""
        self.notice = Notice("")
        self.state = RunState.IDLE
        self.tissue_only = True
        self.uncertainty: str | None = None
        self._threshold = 0.0
        self._bundle: Bundle | None = None
        self._shelf = tasks.Shelf(device, precision)
        self._inbox = new_inbox()
        self._run: Job | None = None
        self._run_state = RunState.IDLE
        self._tasks: list[Job] = []
        self._leaving: list[Job] = []
        self._clock = Clock()
        self._progress: Progress | None = None
        self._task_progress: Progress | None = None
        self._view: Box | None = None
        self._visited: set[int] = set()
        self._heard = tasks.Heard()
        self._failure: str | None = None

    # -- what is under way ---------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether a coarse pass or a refinement is under way, paused or not."""
        return self._run is not None

    @property
    def busy(self) -> bool:
        """Whether anything is under way."""
        return bool(self._run or self._tasks or self._leaving)

    @property
    def compute(self) -> Compute | None:
        """What the model runs on, and why that; None until it is loaded."""
        return self._shelf.compute

    @property
    def progress(self) -> Progress | None:
        """How far the run is, else what is done beside one; None when there is nothing to tell."""
        return self._progress or self._task_progress

    # -- news from the threads ---------------------------------------------------------------

    def poll(self) -> None:
        """Take what was done meanwhile into the state, and emit what changed."""
        self._take(None)

    def wait(self, timeout_s: float | None = None) -> Self:
        """Poll until nothing is under way.

        Raises
        ------
        TwoStageError
            With the reason, if what was under way failed.
        TimeoutError
            If it takes longer than `timeout_s`.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self._failure = None
        while self.busy:
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"not done after {timeout_s} s; wait again, or cancel")
            self._take(_WAIT_S)
        if self._failure is not None:
            raise TwoStageError(self._failure)
        return self

    def close(self, timeout_s: float = 30.0) -> None:
        """Cancel everything and wait until the threads have ended; nothing done is lost."""
        self.leave()
        jobs = list(self._leaving)
        deadline = time.monotonic() + timeout_s
        while self._leaving and time.monotonic() < deadline:
            self._take(_WAIT_S)
        for job in jobs:
            job.join(max(0.0, deadline - time.monotonic()))

    def _take(self, timeout_s: float | None) -> None:
        steps: list[Step] = []
        for job, item in take(self._inbox, timeout_s):
            if isinstance(item, CoarseWindowDone | ChipRefined | ChipFailed):
                if job not in self._leaving:
                    steps.append(item)
                continue
            try:
                self._flush(steps)
            finally:  # a listener that fails must not make a run last for ever
                self._hear(job, item)
        self._flush(steps)

    def _hear(self, job: Job, item: object) -> None:
        if isinstance(item, JobEnded):
            self._ended(job, item)
        elif job not in self._leaving:  # else a worker of an earlier slide or run
            self._apply(item)

    def _flush(self, steps: list[Step]) -> None:
        """Emit many steps as few lists: a listener redraws once."""
        windows = [step for step in steps if isinstance(step, CoarseWindowDone)]
        chips = [step for step in steps if isinstance(step, ChipRefined | ChipFailed)]
        steps.clear()
        self._heard.take(windows, chips)
        if windows:
            self.tally = None
            self.windows_done.emit(windows)
            self._advance(len(windows))
        if chips:
            self.tally = None
            self.chips_done.emit(chips)
            self._advance(sum(len(step.chip.tiles) for step in chips))

    def _apply(self, item: object) -> None:
        match item:
            case PyramidGrown() | CoarsePassStarted() | TilesSelected():
                self._apply_stage(item)
            case Curve():
                self.curve = item
                self.forecast_changed.emit()
            case Progress():
                self._task_progress = item
                self.progress_changed.emit(self.progress)
            case Notice(text=text, kind=kind):
                self.say(text, kind)
            case JobFailed(reason=reason):
                self._failure = reason
                self.say(reason, "error")
            case _:
                self._apply_result(item)

    def _apply_stage(self, step: PyramidGrown | CoarsePassStarted | TilesSelected) -> None:
        self._clock = Clock()
        if self.state is RunState.PAUSED:
            self._clock.pause()
        match step:
            case PyramidGrown(fraction=fraction):
                self._show(Progress("pyramid", fraction, 1))
            case CoarsePassStarted(windows=windows):
                self.tissue_found.emit()
                if windows:
                    self._show(Progress("coarse", 0, windows, "windows"))
            case TilesSelected(plan=plan):
                self.coarse_done = True
                if plan.n_tiles:
                    self._show(Progress("refine", 0, plan.n_tiles, "tiles"))

    def _apply_result(self, item: object) -> None:
        match item:
            case Found(out=out, seg=seg):
                self._take_over(out, seg)
            case Patch():
                self.editing = item
                self.edit_started.emit(item)
            case Edited(box=box, undone=undone):
                self.tally = None
                if not undone:  # only now: had writing failed, what was painted would be lost
                    self.editing = None
                    self.edit_ended.emit()
                self.labels_edited.emit(box)
            case Measured(classes=classes):
                self.tally = classes
                self.measured.emit(classes)
            case Exported(path=path):
                self.exported.emit(path)

    def _take_over(self, out: Location, seg: Segmentation | None) -> None:
        self.out = out
        self.coarse_done = seg is not None and seg.coarse_complete
        if seg is not None:  # to go on is to go on as it was begun
            made_with = seg.record.parameters
            self.tissue_only, self.uncertainty = made_with.tissue, made_with.uncertainty
        if seg is self.seg:
            return
        if self.seg is not None:  # the coarse pass began another one beside it
            self._leave_edit()
            self._retire(self._tasks)
            self._tasks = []
        self.seg, self.curve, self.tally = seg, None, None
        self._visited.clear()
        self._heard = tasks.Heard() if seg is None else tasks.Heard.of(seg)
        self.result_changed.emit()

    def _advance(self, count: int) -> None:
        shown = self._progress
        if shown is None:
            return
        done = min(shown.total, shown.done + count)
        left = self._clock.seconds() / done * (shown.total - done)
        self._show(Progress(shown.stage, done, shown.total, shown.unit, left))

    def _show(self, progress: Progress | None) -> None:
        self._progress = progress
        self.progress_changed.emit(self.progress)

    def say(self, text: str, kind: Kind = "info") -> None:
        """Tell the user one line."""
        self.notice = Notice(text, kind)
        self.noticed.emit(self.notice)

    def _enter(self, state: RunState) -> None:
        if state is not self.state:
            self.state = state
            self.state_changed.emit(state)

    # -- jobs --------------------------------------------------------------------------------

    @property
    def _result(self) -> Segmentation:
        if self.seg is None:
            raise SelectionError("there is no result yet; run Coarse first")
        return self.seg

    @property
    def _patch(self) -> Patch:
        if self.editing is None:
            raise SelectionError("no edit is open; begin one with Edit here")
        return self.editing

    def _start(self, name: str, begin: Begin, state: RunState) -> None:
        """Begin the one run that a session may have."""
        if self._run is not None:
            raise SelectionError("something runs already; wait for it, or cancel it first")
        self._clock = Clock()
        # what opens a result comes first, else there would be two of one folder
        first = [job for job in self._tasks if job.name in (_LOOK, _CATCH_UP)]
        self._run = Job(name, begin, self._inbox, after=[*self._leaving, *first])
        self._run_state = state
        self._enter(state)

    def _do(self, name: str, begin: Begin, *, whole: bool = False) -> None:
        """Queue a task: one after the other, beside a run."""
        after = [*self._leaving, *self._tasks]
        self._tasks.append(Job(name, begin, self._inbox, after, whole=whole))

    def _look_for_result(self, out: Location | None = None) -> None:
        """Open what is already known of this slide with this model."""
        slide, bundle = self.slide, self._bundle
        if slide is not None and bundle is not None:
            self._do(_LOOK, lambda _job: tasks.look(slide, bundle, out))

    def leave(self) -> None:
        """Turn away from what is worked on: its jobs are cancelled and end by themselves, unheard.

        Poll until nothing is `busy` any more, or `close`.
        """
        self._retire([*([self._run] if self._run else []), *self._tasks])
        self._run, self._tasks = None, []
        self.out, self.curve, self.tally, self.coarse_done = None, None, None, False
        self._task_progress = None
        self._show(None)
        self._leave_edit()
        if self.seg is not None:
            self.seg = None
            self.result_changed.emit()
        self._enter(RunState.IDLE)

    def _retire(self, jobs: list[Job]) -> None:
        """Let jobs end by themselves, unheard."""
        for job in jobs:
            job.cancel()
        self._leaving += jobs

    def _leave_edit(self) -> None:
        self.reading_edit = self.writing_edit = False
        if self.editing is not None:
            self.editing = None
            self.edit_ended.emit()

    def _ended(self, job: Job, ended: JobEnded) -> None:
        if job in self._leaving:
            self._leaving.remove(job)
        elif job in self._tasks:
            self._tasks.remove(job)
            self.reading_edit = self.reading_edit and job.name != "edit"
            self.writing_edit = self.writing_edit and job.name != "commit"
            self._task_progress = None
            self.progress_changed.emit(self.progress)
        elif job is self._run:
            self._run = None
            self._show(None)
            if not ended.complete:
                self._catch_up()
            self._enter(RunState.IDLE)
            if ended.cancelled:
                self.say("cancelled; what was done is kept")

    def _catch_up(self) -> None:
        """Hear of what a run that was stopped had on its way to the disk."""
        seg, heard, curve = self.seg, self._heard, self.curve
        if seg is None:
            return
        if not seg.path.exists():  # there was nothing to segment, so nothing was left behind
            self._take_over(seg.path, None)
            return
        self.coarse_done = seg.coarse_complete
        seconds = seg.seconds_per_tile if curve is None else curve.seconds_per_tile
        missed = partial(tasks.catch_up, seg, heard, seconds)
        self._do(_CATCH_UP, lambda _job: missed(), whole=True)
