"""The work of a session's jobs: generators that run in threads and yield events."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING

from napari_twostage.engine.advisor import advise
from napari_twostage.engine.api import prepare, run_to_end, working_grid
from napari_twostage.engine.coarse_work import work_of_coarse_pass
from napari_twostage.engine.speed import try_out
from napari_twostage.errors import SlideError
from napari_twostage.export import export, left_out_of
from napari_twostage.io.paths import is_vacant
from napari_twostage.measure.areas import areas
from napari_twostage.measure.changes import refinement_changes
from napari_twostage.measure.completeness import completeness
from napari_twostage.measure.density import map_density
from napari_twostage.method.ground import find_ground
from napari_twostage.method.selection import NOTHING, Selection
from napari_twostage.method.steps import ChipFailed, TilesSelected
from napari_twostage.session.advice import describe_missing
from napari_twostage.session.events import (
    Advised,
    EditsChanged,
    Exported,
    LabelsEdited,
    Measured,
    Notice,
    Patch,
    Progress,
    ResultFound,
)
from napari_twostage.session.failures import describe_failed
from napari_twostage.session.prices import Tried, count_tiles
from napari_twostage.session.result_paths import find_made_with, find_result, vacant_path
from napari_twostage.session.upkeep import Reported, curve_of, stand
from napari_twostage.slides.view import View

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from napari_twostage.engine.options import RunOptions
    from napari_twostage.engine.segmentation import Segmentation
    from napari_twostage.geometry import Box, Polygons
    from napari_twostage.io.paths import Location
    from napari_twostage.method.pipeline import Focus
    from napari_twostage.method.tiling import Tile
    from napari_twostage.models.backends.base import Compute
    from napari_twostage.models.bundle import Bundle
    from napari_twostage.models.model import Model
    from napari_twostage.session.jobs import Job
    from napari_twostage.slides.base import Slide

    InView = Callable[[], Box | None]
    """Returns the region in view, a box of the slide's level 0, or None."""

CURVE_S = 1.0
"""Seconds between two updates of the cost and gain of refining more."""


class ModelCache:
    """The model of a session, loaded once, whichever job needs it first.

    Parameters
    ----------
    device, precision : str
        See `load_model`.
    """

    def __init__(self, device: str, precision: str) -> None:
        self._device = device
        self._precision = precision
        self._lock = Lock()
        self._model: Model | None = None
        self._wanted: Bundle | None = None
        self.begun: str | None = None
        """Precision that the result on disk was begun in."""
        self.compute: Compute | None = None
        """Device, library and precision that the model was last used with; None until then."""

    def want(self, bundle: Bundle) -> None:
        """Keep the model of this bundle from now on; a late job of another one is given its own."""
        self._wanted, self.begun = bundle, None

    def put(self, model: Model) -> None:
        """Keep a loaded model."""
        with self._lock:
            self._model, self._wanted, self.compute = model, model.bundle, model.compute

    def get(self, bundle: Bundle, begun: str | None = None) -> Model:
        """Return the model of a bundle, for labels that may have been begun in a precision.

        Takes seconds the first time.
        """
        from napari_twostage.models.model import Model

        with self._lock:
            model = self._model
            if model is None or model.bundle is not bundle:
                model = Model(bundle, self._device, self._precision)
            wanted = self._wanted is bundle or self._wanted is None
            if wanted:
                self._model = model
            if begun not in (None, model.compute.precision):
                model = model.in_precision_of(begun)
            if wanted:
                self.compute = model.compute
            return model


def open_earlier_result(
    slide: Slide,
    bundle: Bundle,
    out: Location | None,
    models: ModelCache,
    last: Location | None = None,
) -> Iterator[object]:
    """Open the result of a slide and a model, if there is one; loads no weights.

    Parameters
    ----------
    slide, bundle, out, last
        See `find_result`.
    models : ModelCache
    """
    path, seg = find_result(slide, bundle, out, last)
    if seg is not None:
        models.begun = seg.record.precision
        _ = seg.scores, seg.uncertainty_map.pixels  # read here, not in the owner's thread
        seg.update_pyramid()
    yield ResultFound(path, seg)
    if seg is None:
        return
    if seg.coarse_complete:
        yield curve_of(seg, seg.seconds_per_tile)
    yield (standing := stand(seg))
    if standing.writer:
        yield Notice(f"{standing.writer}; it is shown, and can be changed once that is done")
    elif missing := standing.describe():
        yield Notice(f"opened what was done before: {path.name}; {missing}", "warning")
    else:
        yield Notice(f"opened what was done before: {path.name}")


