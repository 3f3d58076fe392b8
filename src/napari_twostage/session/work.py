"""What a session's jobs do: generators that run in threads of their own and yield news."""

from __future__ import annotations

import time
from threading import Lock
from typing import TYPE_CHECKING

from napari_twostage.engine import carry_out, prepare
from napari_twostage.export import export
from napari_twostage.export.measure import tally
from napari_twostage.pipeline import TilesSelected
from napari_twostage.selection import NOTHING, Selection
from napari_twostage.session.news import Edited, Exported, Found, Measured, Notice, Patch, Progress
from napari_twostage.session.places import find_result, free_place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from napari_twostage.geometry import Box
    from napari_twostage.models.bundle import Bundle
    from napari_twostage.models.model import Model
    from napari_twostage.segmentation import Segmentation
    from napari_twostage.selection import Curve
    from napari_twostage.session.jobs import Job
    from napari_twostage.slides.base import Slide

    View = Callable[[], Box | None]

CURVE_S = 1.0
"""How often a refinement works out anew what refining more would bring."""


class Shelf:
    """Loads a model once, whichever job asks first.

    Parameters
    ----------
    device : str
        What models run on; see `load_model`.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._lock = Lock()
        self._model: Model | None = None

    def put(self, model: Model) -> None:
        """Keep a model that is loaded."""
        with self._lock:
            self._model = model

    def take(self, bundle: Bundle) -> Model:
        """The model of a bundle; takes seconds the first time."""
        from napari_twostage.models.model import Model

        with self._lock:
            if self._model is None or self._model.bundle is not bundle:
                self._model = Model(bundle, self._device)
            return self._model


def look(slide: Slide, bundle: Bundle, out: Path | None) -> Iterator[object]:
    """Open what is already known of a slide with a model; loads no weights."""
    path, seg = find_result(slide, bundle, out)
    if seg is not None:
        _ = seg.statistics, seg.heat.pixels  # read here, not in the owner's thread
    yield Found(path, seg)
    if seg is not None and seg.coarse_complete:
        yield _curve(seg, seg.seconds_per_tile)
        yield Notice(f"opened what was done before: {path.name}")


def coarse(
    slide: Slide,
    bundle: Bundle,
    out: Path | None,
    shelf: Shelf,
    *,
    tissue_only: bool,
    uncertainty: str,
    view: View,
) -> Iterator[object]:
    """Stage 1; goes on with a result of the same options, else starts one beside it."""
    yield Notice("loading the model, looking for tissue", "busy")
    model = shelf.take(bundle)
    path, seg = find_result(slide, bundle, out)
    if seg is not None:
        made_with = seg.record["parameters"]
        if (made_with["tissue"], made_with["uncertainty"]) != (tissue_only, uncertainty):
            path, seg = free_place(slide, bundle, seg.path), None
    if seg is None:
        seg = prepare(slide, model, path, tissue=tissue_only, uncertainty=uncertainty)
    seg.attach_model(model)
    yield Found(seg.path, seg)
    yield Notice("segmenting the tissue coarsely", "busy")
    started = time.monotonic()
    yield from carry_out(seg, NOTHING, focus=_focus(seg, view))
    yield _curve(seg, None)
    yield Notice(f"coarse pass done in {time.monotonic() - started:.1f} s")
    yield _curve(seg, model.seconds_per_tile)


def refine(
    seg: Segmentation, bundle: Bundle, shelf: Shelf, selection: Selection, view: View
) -> Iterator[object]:
    """Stage 2 on a selection."""
    model = shelf.take(bundle)
    seg.attach_model(model)
    ranking, refined = seg.ranking, seg.ledger.refined
    started = told = time.monotonic()
    before = int(refined.sum())
    for step in seg.iter_refine(selection, focus=_focus(seg, view)):
        if isinstance(step, TilesSelected):
            yield Notice(f"refining {step.plan.n_tiles:,} tiles", "busy")
        yield step
        if time.monotonic() - told > CURVE_S:
            yield ranking.curve(refined.copy(), model.seconds_per_tile)
            told = time.monotonic()
    yield ranking.curve(refined.copy(), model.seconds_per_tile)
    count, failed = int(refined.sum()) - before, seg.failures
    if failed:
        yield Notice(f"{len(failed):,} tiles failed: {next(iter(failed.values()))}", "error")
    else:
        yield Notice(f"{count:,} tiles refined in {time.monotonic() - started:.1f} s")


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
    box = seg.last_edit
    if box is None:
        yield Notice("there is no edit to take back")
        return
    seg.undo_edit()
    yield Edited(box)
    yield Notice("the last edit was taken back")


def measure(seg: Segmentation, job: Job) -> Iterator[object]:
    """Areas and counts of each class."""
    yield Measured(tally(seg, lambda done: job.report(Progress("measure", done, 1))))


def write_file(seg: Segmentation, path: Path, job: Job) -> Iterator[object]:
    """Export."""
    written = export(seg, path, progress=lambda done: job.report(Progress("export", done, 1)))
    yield Exported(written)
    yield Notice(f"wrote {written}")


def _curve(seg: Segmentation, seconds_per_tile: float | None) -> Curve:
    return seg.ranking.curve(seg.ledger.refined.copy(), seconds_per_tile)


def _focus(seg: Segmentation, view: View) -> View:
    """What is looked at, on the fine grid."""

    def focus() -> Box | None:
        box = view()
        return None if box is None else seg.to_fine(box)

    return focus
