"""Regions of a session's slide: drawn or imported, measured, and kept with its result."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from uuid import uuid4

from napari_twostage.errors import SelectionError, UnfinishedError
from napari_twostage.export.atomic import replacing
from napari_twostage.io.annotations import (
    Annotation,
    clean_name,
    load_annotations,
    unique_name,
    written_annotations,
)
from napari_twostage.io.paths import locate
from napari_twostage.measure.annotations import measured, without_outdated
from napari_twostage.result.layout import checked_polygons
from napari_twostage.session.events import (
    Exported,
    Notice,
    Progress,
    RegionMeasured,
    RegionsImported,
    RegionsRead,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import ArrayLike

    from napari_twostage.engine.segmentation import Segmentation
    from napari_twostage.geometry import Box, Polygons
    from napari_twostage.io.paths import Location
    from napari_twostage.session.events import SessionEvents
    from napari_twostage.session.jobs import Job
    from napari_twostage.session.scheduler import Scheduler
    from napari_twostage.slides.base import Slide

COLORS = ("#00a5dc", "#1a9c3c", "#d99000", "#6a3df0", "#d81b60", "#5a5a5a")
"""Colours of regions, in their order; readable on bright glass and on a dark field."""


class RegionSession(Protocol):
    """Session as seen by its regions."""

    events: SessionEvents
    slide: Slide | None
    seg: Segmentation | None

    def run_coarse(self, region: Sequence[ArrayLike] | None = None) -> None:
        """Segment polygons of level 0 coarsely."""

    def refine_region(self, region: Box | Sequence[ArrayLike]) -> None:
        """Refine all tiles that touch polygons of level 0."""


class Regions:
    """Named regions of the slide of a session.

    They are kept in the result folder from the moment that there is one, and belong to the slide:
    a result of another model takes them over.

    Parameters
    ----------
    session : RegionSession
        Its signal `SessionEvents.regions_changed` tells of changes here.
    jobs : Scheduler
        Takes what reads or writes files.
    """

    def __init__(self, session: RegionSession, jobs: Scheduler) -> None:
        self._session = session
        self._jobs = jobs
        self._known: dict[str, Annotation] = {}
        self._selected: frozenset[str] = frozenset()
        self._removed: set[str] = set()
        events = session.events
        events.slide_changed.connect(self._forget)
        events.result_changed.connect(self._read)
        for signal in (events.windows_done, events.chips_done, events.labels_edited):
            signal.connect(self._labels_changed)

    # -- what can be read ----------------------------------------------------------------------

    @property
    def all(self) -> tuple[Annotation, ...]:
        """All regions, in the order in which they came."""
        return tuple(self._known.values())

    @property
    def selected(self) -> frozenset[str]:
        """Ids of the regions that are selected."""
        return self._selected

    @property
    def chosen(self) -> tuple[Annotation, ...]:
        """The regions that commands work on: those that are selected, or all if none is."""
        chosen = tuple(one for one in self.all if one.id in self._selected)
        return chosen or self.all

    # -- changes -------------------------------------------------------------------------------

    def add(self, rings: Sequence[ArrayLike], name: str = "Region 1") -> Annotation:
        """Add a region, and select it; its name gets a number if it is taken.

        Parameters
        ----------
        rings : sequence of (n, 2) arrays
            Outlines (y, x) in pixels of level 0; what an odd number of them surround is the region.
        name : str

        Raises
        ------
        SelectionError
            If they are no outlines.
        """
        added = self._added(Annotation(name, checked_polygons(rings)))
        self._selected = frozenset({added.id})
        self._changed()
        return added

    def reshape(self, key: str, rings: Sequence[ArrayLike]) -> None:
        """Give a region another outline; its measurements are forgotten."""
        polygons = checked_polygons(rings)
        if polygons != self._known[key].rings:
            self._put(replace(self._known[key], rings=polygons, measurements={}, stamp=""))
            self._changed()

    def rename(self, key: str, name: str) -> None:
        """Rename a region; a name that is taken gets a number, an empty one changes nothing."""
        one, name = self._known[key], clean_name(name)
        if name and name != one.name:
            taken = [other.name for other in self.all if other is not one]
            self._put(replace(one, name=unique_name(name, taken)))
            self._changed()

    def remove(self, keys: Iterable[str]) -> None:
        """Remove regions; labels stay as they are."""
        for key in list(keys):
            self._known.pop(key, None)
            self._removed.add(key)
        self._selected &= self._known.keys()
        self._changed()

    def select(self, keys: Iterable[str]) -> None:
        """Select regions."""
        selected = frozenset(keys) & self._known.keys()
        if selected != self._selected:
            self._selected = selected
            self._session.events.regions_changed.emit()

    def import_from(self, path: str | Location) -> None:
        """Add the regions of a GeoJSON file, in a thread.

        Raises
        ------
        SelectionError
            If there is no slide.
        """
        slide = self._session.slide
        if slide is None:
            raise SelectionError("there is no slide; open one first")
        file = Path(str(path))
        self._jobs.add_task("import regions", lambda _job: _imported(file, slide))

    def export_to(self, path: str | Location) -> None:
        """Write the chosen regions to a GeoJSON file for QuPath."""
        chosen, slide = self._required(), self._session.slide
        bounds = None if slide is None else slide.bounds
        self._jobs.add_task(
            "export", lambda _job: _exported(chosen, locate(path), bounds), must_finish=True
        )

    # -- computing -----------------------------------------------------------------------------

    def run_coarse(self) -> None:
        """Segment the chosen regions coarsely; what was segmented before stays.

        Raises
        ------
        SelectionError
            If there is none, slide or model are missing, or something runs.
        """
        self._session.run_coarse(self._rings())

    def refine(self) -> None:
        """Refine all tiles that the chosen regions touch.

        Raises
        ------
        SelectionError
            If there is none, one is not segmented yet, or something runs.
        """
        seg, rings = self._session.seg, self._rings()
        for one in self.chosen:
            if seg is None or not seg.is_segmented(one.rings):
                raise SelectionError(
                    f"{one.name} is not segmented yet; press Quick pass (region) first"
                )
        self._session.refine_region(rings)

    def measure(self) -> None:
        """Measure the chosen regions, in a thread.

        Raises
        ------
        SelectionError
            If there is none, or no result.
        """
        chosen, seg = self._required(), self._session.seg
        if seg is None:
            raise SelectionError("there is no result yet; press Quick pass (region) first")
        self._jobs.add_task("measure", lambda job: _measured(seg, chosen, job), on_end=self._save)

    def take(self, event: RegionsRead | RegionsImported | RegionMeasured) -> None:
        """Take in what a task has found."""
        match event:
            case RegionsRead(seg=seg, found=found) if seg is self._session.seg:
                self._merge(found)
            case RegionsImported(found=found):
                added = [self._added(one) for one in found]
                self._selected = frozenset(one.id for one in added)
                self._changed()
            case RegionMeasured(region=region):
                known = self._known.get(region.id)
                if known is not None and known.rings == region.rings:  # not moved meanwhile
                    self._put(replace(region, name=known.name))
                    self._labels_changed()  # they may have, while it was measured
                    self._session.events.regions_changed.emit()

    # -- inside --------------------------------------------------------------------------------

    def _required(self) -> tuple[Annotation, ...]:
        if not self._known:
            raise SelectionError("there is no region yet; press Draw region, or import some")
        return self.chosen

    def _rings(self) -> Polygons:
        return tuple(ring for one in self._required() for ring in one.rings)

    def _added(self, one: Annotation) -> Annotation:
        one = replace(
            one,
            id=str(uuid4()) if one.id in self._known else one.id,
            name=unique_name(one.name, [other.name for other in self.all]),
            color=one.color or COLORS[len(self._known) % len(COLORS)],
        )
        self._put(one)
        return one

    def _put(self, one: Annotation) -> None:
        self._known[one.id] = one

    def _changed(self) -> None:
        self._save()
        self._session.events.regions_changed.emit()

    def _forget(self) -> None:
        self._known, self._selected, self._removed = {}, frozenset(), set()
        self._session.events.regions_changed.emit()

    def _read(self) -> None:
        """Read the regions that are kept with a result that was opened or made."""
        seg = self._session.seg
        if seg is not None:
            self._jobs.add_task("read regions", lambda _job: _kept(seg))

    def _merge(self, found: Sequence[Annotation]) -> None:
        """Show what is kept with the result, and keep there what was drawn before it was."""
        found = [one for one in found if one.id not in self._removed]
        drawn = [one for one in self.all if one.id not in {kept.id for kept in found}]
        self._known = {}
        for one in [*found, *drawn]:
            self._added(one)
        self._selected &= self._known.keys()
        self._labels_changed()
        if drawn:
            self._save()
        self._session.events.regions_changed.emit()

    def _labels_changed(self, _what: object = None) -> None:
        """Forget measurements of labels that have changed."""
        seg = self._session.seg
        if seg is None:
            return
        current = {one.id: one for one in without_outdated(seg, self.all)}
        if current != self._known:
            self._known = current
            self._session.events.regions_changed.emit()

    def _save(self) -> None:
        """Keep the regions with the result; before there is one, they wait in memory."""
        seg, regions, removed = self._session.seg, self.all, frozenset(self._removed)
        if seg is not None:
            save = partial(_saved, seg, regions, removed)
            self._jobs.add_task("keep regions", lambda _job: save(), must_finish=True)


def _kept(seg: Segmentation) -> Iterator[object]:
    yield RegionsRead(seg, seg.read_annotations())


def _saved(
    seg: Segmentation, regions: Sequence[Annotation], removed: frozenset[str]
) -> Iterator[object]:
    """Keep regions with a result, beside those that another window has added."""
    ours = {one.id for one in regions} | removed
    seg.save_annotations([*regions, *(one for one in seg.read_annotations() if one.id not in ours)])
    yield from ()


def _imported(path: Path, slide: Slide) -> Iterator[object]:
    shape = slide.level_shapes[0]
    found, left_out = load_annotations(path, bounds=slide.bounds, shape=shape)
    yield RegionsImported(found)
    said = f"{len(found):,} region{'s' * (len(found) > 1)} imported from {path.name}"
    if left_out:
        said += f"; {left_out:,} other feature{'s' * (left_out > 1)} left out: cells, points, lines"
    yield Notice(said)


def _exported(
    regions: Sequence[Annotation], path: Location, bounds: Box | None
) -> Iterator[object]:
    with replacing(path) as partial:
        partial.write_bytes(written_annotations(regions, bounds))
    yield Exported(path)
    yield Notice(f"wrote {path}")


def _measured(seg: Segmentation, regions: Sequence[Annotation], job: Job) -> Iterator[object]:
    """Measure regions; those that are not segmented are named."""
    lacking = []
    for number, region in enumerate(regions):

        def report(done: float, before: int = number) -> None:
            job.report(Progress("measure", before + done, len(regions)))

        try:
            yield RegionMeasured(measured(seg, region, report))
        except UnfinishedError:
            lacking.append(region.name)
    if lacking:
        named = ", ".join(lacking[:3]) + ", …" * (len(lacking) > 3)
        yield Notice(f"not segmented yet: {named}; press Quick pass (region) first", "warning")