def see_ground(slide: Slide) -> Iterator[object]:
    """Look whether a slide is a dark field, and what a search for tissue would leave out."""
    with suppress(SlideError):  # the coarse pass says what cannot be read
        yield find_ground(slide)


def warm_up(
    bundle: Bundle, models: ModelCache, slide: Slide | None, idle: Callable[[], bool]
) -> Iterator[object]:
    """Load a model and prepare its device: seconds the first time of all, then one per process.

    While nothing else runs, which `idle` tells, the model is tried out on the slide.
    """
    model = models.get(bundle, models.begun)
    for stage in ("coarse", "refine"):
        model.warm_up(stage)
    if slide is not None and idle():
        with suppress(SlideError):  # met again, and reported, by the run
            yield (tried := try_model(slide, model))
            yield replace(tried, coarse=work_of_coarse_pass(slide, model.card))


def try_model(slide: Slide, model: Model) -> Tried:
    """Measure how fast a model is on this machine, with a slide."""
    view = View(slide, working_grid(slide, model.card))
    return Tried(slide, model.card, model.compute, try_out(model, view))


def coarse(
    slide: Slide,
    bundle: Bundle,
    out: Location | None,
    known: Segmentation | None,
    models: ModelCache,
    options: RunOptions,
    scope: Polygons | None,
    in_view: InView,
    job: Job,
) -> Iterator[object]:
    """Run stage 1: resume a result of the same options, else begin one beside it.

    Parameters
    ----------
    slide, bundle, out
        See `find_result`.
    known : Segmentation, optional
        The result that the session has open.
    models : ModelCache
    options : RunOptions
        Only `tissue` and `uncertainty` are used.
    scope : Polygons, optional
        Polygons of level 0 to segment; with none in it the whole slide; None goes on with what the
        result was asked for.
    in_view : callable
        Region to compute first.
    job : Job
        Asked before each batch whether it is paused or cancelled.
    """
    yield Notice("loading the model, looking for tissue", "busy")
    path, seg = find_result(slide, bundle, out) if known is None else (known.path, known)
    if seg is not None and is_vacant(seg.path) and seg.path.parent.exists():
        path, seg = seg.path, None  # it was removed meanwhile
    if seg is not None and not options.fit(seg.record):
        before, seg = seg.path, find_made_with(slide, bundle, options, seg.path)
        path = vacant_path(slide, bundle, before) if seg is None else seg.path
    if seg is not None:
        if scope is not None:
            seg.extend(scope or None)
        seg.update_pyramid()
        yield ResultFound(path, seg)  # now, for loading the model takes a while
    model = models.get(bundle, None if seg is None else seg.record.precision)
    if seg is None:
        seg = prepare(slide, model, path, replace(options, region=scope or None))
        yield ResultFound(seg.path, seg)
    yield Notice("quick pass: segmenting at reduced resolution", "busy")
    started = time.monotonic()
    seg.attach_model(model)
    yield from run_to_end(seg, NOTHING, focus=_focus(seg, in_view), gate=job.wait_while_paused)
    yield curve_of(seg, None)
    yield stand(seg)
    if seg.failures:
        yield Notice(describe_failed(seg, seg.failures), "error")
    else:
        found = seg.record.tissue
        said = [f"quick pass done in {time.monotonic() - started:.1f} s"]
        yield Notice("; ".join(said + (found.notices() if found else [])))
    yield try_model(seg.slide, model)
    yield curve_of(seg, model.seconds_per_tile)


