"""Knowledge about one slide, its result and its run, and how events change it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from psygnal import EmitLoopError

from napari_twostage.engine.options import RunOptions
from napari_twostage.errors import SelectionError, StorageError, explained
from napari_twostage.measure.changes import RefinementChanges
from napari_twostage.measure.density import DensityMap
from napari_twostage.method.ground import Ground
from napari_twostage.method.selection import Curve, Forecast
from napari_twostage.method.steps import (
    ChipFailed,
    ChipRefined,
    CoarsePassStarted,
    CoarseWindowDone,
    DomainChecked,
    PyramidGrown,
    TilesSelected,
)
from napari_twostage.method.uncertainty import expected_wrong_px
from napari_twostage.session.advice import WayOn, advise, log_unexpected, missing_folder
from napari_twostage.session.editing import Edit, EditState
from napari_twostage.session.events import (
    Advised,
    EditsChanged,
    Exported,
    Kind,
    LabelsEdited,
    Measured,
    Notice,
    Patch,
    Progress,
    Repaired,
    ResultFound,
    RunsFound,
    SessionEvents,
    Standing,
    TilesChanged,
)
from napari_twostage.session.jobs import JobFailed
from napari_twostage.session.prices import Prices, Tried
from napari_twostage.session.progress_meter import ProgressMeter
from napari_twostage.session.recovery import Recovery
from napari_twostage.session.run_states import RunMachine, RunState
from napari_twostage.session.upkeep import Reported

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_twostage.engine.segmentation import Segmentation
    from napari_twostage.engine.slide_advice import Advice
    from napari_twostage.geometry import Box
    from napari_twostage.io.paths import Location
    from napari_twostage.measure.areas import ClassArea
    from napari_twostage.models import ModelCard
    from napari_twostage.models.bundle import Bundle
    from napari_twostage.session.slide_runs import SlideRun
    from napari_twostage.slides.base import Slide


class SessionState:
    """The state of a session, without threads: listeners read it, events change it.

    `_apply` is the one place where an event of a job becomes state and signals. A `Session` is
    this state with the commands that start jobs.
    """

    def __init__(self) -> None:
        self.events = SessionEvents(self)
        self.slide: Slide | None = None
        self.options = RunOptions()
        """Settings of the next coarse pass."""
        self.out: Location | None = None
        """Folder of the result, or of the next one."""
        self.runs: tuple[SlideRun, ...] = ()
        """Results of the slide, the newest first, as they were when last looked for."""
        self.seg: Segmentation | None = None
        """The result; None before the coarse pass."""
        self.coarse_done = False
        """Whether the event that ends the coarse pass of `seg` was taken."""
        self.curve: Curve | None = None
        """Cost and gain of refining above each threshold; None before the coarse pass."""
        self.tally: list[ClassArea] | None = None
        """Areas and counts from `Session.measure`; None once the labels have changed."""
        self.advice: Advice | None = None
        """What full resolution would change, from `Session.advise`; None until asked for."""
        self.density: DensityMap | None = None
        """Density of objects from `Session.map_density`; None once the labels have changed."""
        self.ground: Ground | None = None
        """Bright or dark ground of the slide; None until `Session.look_at_ground` has seen it."""
        self.changes: RefinementChanges | None = None
        """What refinement changed, from `Session.compare`; None once the labels have changed."""
        self.standing: Standing | None = None
        """What is missing from `seg`, and who else writes it; None before it is known."""
        self.disk_failed = False
        """Whether the disk refused something, so that labels may be shown blank."""
        self.notice = Notice("")
        """The last line for the user."""
        self.prices = Prices(self)
        """Tiles, seconds and gain of what could be refined."""
        self._bundle: Bundle | None = None
        self._threshold = 0.0
        self._run = RunMachine(self.events.state_changed.emit)
        self._edit = Edit(self.events)
        self._meter = ProgressMeter(self.events.progress_changed.emit)
        self._recovery = Recovery()
        self.reported = Reported()
        """Windows, tiles and edits that listeners were told of."""

    # -- what can be read ----------------------------------------------------------------------

    @property
    def card(self) -> ModelCard | None:
        """Card of the model; None without a model."""
        return None if self._bundle is None else self._bundle.card

    @property
    def bundle(self) -> Bundle | None:
        """Files of the model; None without a model."""
        return self._bundle

    @property
    def model_source(self) -> str | None:
        """Name of a bundled model, or path of the model; None without a model."""
        return None if self._bundle is None else self._bundle.source

    @property
    def state(self) -> RunState:
        """State of the run."""
        return self._run.state

    @property
    def running(self) -> bool:
        """Whether a coarse pass or a refinement is under way, paused or not."""
        return self._run.running

    @property
    def edit_state(self) -> EditState:
        """State of the edit."""
        return self._edit.state

    @property
    def edit_unsaved(self) -> bool:
        """Whether the open edit was to be written, and could not be."""
        return self._edit.unsaved

    @property
    def editing(self) -> Patch | None:
        """Labels to paint on; None unless an edit is open or being written."""
        return self._edit.patch

    @property
    def ways(self) -> list[WayOn]:
        """Buttons that go on after trouble: with a run, an edit, a damaged or locked result."""
        ways = self._recovery.ways(running=self.running, unsaved=self._edit.unsaved)
        return [WayOn.BRING_BACK, *ways] if self._edit.discarded is not None else ways

    @property
    def missing(self) -> str:
        """What a stopped run left out of `seg`, in a few words; empty during a run."""
        if self.running:
            return ""
        found = "" if self.standing is None else self.standing.describe()
        return found or ("parts are missing" if self._recovery.run is not None else "")

    @property
    def progress(self) -> Progress | None:
        """Progress of the run, else of the task beside it; None if there is none to report."""
        return self._meter.current

    @property
    def threshold(self) -> float:
        """Score above which `Session.refine_uncertain` refines tiles, in [0, 1]."""
        return self._threshold

    @threshold.setter
    def threshold(self, value: float) -> None:
        self._threshold = float(value)
        self.events.forecast_changed.emit()

    @property
    def uncertainty(self) -> str:
        """Uncertainty measure of the result, else the one that a run would take; empty if none."""
        if self.seg is not None:
            return self.seg.record.parameters.uncertainty
        return self.options.uncertainty or (self.card.uncertainty if self.card else "")

    @property
    def expected_wrong_px(self) -> float | None:
        """Wrong pixels expected in a tile that scores just the threshold.

        Those that refinement corrects, if `uncertainty` is the gain. Pixels of the slide at the
        fine pixel size; None without a model, or if the measure does not state them.
        """
        if self.card is None:
            return None
        return expected_wrong_px(self.uncertainty, self._threshold, self.card.tile_px)

    @property
    def domain(self) -> str:
        """Line that says whether the slide looks like the training images; empty if not known."""
        check = None if self.seg is None else self.seg.record.domain
        return "" if check is None else check.text[:1].upper() + check.text[1:]

    @property
    def forecast(self) -> Forecast | None:
        """Cost and gain of refining above the threshold; None before the coarse pass."""
        return None if self.curve is None else self.curve.at(self._threshold)

    # -- changes ---------------------------------------------------------------------------------

    def set_options(
        self, *, tissue_only: bool | None = None, uncertainty: str | None = None
    ) -> None:
        """Choose how the next coarse pass works; a result made otherwise is left as it is.

        `tissue_only` is `RunOptions.tissue`.

        Raises
        ------
        SelectionError
            If the uncertainty measure is unknown.
        """
        self.options = replace(self.options, tissue=tissue_only, uncertainty=uncertainty)
        self.events.options_changed.emit()

    def say(self, text: str, kind: Kind = "info") -> None:
        """Give the user one line."""
        self.notice = Notice(text, kind)
        self.events.noticed.emit(self.notice)

    def clear_notice(self) -> None:
        """Forget the last line for the user: a command begins, which has its own."""
        self.notice = Notice("")

    def report(self, error: Exception) -> None:
        """Tell of an error that was met while showing the result, and offer the way on."""
        if isinstance(error, EmitLoopError) and isinstance(error.__cause__, Exception):
            error = error.__cause__  # of a listener
        if self.seg is not None and self.folder_is_gone():
            error = missing_folder(self.seg.path)  # not each of its files
        log_unexpected("session", error)
        self._take_error(error)
        notice = Notice(advise(error), "error")
        if notice != self.notice:  # the same file may be read at every turn of the view
            self.say(notice.text, notice.kind)

    def folder_is_gone(self) -> bool:
        """Whether the result's folder is not there; a URL is not asked about."""
        return (
            self.seg is not None and isinstance(self.seg.path, Path) and not self.seg.path.exists()
        )

    def _take_error(self, error: Exception) -> None:
        self._recovery.take(error)
        self.disk_failed |= isinstance(explained(error), StorageError)

    @property
    def _result(self) -> Segmentation:
        if self.seg is None:
            raise SelectionError("there is no result yet; run the quick pass first")
        return self.seg

    def _inputs(self) -> tuple[Slide, Bundle]:
        if self.slide is None:
            raise SelectionError("there is no slide; open one and choose it in the panel first")
        if self._bundle is None:
            raise SelectionError("there is no model; choose one first")
        return self.slide, self._bundle

    def _use_bundle(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._threshold = bundle.card.default_threshold
        self.events.model_changed.emit()

    def _forget_result(self) -> None:
        """Go back to a slide and a model without a result or a run."""
        self._forget_measurements()
        if self.advice is not None:
            self.advice = None
            self.events.advice_changed.emit()
        self.out, self.curve, self.coarse_done = None, None, False
        self.standing, self.disk_failed = None, False
        self._recovery.forget()
        self._meter.clear()
        self._edit.close()
        if self.seg is not None:
            self.seg = None
            self.events.result_changed.emit()
        if self.running:
            self._run.enter(RunState.IDLE)

    # -- events of jobs ------------------------------------------------------------------------

    def _apply_steps(self, steps: Sequence[CoarseWindowDone | ChipRefined | ChipFailed]) -> None:
        """Emit many steps as few lists, so that a listener redraws once."""
        windows = [step for step in steps if isinstance(step, CoarseWindowDone)]
        chips = [step for step in steps if isinstance(step, ChipRefined | ChipFailed)]
        self.reported.add(windows, chips)
        if windows or chips:
            self._forget_measurements()
        if windows:
            self.events.windows_done.emit(windows)
            self._meter.advance(len(windows))
        if chips:
            self.events.chips_done.emit(chips)
            self._meter.advance(sum(len(step.chip.tiles) for step in chips))

    def _apply(self, event: object) -> None:
        match event:
            case PyramidGrown() | CoarsePassStarted() | TilesSelected():
                self._apply_stage(event)
            case DomainChecked(check=check):
                self.say(self.domain, "warning" if check.unlike else "info")
                self.events.domain_checked.emit()
            case Ground() | Tried() | RunsFound():
                self._learn(event)
            case Advised(advice=advice):
                self._take_advice(advice)
            case Curve():
                self.curve = event
                self.events.forecast_changed.emit()
            case Progress():
                self._meter.show_task(event)
            case Notice(text=text, kind=kind):
                self.say(text, kind)
            case JobFailed(error=error, reason=reason):
                self._take_error(error)
                self.say(reason, "error")
            case ResultFound(out=out, seg=seg):
                self._adopt(out, seg)
            case _:
                self._apply_task(event)

    def _learn(self, found: Ground | Tried | RunsFound) -> None:
        """Take in what was found out about the slide, or the model on it, beside a run."""
        match found:
            case Ground():
                self.ground = found
                self.events.ground_seen.emit()
            case Tried():
                self.prices.take(found)
                self.events.forecast_changed.emit()
            case RunsFound(runs=runs):
                self.runs = runs
                self.events.runs_changed.emit()

    def _take_advice(self, advice: Advice) -> None:
        self.advice = advice
        if advice.threshold is not None:
            self.threshold = advice.threshold
        self.events.advice_changed.emit()

    def _apply_stage(self, step: PyramidGrown | CoarsePassStarted | TilesSelected) -> None:
        self._meter.restart()
        match step:
            case PyramidGrown(fraction=fraction):
                self._meter.show(Progress("pyramid", fraction, 1))
            case CoarsePassStarted(windows=windows):
                self.events.tissue_found.emit()
                if windows:
                    self._meter.show(Progress("coarse", 0, windows, "windows"))
            case TilesSelected(plan=plan):
                self.coarse_done = True
                if plan.n_tiles:
                    self._meter.show(Progress("refine", 0, plan.n_tiles, "tiles"))

    def _apply_task(self, event: object) -> None:
        match event:
            case Patch():
                self._edit.open(event)
            case LabelsEdited(box=box):
                self._edit.close()  # only now: had writing failed, what was painted would be lost
                self._labels_changed((box,))
            case EditsChanged(boxes=boxes):
                self._labels_changed(boxes)
            case TilesChanged(box=box):
                self._retake(box)
            case Standing():
                self._stand(event)
            case Repaired():
                self._refresh(event)
            case _:
                self._apply_answer(event)

    def _apply_answer(self, event: object) -> None:
        """Take in what was asked for, and changes nothing."""
        match event:
            case Measured(classes=classes):
                self.tally = classes
                self.events.measured.emit(classes)
            case DensityMap():
                self.density = event
                self.events.density_changed.emit()
            case RefinementChanges():
                self.changes = event
                self.events.compared.emit()
            case Exported(path=path):
                self.events.exported.emit(path)

    def _forget_measurements(self) -> None:
        """Forget what was measured of labels that have changed."""
        self.tally = None
        if self.changes is not None:
            self.changes = None
            self.events.compared.emit()
        if self.density is not None:
            self.density = None
            self.events.density_changed.emit()

    def _labels_changed(self, boxes: Sequence[Box]) -> None:
        self._forget_measurements()
        if self.seg is not None:
            self.reported.edits = self.seg.edit_boxes
        for box in boxes:
            self.events.labels_edited.emit(box)

    def _retake(self, box: Box) -> None:
        """Show tiles that were taken back or brought back; a run to resume is another one now."""
        self._recovery.run = None
        if self.seg is not None:
            self.reported.tiles = self.seg.refined
        self._labels_changed((box,))

    def _stand(self, standing: Standing) -> None:
        self.standing = standing
        if self.seg is not None:
            self._recovery.stand(self.seg, standing)
            self.coarse_done |= self.seg.coarse_complete
        self.events.standing_changed.emit()

    def _refresh(self, repaired: Repaired) -> None:
        """Show a repaired result anew; what is computed again is missing until then."""
        if self._recovery.damaged == repaired.folder:
            self._recovery.damaged = None
        seg = self.seg
        if seg is None or seg.path != repaired.folder:
            return
        self._recovery.run = repaired.again or self._recovery.run
        self.reported, self.curve = Reported.of(seg), None
        self.coarse_done = seg.coarse_complete
        if seg.tissue_known:
            self.events.tissue_found.emit()
        self._labels_changed([seg.grid.box])
        self.events.forecast_changed.emit()

    def _adopt(self, out: Location, seg: Segmentation | None) -> None:
        """Make a result, or an empty folder, the one that is shown."""
        self.out = out
        self.coarse_done = seg is not None and seg.coarse_complete
        if seg is not None:  # a result is resumed with the settings it was begun with
            made_with = seg.record.parameters
            self.options = replace(
                self.options, tissue=made_with.tissue, uncertainty=made_with.uncertainty
            )
        if seg is self.seg:
            return
        if self.seg is not None:  # the coarse pass began another result beside it
            self._edit.close()
        self._forget_measurements()
        self.seg, self.curve, self.standing = seg, None, None
        self.reported = Reported() if seg is None else Reported.of(seg)
        self.events.result_changed.emit()
