"""Objects of a session's result: the one that is selected, the list of all, and figures so far.

Three tasks, none of which writes: an object is found at once, beside whatever is under way; the
list waits for its turn; figures of a run are added up while it goes on, in one thread, and seldom
enough to take no more than a small share of a processor.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.errors import SelectionError
from napari_twostage.measure.object_at import object_at
from napari_twostage.measure.object_filter import ObjectFilter
from napari_twostage.measure.object_list import ObjectLister
from napari_twostage.measure.so_far import areas_so_far
from napari_twostage.method.steps import ChipRefined
from napari_twostage.session.events import Notice, Progress
from napari_twostage.session.run_states import RunState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from napari_twostage.engine.segmentation import Segmentation
    from napari_twostage.geometry import Box
    from napari_twostage.measure.object_at import FoundObject
    from napari_twostage.measure.object_list import ObjectList
    from napari_twostage.measure.so_far import AreasSoFar
    from napari_twostage.method.steps import ChipFailed, CoarseWindowDone
    from napari_twostage.session.jobs import Job
    from napari_twostage.session.scheduler import Scheduler
    from napari_twostage.session.state import SessionState

SO_FAR_S = 4.0
"""Least seconds between two looks at what a run has measured."""
SO_FAR_REST = 12.0
"""Pause after such a look, as a multiple of the seconds that it took."""


@dataclass(frozen=True, slots=True)
class ObjectFound:
    """Answer to a click: the object there, or None."""

    found: FoundObject | None


@dataclass(frozen=True, slots=True)
class ObjectsListed:
    """All objects of the result; their uncertainty may follow."""

    objects: ObjectList


@dataclass(frozen=True, slots=True)
class MeasuredSoFar:
    """Figures of what a run has done by now; None before there are any."""

    areas: AreasSoFar | None
    seconds: float
    """Seconds that it took to add them up."""


ObjectEvent = ObjectFound | ObjectsListed | MeasuredSoFar


class SessionObjects:
    """Objects of a session's result, and what a user chose of them.

    Called from the owner's thread, as the session.

    Parameters
    ----------
    state : SessionState
        Session with the result; its signals say when labels change.
    jobs : Scheduler
        Jobs of the session.
    """

    def __init__(self, state: SessionState, jobs: Scheduler) -> None:
        self._state = state
        self._jobs = jobs
        self.selected: FoundObject | None = None
        """The object that was clicked on; None if none is selected."""
        self.listed: ObjectList | None = None
        """All objects, from `list_all`; None until asked for."""
        self.outdated = False
        """Whether labels have changed since the objects were listed."""
        self.listing = False
        """Whether the list is being made."""
        self.limits = ObjectFilter()
        """Objects of the list that are wanted."""
        self.limit_exports = False
        """Whether exports leave out objects below the lower limit of `limits`."""
        self.so_far: AreasSoFar | None = None
        """Figures of the run that is under way; None without one."""
        self._within: NDArray[np.bool_] | None = None
        self._at: tuple[int, int] | None = None
        """Pixel of the fine grid that was asked for last; None if none was."""
        self._next_at: tuple[int, int] | None = None
        """Pixel to ask for once the search under way has ended."""
        self._finding = False
        self._next_look = 0.0
        self._looking = False
        events = state.events
        events.result_changed.connect(self._forget)
        events.state_changed.connect(self._run_changed)
        events.windows_done.connect(self._windows_done)
        events.chips_done.connect(self._chips_done)
        events.labels_edited.connect(self._labels_changed)

    # -- commands --------------------------------------------------------------------------------

    def select_at(self, y: float, x: float) -> None:
        """Select the object at a point (y, x) of the slide's level 0; `object_selected` brings it.

        In the background, nothing is selected then.
        """
        seg = self._result
        down, across = seg.grid.downsample
        self.select_pixel(int(y // down), int(x // across))

    def select_pixel(self, row: int, column: int) -> None:
        """Select the object at a pixel of the fine grid; see `select_at`.

        Of pixels that are asked for during a search, only the last one is looked at.
        """
        seg = self._result
        if self._finding:
            self._next_at = row, column
            return
        self._at, self._finding = (row, column), True
        find = partial(_find, seg, row, column)
        self._jobs.add_task(
            "find object", lambda _job: find(), at_once=True, on_end=self._find_ended
        )

    def deselect(self) -> None:
        """Select nothing."""
        self._at = self._next_at = None
        self.take(ObjectFound(None))

    def list_all(self) -> None:
        """List all objects; `objects_listed` brings them, and again with their uncertainty.

        Raises
        ------
        SelectionError
            If there is no result, or they are being listed.
        """
        seg = self._result
        if self.listing:
            raise SelectionError("the objects are being listed; wait, or cancel it first")
        self.listing = True
        self.outdated = False
        self._jobs.add_task("list objects", lambda job: _list(seg, job), on_end=self._list_ended)

    def set_limits(self, limits: ObjectFilter) -> None:
        """Choose objects of the list; `object_limits_changed` follows."""
        if limits != self.limits:
            self.limits, self._within = limits, None
            self._state.events.object_limits_changed.emit()

    @property
    def asked_again(self) -> bool:
        """Whether another pixel was asked for during the search that is under way."""
        return self._next_at is not None

    @property
    def within(self) -> NDArray[np.bool_]:
        """Whether each object of the list is within the limits: (n,); empty without a list."""
        if self.listed is None:
            return np.zeros(0, bool)
        if self._within is None:
            self._within = self.limits.mask(self.listed)
        return self._within

    @property
    def least_exported_um2(self) -> float | None:
        """Least area of objects in exports; None leaves it to the result."""
        return self.limits.least_um2 if self.limit_exports and self.limits.least_um2 else None

    # -- events ----------------------------------------------------------------------------------

    def take(self, event: ObjectEvent) -> None:
        """Take the answer of a task, and tell of it."""
        signals = self._state.events
        match event:
            case ObjectFound(found=found):
                if self._at is None:
                    found = None  # was deselected meanwhile
                if found is not None or self.selected is not None:
                    self.selected = found
                    signals.object_selected.emit()
            case ObjectsListed(objects=objects):
                self.listed, self._within = objects, None
                signals.objects_listed.emit()
            case MeasuredSoFar(areas=areas, seconds=seconds):
                self._next_look = time.monotonic() + max(SO_FAR_S, SO_FAR_REST * seconds)
                if self._state.running:
                    self.so_far = areas
                    signals.measured_so_far.emit()

    def look(self) -> None:
        """Measure what a run has done by now, if it is time to; costs nothing if it is not."""
        seg, state = self._state.seg, self._state.state
        runs = state in (RunState.COARSE, RunState.REFINING)
        if seg is None or not runs or self._looking or time.monotonic() < self._next_look:
            return
        self._looking = True
        self._jobs.add_task(
            "measure so far",
            lambda _job: _measure_so_far(seg),
            at_once=True,
            on_end=self._look_ended,
        )

    def _find_ended(self) -> None:
        self._finding = False
        if self._next_at is not None:
            at, self._next_at = self._next_at, None
            self.select_pixel(*at)

    def _look_ended(self) -> None:
        self._looking = False

    def _list_ended(self) -> None:
        self.listing = False
        self._state.events.objects_listed.emit()

    def _run_changed(self, state: RunState) -> None:
        if state is RunState.IDLE:
            self.so_far = None
        elif self.so_far is None:
            self._next_look = time.monotonic() + SO_FAR_S

    def _windows_done(self, steps: list[CoarseWindowDone]) -> None:
        if (seg := self._state.seg) is not None:
            self._labels_changed(*(seg.layout.fine_box(step.core) for step in steps))

    def _chips_done(self, steps: list[ChipRefined | ChipFailed]) -> None:
        self._labels_changed(*(one.chip.core for one in steps if isinstance(one, ChipRefined)))

    def _labels_changed(self, *boxes: Box) -> None:
        """The list is outdated; the selected object is found again where labels have changed."""
        if not self.outdated and (self.listed is not None or self.listing):
            self.outdated = True
            self._state.events.objects_listed.emit()
        if self._at is None or self.selected is None:
            return
        near = self.selected.box.grow(1)
        if any(box.intersect(near).area for box in boxes):
            self.select_pixel(*self._at)

    def _forget(self) -> None:
        """Forget what was found in another result."""
        # tasks of that result were retired: nobody tells of their end
        self.listing = self._looking = self._finding = False
        self.listed, self._within, self.outdated, self.so_far = None, None, False, None
        self.limits = ObjectFilter()
        self._state.events.objects_listed.emit()
        self.deselect()

    @property
    def _result(self) -> Segmentation:
        if self._state.seg is None:
            raise SelectionError("there is no result yet; run the quick pass first")
        return self._state.seg


def _find(seg: Segmentation, row: int, column: int) -> Iterator[object]:
    """Find the object at a pixel."""
    yield ObjectFound(object_at(seg, row, column))


def _list(seg: Segmentation, job: Job) -> Iterator[object]:
    """List all objects, then measure their uncertainty."""
    lister = ObjectLister(seg)

    def tell(done: float) -> None:
        job.report(Progress("list objects", done, 1))

    objects = lister.list(tell)
    yield ObjectsListed(objects)
    yield ObjectsListed(objects.with_uncertainty(lister.uncertainty(tell)))
    yield Notice(f"{len(objects):,} objects listed")


def _measure_so_far(seg: Segmentation) -> Iterator[object]:
    """Add up what a run has measured."""
    started = time.monotonic()
    areas = areas_so_far(seg)
    yield MeasuredSoFar(areas, time.monotonic() - started)
