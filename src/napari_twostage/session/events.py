"""Events of a session: the values that jobs report, and the signals that listeners get."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from psygnal import Signal, SignalGroup

from napari_twostage.method.selection import describe_seconds
from napari_twostage.session.advice import describe_missing
from napari_twostage.session.run_states import RunState

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_twostage.engine.segmentation import Segmentation
    from napari_twostage.engine.slide_advice import Advice
    from napari_twostage.geometry import Box
    from napari_twostage.io.annotations import Annotation
    from napari_twostage.io.paths import Location
    from napari_twostage.measure.areas import ClassArea
    from napari_twostage.measure.completeness import Completeness
    from napari_twostage.session.slide_runs import SlideRun
    from napari_twostage.session.stopped_run import StoppedRun

Kind = Literal["info", "next", "busy", "warning", "error"]


STAGE_NAMES = {"coarse": "quick pass", "advice": "comparing"}
"""Names on screen of stages that are called otherwise in `Progress.stage`."""


class SessionEvents(SignalGroup):
    """Signals of a session; ``events.all`` relays every one of them.

    They are emitted in the thread that calls `Session.poll` or `Session.wait`.
    """

    slide_changed = Signal()
    model_changed = Signal()
    options_changed = Signal()
    """`Session.options` are new."""
    result_changed = Signal()
    """`Session.seg` is another result, or None."""
    runs_changed = Signal()
    """`Session.runs` are new."""
    tissue_found = Signal()
    """`Session.seg.tissue` is known."""
    advice_changed = Signal()
    """`Session.advice` is new, or None since slide or model have changed."""
    domain_checked = Signal()
    """`Session.domain` is known."""
    ground_seen = Signal()
    """`Session.ground` is known."""
    windows_done = Signal(list)
    """List of `CoarseWindowDone`."""
    chips_done = Signal(list)
    """List of `ChipRefined` and `ChipFailed`."""
    state_changed = Signal(RunState)
    progress_changed = Signal(object)
    """`Progress`, or None if nothing is under way."""
    forecast_changed = Signal()
    """`Session.threshold`, `Session.curve` or both are new."""
    edit_started = Signal(object)
    """`Patch` to paint on."""
    edit_ended = Signal()
    labels_edited = Signal(object)
    """`Box` of the fine grid in which edits were written or undone, or refinement undone."""
    standing_changed = Signal()
    """`Session.standing` is new: what is missing from the result, and who else is writing it."""
    review_changed = Signal()
    """`Session.review` shows another place, or what the user accepted has changed."""
    measured = Signal(list)
    """List of `ClassArea`."""
    measured_so_far = Signal()
    """`Session.objects.so_far` is new: areas of what the run has done by now."""
    object_selected = Signal()
    """`Session.objects.selected` is another object, or None."""
    objects_listed = Signal()
    """`Session.objects.listed` is new, has uncertainties, is outdated, or is None."""
    object_limits_changed = Signal()
    """`Session.objects.limits` are new, and so is what is within them."""
    density_changed = Signal()
    """`Session.density` is new, or None since the labels have changed."""
    compared = Signal()
    """`Session.changes` is known, or None since the labels have changed."""
    regions_changed = Signal()
    """`Session.regions` are others, or others are selected."""
    exported = Signal(object)
    """Path that was written."""
    noticed = Signal(object)
    """`Notice` for the user."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of one stage of work."""

    stage: str
    """``pyramid``, ``coarse``, ``refine``, ``export``, ``measure``, ``list objects``,
    ``density``, ``compare`` or ``advice``."""
    done: float
    total: float
    unit: str = ""
    """Plural of the thing counted; empty if `done` is a share of `total`."""
    seconds_left: float | None = None

    @property
    def share(self) -> float:
        """Finished share, in [0, 1]."""
        return self.done / self.total if self.total else 1.0

    def describe_count(self) -> str:
        """How far it came: ``120 of 400 tiles``, or ``30%``."""
        if not self.unit:
            return f"{self.share:.0%}"
        return f"{self.done:,.0f} of {self.total:,.0f} {self.unit}"

    def describe(self) -> str:
        """One line: ``refine 120 of 400 tiles · 12 s left``."""
        text = f"{STAGE_NAMES.get(self.stage, self.stage)} {self.describe_count()}"
        left = self.seconds_left
        return text if left is None else f"{text} · {describe_seconds(left)} left"


@dataclass(frozen=True, slots=True)
class Notice:
    """One line for the user."""

    text: str
    kind: Kind = "info"


@dataclass(frozen=True, slots=True)
class Patch:
    """Labels of a box that is being edited."""

    box: Box
    """Box of the fine grid."""
    labels: NDArray[np.uint8]
    """(box.height, box.width) class values before the edit."""
    painted: NDArray[np.uint8] | None = None
    """The same with what was painted before, if that was discarded and is brought back."""


@dataclass(frozen=True, slots=True)
class ResultFound:
    """The folder for results of this slide and model, and the result in it, if any."""

    out: Location
    seg: Segmentation | None


@dataclass(frozen=True, slots=True)
class RunsFound:
    """The runs of the slide, the newest first."""

    runs: tuple[SlideRun, ...]


@dataclass(frozen=True, slots=True)
class Standing:
    """What is missing from a result, and who else is writing it."""

    there: Completeness
    writer: str = ""
    """One line about the process or window that is writing it; empty if nobody else is."""

    def describe(self) -> str:
        """What is missing, in a few words; empty if nothing is."""
        return "being written elsewhere" if self.writer else describe_missing(self.there)


@dataclass(frozen=True, slots=True)
class EditsChanged:
    """Edits that were undone, or made or undone in another window or process."""

    boxes: tuple[Box, ...]
    """Boxes of the fine grid."""


@dataclass(frozen=True, slots=True)
class TilesChanged:
    """Refined tiles were taken back, or brought back, as one step."""

    box: Box
    """Box of the fine grid that holds them."""


@dataclass(frozen=True, slots=True)
class Repaired:
    """A result folder was repaired, here or by another process."""

    folder: Location
    again: StoppedRun | None = None
    """Run that computes what was lost; None if nothing was, or another process sees to it."""


@dataclass(frozen=True, slots=True)
class LabelsEdited:
    """The edit was written."""

    box: Box
    """Box of the fine grid."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Areas and counts of each class."""

    classes: list[ClassArea]


@dataclass(frozen=True, slots=True)
class RegionsRead:
    """Regions that are kept with a result."""

    seg: Segmentation
    found: list[Annotation]


@dataclass(frozen=True, slots=True)
class RegionsImported:
    """Regions of a file."""

    found: list[Annotation]


@dataclass(frozen=True, slots=True)
class RegionMeasured:
    """A region with its measurements."""

    region: Annotation


@dataclass(frozen=True, slots=True)
class Advised:
    """A few places were looked at in both resolutions."""

    advice: Advice


@dataclass(frozen=True, slots=True)
class Exported:
    """A file was written."""

    path: Location