def refine(
    seg: Segmentation,
    bundle: Bundle,
    models: ModelCache,
    selection: Selection,
    in_view: InView,
    job: Job,
) -> Iterator[object]:
    """Run stage 2 on a selection; parameters as for `coarse`."""
    model = models.get(bundle, seg.record.precision)
    seg.attach_model(model)
    started = updated = time.monotonic()
    before = int(seg.refined.sum())
    failed: dict[Tile, str] = {}
    steps = seg.iter_refine(selection, focus=_focus(seg, in_view), gate=job.wait_while_paused)
    for step in steps:
        if isinstance(step, TilesSelected) and step.plan.n_tiles:
            yield Notice(f"refining {count_tiles(step.plan.n_tiles)}", "busy")
        if isinstance(step, ChipFailed):
            failed |= dict.fromkeys(step.chip.tiles, step.reason)
        yield step
        if time.monotonic() - updated > CURVE_S:
            yield curve_of(seg, model.seconds_per_tile)
            updated = time.monotonic()
    yield curve_of(seg, model.seconds_per_tile)
    yield stand(seg)
    if failed:
        yield Notice(describe_failed(seg, failed), "error")
    else:
        yield Notice(_refined(int(seg.refined.sum()) - before, time.monotonic() - started))


def advise_on(
    slide: Slide, bundle: Bundle, models: ModelCache, options: RunOptions, job: Job
) -> Iterator[object]:
    """Look at a few places in both resolutions; parameters as for `coarse`."""
    yield Notice("comparing both resolutions on a few places", "busy")

    def tell(done: int, total: int) -> None:
        job.wait_while_paused()  # leaves a job that was cancelled
        job.report(Progress("advice", done, total, "places"))

    found = advise(slide, models.get(bundle), tissue=options.tissue, tell=tell)
    yield Advised(found)
    yield Notice(found.describe())


def read_patch(seg: Segmentation, box: Box) -> Iterator[object]:
    """Read the labels of a box, to edit them."""
    yield Patch(box, seg.read_labels(box))


def write_edit(seg: Segmentation, box: Box, labels: NDArray[np.uint8]) -> Iterator[object]:
    """Write the pixels that the user painted."""
    seg.edit(box, labels)
    yield LabelsEdited(box)
    yield Notice("the edit is kept; refinement leaves it as it is")


def undo(seg: Segmentation) -> Iterator[object]:
    """Undo the last edit."""
    if not seg.edit_boxes:
        yield Notice("there is no edit to take back")
        return
    before = Reported(edits=seg.edit_boxes)
    if not seg.undo_edit():
        yield Notice("the edits that are left were made in another window; undo them there")
        return
    yield EditsChanged(before.changed_edits(seg))
    yield Notice("the last edit was taken back")


def measure(seg: Segmentation, job: Job) -> Iterator[object]:
    """Measure the area and count the objects of each class."""

    def report(done: float) -> None:
        job.report(Progress("measure", done, 1))

    yield Measured(areas(seg, progress=report))


def density(seg: Segmentation, cell_um: float, job: Job) -> Iterator[object]:
    """Map the density of objects."""

    def report(done: float) -> None:
        job.report(Progress("density", done, 1))

    yield map_density(seg, cell_um=cell_um, progress=report)


def compare(seg: Segmentation, job: Job) -> Iterator[object]:
    """Count what refinement changed."""
    yield refinement_changes(seg, lambda done: job.report(Progress("compare", done, 1)))


def export_result(
    seg: Segmentation, path: Location, least_object_um2: float | None, job: Job
) -> Iterator[object]:
    """Export a result to a file, with objects of a least area; None takes the result's own."""

    def report(done: float) -> None:
        job.report(Progress("export", done, 1))

    written = export(seg, path, least_object_um2=least_object_um2, progress=report)
    yield Exported(written)
    missing = describe_missing(completeness(seg))
    lacks = [left_out_of(seg, written), missing and f"it is not all of the slide ({missing})"]
    said = "; ".join([f"wrote {written}", *filter(None, lacks)])
    yield Notice(said, "warning" if any(lacks) else "info")


def _refined(count: int, seconds: float) -> str:
    if not count:
        return "nothing to refine: these tiles are refined already, or hold no tissue"
    return f"{count_tiles(count)} refined in {seconds:.1f} s"


def _focus(seg: Segmentation, in_view: InView) -> Focus:
    """Region in view on the fine grid; see `pipeline.Focus`."""

    def focus() -> Box | None:
        box = in_view()
        return None if box is None else seg.box_to_fine(box)

    return focus
