"""What a session's jobs do: generators that run in threads of their own and yield news."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.engine.api import prepare, run_to_end
from napari_twostage.engine.options import RunOptions
from napari_twostage.export import export
from napari_twostage.measure.areas import areas
from napari_twostage.method.selection import NOTHING, Selection
from napari_twostage.method.steps import ChipFailed, ChipRefined, CoarseWindowDone, TilesSelected
from napari_twostage.session.events import (
    Edited,
    Exported,
    Found,
    Measured,
    Notice,
    Patch,
    Progress,
)
from napari_twostage.session.result_paths import find_result, free_place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from napari_twostage.engine.segmentation import Segmentation
    from napari_twostage.geometry import Box
    from napari_twostage.io.paths import Location
    from napari_twostage.method.selection import Curve
    from napari_twostage.models.backends.base import Compute
    from napari_twostage.models.bundle import Bundle
    from napari_twostage.models.model import Model
    from napari_twostage.session.jobs import Job
    from napari_twostage.slides.base import Slide

    View = Callable[[], Box | None]

CURVE_S = 1.0
"""How often a refinement works out anew what refining more would bring."""


class Shelf:
    """Loads a model once, whichever job asks first.

    Parameters
    ----------
    device, precision : str
        What models run on; see `load_model`.
    """

    def __init__(self, device: str, precision: str) -> None:
        self._device = device
        self._precision = precision
        self._lock = Lock()
        self._model: Model | None = None

    @property
    def compute(self) -> Compute | None:
        """What the model runs on, once it is loaded."""
        model = self._model
        return None if model is None else model.compute

    def put(self, model: Model) -> None:
        """Keep a model that is loaded."""
        with self._lock:
            self._model = model

    def take(self, bundle: Bundle) -> Model:
        """The model of a bundle; takes seconds the first time."""
        from napari_twostage.models.model import Model

        with self._lock:
            if self._model is None or self._model.bundle is not bundle:
                self._model = Model(bundle, self._device, self._precision)
            return self._model


@dataclass(slots=True)
class Heard:
    """What of a result its session was told."""

    windows: set[Box] = field(default_factory=set)
    tiles: NDArray[np.bool_] = field(default_factory=lambda: np.zeros((0, 0), bool))

    @classmethod
    def of(cls, seg: Segmentation) -> Heard:
        """All that is known of it now."""
        return cls(set(seg.windows_done), seg.refined)

    def take(
        self, windows: Iterable[CoarseWindowDone], chips: Iterable[ChipRefined | ChipFailed]
    ) -> None:
        """Add steps."""
        self.windows.update(step.core for step in windows)
        for step in chips:
            if isinstance(step, ChipRefined):
                self.tiles[tuple(np.transpose(step.chip.tiles))] = True


def look(slide: Slide, bundle: Bundle, out: Location | None) -> Iterator[object]:
    """Open what is already known of a slide with a model; loads no weights."""
    path, seg = find_result(slide, bundle, out)
    if seg is not None:
        _ = seg.scores, seg.uncertainty_map.pixels  # read here, not in the owner's thread
        seg.update_pyramid()
    yield Found(path, seg)
    if seg is not None and seg.coarse_complete:
        yield _curve(seg, seg.seconds_per_tile)
        yield Notice(f"opened what was done before: {path.name}")


def get_ready(bundle: Bundle, shelf: Shelf) -> Iterator[object]:
    """Load a model and what runs it: a second in a process, and some more the first time of all."""
    model = shelf.take(bundle)
    for stage in ("coarse", "refine"):
        model.warm_up(stage)
    yield from ()


def coarse(
    slide: Slide,
    bundle: Bundle,
    out: Location | None,
    known: Segmentation | None,
    shelf: Shelf,
    *,
    tissue_only: bool,
    uncertainty: str,
    view: View,
    job: Job,
) -> Iterator[object]:
    """Stage 1; goes on with a result of the same options, else starts one beside it."""
    yield Notice("loading the model, looking for tissue", "busy")
    path, seg = find_result(slide, bundle, out) if known is None else (known.path, known)
    if seg is not None and not _made_with(seg, tissue=tissue_only, uncertainty=uncertainty):
        path, seg = free_place(slide, bundle, seg.path), None
    if seg is not None:
        seg.update_pyramid()
        yield Found(path, seg)  # now, for loading the model takes a while
    model = shelf.take(bundle)
    if seg is None:
        seg = prepare(slide, model, path, RunOptions(tissue=tissue_only, uncertainty=uncertainty))
        yield Found(seg.path, seg)
    yield Notice("segmenting the tissue coarsely", "busy")
    started = time.monotonic()
    seg.attach_model(model)
    yield from run_to_end(seg, NOTHING, focus=_focus(seg, view), gate=job.wait_to_go_on)
    yield _curve(seg, None)
    if seg.failures:
        yield _failed(list(seg.failures.values()))
    else:
        yield Notice(f"coarse pass done in {time.monotonic() - started:.1f} s")
    yield _curve(seg, model.seconds_per_tile)


def refine(
    seg: Segmentation, bundle: Bundle, shelf: Shelf, selection: Selection, view: View, job: Job
) -> Iterator[object]:
    """Stage 2 on a selection."""
    model = shelf.take(bundle)
    seg.attach_model(model)
    started = told = time.monotonic()
    before = int(seg.refined.sum())
    failed: list[str] = []
    steps = seg.iter_refine(selection, focus=_focus(seg, view), gate=job.wait_to_go_on)
    for step in steps:
        if isinstance(step, TilesSelected):
            yield Notice(f"refining {step.plan.n_tiles:,} tiles", "busy")
        if isinstance(step, ChipFailed):
            failed += [step.reason] * len(step.chip.tiles)
        yield step
        if time.monotonic() - told > CURVE_S:
            yield _curve(seg, model.seconds_per_tile)
            told = time.monotonic()
    yield _curve(seg, model.seconds_per_tile)
    if failed:
        yield _failed(failed)
    else:
        count = int(seg.refined.sum()) - before
        yield Notice(f"{count:,} tiles refined in {time.monotonic() - started:.1f} s")


def catch_up(seg: Segmentation, heard: Heard, seconds_per_tile: float | None) -> Iterator[object]:
    """What a run that was stopped had on its way to the disk: it is there, but was not told."""
    for core in seg.windows_done - heard.windows:
        yield CoarseWindowDone(core, seg.read_logits(core), {})
    for row, column in np.argwhere(seg.refined & ~heard.tiles).tolist():
        chip = seg.tiles.chip((row, column))
        inside = seg.read_labels(chip.core.clip(seg.grid.shape))
        beyond = [(0, chip.core.height - inside.shape[0]), (0, chip.core.width - inside.shape[1])]
        yield ChipRefined(chip, np.pad(inside, beyond, mode="edge"))
    if seg.coarse_complete:
        yield _curve(seg, seconds_per_tile)


def read_patch(seg: Segmentation, box: Box) -> Iterator[object]:
    """Labels of a place, to be edited."""
    yield Patch(box, seg.read_labels(box))


def write_edit(seg: Segmentation, box: Box, labels: NDArray[np.uint8]) -> Iterator[object]:
    """Keep what the user painted."""
    seg.edit(box, labels)
    yield Edited(box)
    yield Notice("the edit is kept; refinement leaves it as it is")


def undo(seg: Segmentation) -> Iterator[object]:
    """Take the last edit back."""
    if not seg.edit_boxes:
        yield Notice("there is no edit to take back")
        return
    box = seg.edit_boxes[-1]
    seg.undo_edit()
    yield Edited(box, undone=True)
    yield Notice("the last edit was taken back")


def measure(seg: Segmentation, job: Job) -> Iterator[object]:
    """Areas and counts of each class."""

    def report(done: float) -> None:
        job.report(Progress("measure", done, 1))

    yield Measured(areas(seg, count_objects=True, progress=report))


def write_file(seg: Segmentation, path: Location, job: Job) -> Iterator[object]:
    """Export."""
    written = export(seg, path, progress=lambda done: job.report(Progress("export", done, 1)))
    yield Exported(written)
    yield Notice(f"wrote {written}")


def _made_with(seg: Segmentation, **options: object) -> bool:
    return all(getattr(seg.record.parameters, name) == value for name, value in options.items())


def _failed(reasons: list[str]) -> Notice:
    tiles = "1 tile" if len(reasons) == 1 else f"{len(reasons):,} tiles"
    return Notice(f"{tiles} failed and kept coarse labels: {reasons[0]}", "error")


def _curve(seg: Segmentation, seconds_per_tile: float | None) -> Curve:
    return seg.ranking.curve(seg.refined, seconds_per_tile)


def _focus(seg: Segmentation, view: View) -> View:
    """What is looked at, on the fine grid."""

    def focus() -> Box | None:
        box = view()
        return None if box is None else seg.box_to_fine(box)

    return focus
