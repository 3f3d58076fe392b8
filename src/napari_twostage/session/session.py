"""Commands and live state of one slide: what is open, what was computed, what runs now.

No Qt, no napari: a panel, a notebook or a script calls the same methods and listens to the same
signals. Everything is called from one thread, the owner's. Work runs in threads of the session,
and its events wait until the owner calls `Session.poll`, which takes them into the state and
emits the signals: state changes in one place, and listeners never meet a thread.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

from napari_twostage.engine.runner import has_overview
from napari_twostage.engine.segmentation import Segmentation
from napari_twostage.errors import SelectionError, TwoStageError
from napari_twostage.io.paths import locate
from napari_twostage.measure.density import CELL_UM
from napari_twostage.method.selection import NOTHING, Selection
from napari_twostage.models.bundle import Bundle, read_bundle
from napari_twostage.result.layout import checked_polygons
from napari_twostage.session import tasks, upkeep
from napari_twostage.session.advice import advise
from napari_twostage.session.events import (
    EditsChanged,
    LabelsEdited,
    RegionMeasured,
    RegionsImported,
    RegionsRead,
    Repaired,
    ResultFound,
)
from napari_twostage.session.following import Follower
from napari_twostage.session.objects import ObjectEvent, SessionObjects
from napari_twostage.session.regions import Regions
from napari_twostage.session.review import Review
from napari_twostage.session.run_book import RunBook
from napari_twostage.session.run_states import RunState
from napari_twostage.session.scheduler import Receiver, Scheduler
from napari_twostage.session.script import script
from napari_twostage.session.state import SessionState
from napari_twostage.session.stopped_run import StoppedRun
from napari_twostage.session.undoing import SessionHistory

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from napari_twostage.geometry import Box, Polygons
    from napari_twostage.io.paths import Location
    from napari_twostage.models.backends.base import Compute
    from napari_twostage.models.model import Model
    from napari_twostage.session.jobs import JobEnded, JobFailed
    from napari_twostage.session.memory import RunMemory
    from napari_twostage.session.prices import Price
    from napari_twostage.session.scheduler import Begin
    from napari_twostage.slides.base import Slide


log = logging.getLogger(__name__)


class Session(SessionState):
    """Everything one can do with one slide: its state, and the commands that start jobs.

    Parameters
    ----------
    device, precision : str
        See `load_model`.
    memory : RunMemory, optional
        Remembers which runs were opened, and how they were looked at.

    Examples
    --------
    >>> import napari_twostage as ts
    >>> session = ts.Session()  # doctest: +SKIP
    >>> session.set_slide(ts.open_slide("slide.svs"))  # doctest: +SKIP
    >>> session.set_model("nuclei")  # doctest: +SKIP
    >>> session.run_coarse()  # doctest: +SKIP
    >>> session.wait().refine_uncertain()  # doctest: +SKIP
    """

    def __init__(
        self, *, device: str = "auto", precision: str = "auto", memory: RunMemory | None = None
    ) -> None:
        super().__init__()
        self._models = tasks.ModelCache(device, precision)
        self._jobs = Scheduler(
            Receiver(
                steps=self._apply_steps,
                event=self._take_event,
                task_ended=self._meter.end_task,
                run_ended=self._run_ended,
                lost=self._lose,
            )
        )
        self._follower = Follower(self, self._jobs)
        self.review = Review(self, self._jobs)
        """Uncertain places and failed tiles, one after the other."""
        self.history = SessionHistory(self, self._edit, self._jobs)
        """Undo and redo."""
        self.objects = SessionObjects(self, self._jobs)
        """The selected object, the list of all, and figures of a run under way."""
        self.regions = Regions(self, self._jobs)
        """Named regions of the slide."""
        self._scope: Polygons | None = None
        self._view: Box | None = None
        self.run_book = RunBook(self, self._jobs, memory)

    # -- slide, model and result ---------------------------------------------------------------

    def set_slide(self, slide: Slide | None) -> None:
        """Work on this slide from now on; work on another one is cancelled."""
        self._edit.require_saved()
        self.leave()
        self.slide, self.ground, self.runs = slide, None, ()
        self.events.slide_changed.emit()
        self._open_earlier_result()
        self.run_book.look()

    def set_model(self, model: str | Path | Bundle | Model) -> None:
        """Use this model from now on: a bundled name, a bundle's path, or one that is loaded.

        Raises
        ------
        ModelError
            If it is none of these.
        """
        if isinstance(model, str | Path):
            model = read_bundle(model)
        self._edit.require_saved()
        self.leave()
        if not isinstance(model, Bundle):
            self._models.put(model)
            model = model.bundle
        self.options = replace(self.options, uncertainty=None)
        self._models.want(model)
        self._use_bundle(model)
        self._open_earlier_result()

    def set_out(self, path: str | Location) -> None:
        """Keep results of this slide and model in this folder; open the one that is there.

        Raises
        ------
        SelectionError
            If slide or model are missing.
        """
        self._inputs()
        self._edit.require_saved()
        self.leave()
        self.out = locate(path).expanduser().absolute()
        self._open_earlier_result(self.out)

    def open_result(self, path: str | Location) -> None:
        """Resume a result folder: its slide must be set, its model comes from its record.

        Raises
        ------
        SegmentationError
            If the folder is no result, or of another slide.
        ModelError
            If its model is no longer where it was.
        """
        seg = Segmentation.open(path, slide=self.slide)
        self._edit.require_saved()
        self.leave()
        self.out = seg.path
        bundle = self._bundle
        if bundle is None or bundle.sha256 != seg.record.model.sha256:
            bundle = read_bundle(seg.record.model.source)
        self._models.want(bundle)
        self._use_bundle(bundle)
        self._open_earlier_result(seg.path)

    def open_last_run(self, otherwise: str) -> None:
        """Open the run of the slide that was opened last, with its model.

        Parameters
        ----------
        otherwise : str
            Model to use if no run is remembered, or it cannot be opened.
        """
        last = self.run_book.last()
        if last is not None:
            with suppress(TwoStageError, OSError):
                self.open_result(last)
                return
        self.set_model(otherwise)

    def set_options(
        self, *, tissue_only: bool | None = None, uncertainty: str | None = None
    ) -> None:
        """Choose how the next coarse pass works; a run that was made so is opened.

        Another result stays as it is; see `SessionState.set_options`.
        """
        super().set_options(tissue_only=tissue_only, uncertainty=uncertainty)
        fitting = None if self.running or self.run_book.fits else self.run_book.matching()
        if fitting is not None:
            self.open_result(fitting.path)

    def look_at(self, view: Box | None) -> None:
        """Compute this box of the slide's level 0 first: it is in view."""
        self._view = view

    def get_ready(self) -> None:
        """Load the model and warm it up, in a thread, so that the first run begins sooner.

        Then it is tried out, so that prices are known, unless a run has begun meanwhile.
        """
        slide, bundle = self.slide, self._bundle
        if bundle is not None:
            steps = partial(tasks.warm_up, bundle, self._models, slide, lambda: not self.running)
            self._jobs.add_task("get ready", lambda _job: steps())

    def price(self, wanted: Selection | Box | Sequence[ArrayLike]) -> Price | None:
        """Tiles, seconds and expected gain of refining a selection or a region, without a run.

        Parameters
        ----------
        wanted : Selection, Box, or sequence of (n, 2) arrays
            A selection, whose region is on the fine grid; or a box, or polygons with vertices
            (y, x), of the slide's level 0.

        Returns
        -------
        Price or None
            None before the end of the coarse pass.
        """
        return self.prices.price(wanted)

    def look_at_ground(self) -> None:
        """Look, in a thread, whether a grey slide is a dark field, and what a search would lose.

        `ground_seen` says when `ground` is known. Nothing is done for colours, or for a slide
        without coarse levels, of which all would have to be read.
        """
        slide = self.slide
        if slide is not None and has_overview(slide) and slide.channels == 1:
            self._jobs.add_task("look at the ground", lambda _job: tasks.see_ground(slide))

    @property
    def compute(self) -> Compute | None:
        """Device, library and precision that the model runs in, and why; None until loaded."""
        return self._models.compute

    # -- running -------------------------------------------------------------------------------

    def run_coarse(self, region: Sequence[ArrayLike] | None = None) -> None:
        """Segment the tissue coarsely; an earlier pass that was stopped is resumed.

        Parameters
        ----------
        region : sequence of (n, 2) arrays, optional
            Polygons with vertices (y, x) of level 0: only the coarse windows that they touch are
            segmented, beside those that are done. By default the whole slide is.

        Raises
        ------
        SelectionError
            If slide or model are missing, or something runs.
        """
        self._run.require_idle()
        self._scope = () if region is None else checked_polygons(region)
        self._run_coarse(NOTHING)

    def _run_coarse(self, then: Selection) -> None:
        """Run stage 1, and refine a selection after it."""
        slide, bundle = self._inputs()
        known, in_view = (self.out, self.seg), lambda: self._view
        wanted = self.options, self._scope
        steps = partial(tasks.coarse, slide, bundle, *known, self._models, *wanted, in_view)
        self._start_run("coarse", steps, RunState.COARSE, then)

    def advise(self) -> None:
        """Look at a few places in both resolutions; `advice_changed` brings what it is worth.

        Advice that names a threshold sets it.

        Raises
        ------
        SelectionError
            If slide or model are missing, or something runs.
        """
        slide, bundle = self._inputs()
        self._run.require_idle()
        self._jobs.add_task(
            "advise",
            lambda job: tasks.advise_on(slide, bundle, self._models, self.options, job),
        )

    def refine(self, selection: Selection) -> None:
        """Refine the tiles of a selection, its region on the fine grid."""
        if not self.coarse_done:
            raise SelectionError("there is no result yet; run the quick pass first")
        seg, (_, bundle) = self._result, self._inputs()
        steps = partial(tasks.refine, seg, bundle, self._models, selection, lambda: self._view)
        self._start_run("refine", steps, RunState.REFINING, selection)

    def refine_uncertain(self) -> None:
        """Refine the tiles that score above the threshold."""
        self.refine(Selection(threshold=self.threshold))

    def refine_region(self, region: Box | Sequence[ArrayLike]) -> None:
        """Refine all tiles that touch a box, or one of some polygons, of the slide's level 0."""
        self.refine(Selection(region=self._result.to_fine(region)))

    def refine_next(self, n_tiles: int = 20) -> None:
        """Refine the most uncertain tiles that are left."""
        self.refine(Selection(n_tiles=n_tiles))

    def pause(self) -> None:
        """Pause the run before its next batch; without a run, do nothing."""
        if self._run.can_enter(RunState.PAUSED):
            self._jobs.pause_run()
            self._meter.pause()
            self._run.enter(RunState.PAUSED)

    def resume(self) -> None:
        """Go on with a paused run, or with one that was stopped; without one, do nothing."""
        stopped = self._recovery.run
        if self.state is RunState.PAUSED:
            self._jobs.resume_run()
            self._meter.resume()
            self._run.enter(self._run.stage)
        elif stopped is not None and not self.running:
            if self.seg is None or not self.coarse_done:
                self._run_coarse(stopped.wanted)
            else:
                self.refine(stopped.rest(int(self.seg.refined.sum())))

    def cancel(self) -> None:
        """Stop before the next batch; what is done is kept, and edits are still written."""
        self._jobs.cancel()
        if self._run.can_enter(RunState.CANCELLING):
            self._run.enter(RunState.CANCELLING)

    # -- after trouble -------------------------------------------------------------------------

    def repair(self) -> None:
        """Check all parts of the result; restore what is damaged, or have it computed again.

        Raises
        ------
        SelectionError
            If there is no result, or something runs.
        """
        seg, folder = self.seg, self._recovery.damaged or self.out
        if folder is None:
            raise SelectionError("there is no result to repair yet; run the quick pass first")
        self._run.require_idle()
        self._jobs.add_task("repair", lambda _job: upkeep.repair(folder, seg), before_run=True)

    def take_over(self) -> None:
        """Write the result although a process of another machine, known to be gone, holds it.

        Raises
        ------
        LockedError
            If a process of this machine holds it and runs.
        """
        self._result.take_over()
        self._recovery.locked_elsewhere = False
        self.say("this window may write the result now; go on where it stopped")

    # -- correcting ----------------------------------------------------------------------------

    def edit(self, place: Box) -> None:
        """Begin to edit a box of the slide's level 0; `edit_started` brings its labels.

        Raises
        ------
        SelectionError
            If it is too large or outside the slide, or another edit is open.
        """
        seg = self._result
        box = self._edit.begin(seg, place)
        self._jobs.add_task(
            "edit", lambda _job: tasks.read_patch(seg, box), on_end=self._edit.read_ended
        )

    def commit_edit(self, labels: NDArray[np.uint8]) -> None:
        """Write the pixels that were changed; the edit ends once they are on disk.

        Parameters
        ----------
        labels : (height, width) uint8 array
            Labels of the open `editing` patch after painting.

        Raises
        ------
        SelectionError
            If no edit is open, or it is being written already.
        SegmentationError
            If the shape or a value does not fit.
        """
        seg = self._result
        changes = self._edit.changes(seg, labels)
        if changes is None:
            self.discard_edit()
            self.say("nothing was changed, so nothing was written")
            return
        self._edit.write()
        write = partial(tasks.write_edit, seg, *changes)
        self._jobs.add_task(
            "commit", lambda _job: write(), must_finish=True, on_end=self._edit.write_ended
        )

    def discard_edit(self, labels: NDArray[np.integer] | None = None) -> None:
        """Close the open edit without writing it; refuses as `commit_edit` does.

        With `labels`, those after painting, `history.bring_back_paint` opens it again.
        """
        if self._edit.discard(labels):
            self.history.paint_discarded()
            self.say("the edit was discarded; Bring back opens it again with what you painted")

    def is_painted(self, labels: NDArray[np.integer]) -> bool:
        """Whether these labels of the open edit differ from those before it."""
        return self._edit.is_painted(labels)

    def undo_edit(self) -> None:
        """Undo the last edit as one step; `history` undoes more."""
        self.history.undo_edit()

    # -- results -------------------------------------------------------------------------------

    def measure(self) -> None:
        """Measure areas and count objects of each class; `measured` brings them."""
        seg = self._result
        self._jobs.add_task("measure", lambda job: tasks.measure(seg, job))

    def map_density(self, cell_um: float = CELL_UM) -> None:
        """Map how many objects there are per square millimetre; `density_changed` brings it.

        Parameters
        ----------
        cell_um : float
            Side of the cells in which they are counted, in micrometres.
        """
        seg = self._result
        self._jobs.add_task("density", lambda job: tasks.density(seg, cell_um, job))

    def compare(self) -> None:
        """Count what refinement changed in the refined tiles; `compared` tells of it."""
        seg = self._result
        self._jobs.add_task("compare", lambda job: tasks.compare(seg, job))

    def export(self, path: str | Location) -> None:
        """Write the result in the format that the name asks for; see `export.export`.

        Objects are as large as `SessionObjects.least_exported_um2` asks for.
        """
        seg, least = self._result, self.objects.least_exported_um2
        place = locate(path)
        self._jobs.add_task("export", lambda job: tasks.export_result(seg, place, least, job))

    def as_python(self) -> str:
        """Return a script that makes this result again, without a window."""
        return script(self._result)

    # -- jobs and their events -----------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether any job is under way."""
        return self._jobs.busy

    def poll(self) -> None:
        """Take the events that wait into the state, and emit the signals of what changed."""
        self._jobs.poll()
        self._follower.look()
        self.objects.look()

    def wait(self, timeout_s: float | None = None) -> Self:
        """Poll until nothing is under way.

        Raises
        ------
        TwoStageError
            The error that ended a job: the original, or one with the original as its cause.
        TimeoutError
            If it takes longer than `timeout_s`.
        """
        self._jobs.wait(timeout_s)
        return self

    def leave(self) -> None:
        """Turn away from the slide's result: its jobs are cancelled, and their events dropped.

        Poll until nothing is `busy` any more, or `close`.
        """
        self.run_book.keep(self._view)
        self._jobs.retire_all()
        self._scope = None
        self._forget_result()

    def close(self, timeout_s: float = 30.0) -> None:
        """Cancel everything and wait until the threads have ended; nothing done is lost."""
        self.leave()
        self._jobs.close(timeout_s)

    def _start_run(self, name: str, begin: Begin, stage: RunState, wanted: Selection) -> None:
        self._run.require(stage)
        self._jobs.start_run(name, begin)
        self._meter.restart()
        refined = 0 if self.seg is None else int(self.seg.refined.sum())
        self._recovery.run = StoppedRun(wanted, refined)
        self.standing = None
        self._run.enter(stage)

    def _open_earlier_result(self, out: Location | None = None) -> None:
        """Open the result of this slide and model, if there is one."""
        slide, bundle = self.slide, self._bundle
        if slide is not None and bundle is not None:
            last = self.run_book.last(bundle.sha256)
            self._jobs.add_task(
                "look for results",
                lambda _job: tasks.open_earlier_result(slide, bundle, out, self._models, last),
                before_run=True,
            )

    def _take_event(self, event: object) -> None:
        if isinstance(event, ResultFound) and self.seg not in (None, event.seg):
            self._jobs.retire_tasks()  # they are for the result that is replaced
        if isinstance(event, ObjectEvent):
            self.objects.take(event)
            return
        if isinstance(event, RegionsRead | RegionsImported | RegionMeasured):
            self.regions.take(event)
        self._apply(event)
        if isinstance(event, ResultFound) and event.seg is not None:
            how = self.run_book.recall()
            if how is not None and how.threshold is not None:
                self.threshold = how.threshold
            self.run_book.keep()
        if isinstance(event, ResultFound | LabelsEdited | EditsChanged):
            self.run_book.look()
        if isinstance(event, Repaired) and self.seg is None:
            self._open_earlier_result(event.folder)

    def _run_ended(self, end: JobEnded) -> None:
        self._meter.end_run()
        stage, stopped = self._run.stage, self._recovery.run
        if not end.complete and not self._nothing_left():
            self._follower.catch_up()
        followed = self.objects.so_far is not None
        self._run.enter(RunState.IDLE)
        if end.complete:
            self._recovery.run = None
            if followed:  # the figures so far become those of the whole
                self.measure()
        self.run_book.look()
        if end.cancelled:
            self.say("cancelled; what was done is kept")
        if end.complete and stage is RunState.COARSE and stopped and stopped.wanted != NOTHING:
            self.refine(stopped.wanted)

    def _lose(self, failed: JobFailed) -> None:
        """Say that what was painted could not be saved, although its window is being closed."""
        line = f"what you painted last could not be saved: {advise(failed.error)}"
        log.error("%s", line)
        self.say(line, "error")

    def _nothing_left(self) -> bool:
        """Whether a run that was stopped left nothing; then forget its folder."""
        seg = self.seg
        if seg is None or seg.path.exists():
            return seg is None
        if not seg.windows_done:  # there was nothing to segment, so nothing was left behind
            self._adopt(seg.path, None)
            self._recovery.run = None
        return True
