"""Segment a slide in two stages: the front door of the engine."""

from __future__ import annotations

import logging
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING

from napari_twostage.engine.checks import (
    check_scale,
    require_executor,
    require_model,
    require_place_for_result,
    require_progress,
    require_same,
    result_place,
)
from napari_twostage.engine.options import RunOptions
from napari_twostage.engine.progress import watch
from napari_twostage.engine.runner import run
from napari_twostage.engine.segmentation import Segmentation
from napari_twostage.errors import SlideError
from napari_twostage.geometry import Grid
from napari_twostage.io.paths import is_vacant, remove_tree
from napari_twostage.io.url import Url
from napari_twostage.method.pipeline import no_focus, open_gate
from napari_twostage.models import load_model
from napari_twostage.result.check import repair_metadata
from napari_twostage.result.record import Record, read_record
from napari_twostage.result.result_files import make_folder, remove_result, storage
from napari_twostage.result.writer_lock import WriterLock
from napari_twostage.slides import open_slide
from napari_twostage.slides.base import Slide

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Unpack

    from napari_twostage.engine.executor import Executor
    from napari_twostage.engine.options import RunKeywords
    from napari_twostage.io.paths import Location
    from napari_twostage.method.pipeline import Focus, Gate
    from napari_twostage.method.selection import Selection
    from napari_twostage.method.steps import Step
    from napari_twostage.models.card import ModelCard
    from napari_twostage.models.model import Model
    from napari_twostage.result.findings import Finding
    from napari_twostage.slides.arrays import ArrayLike

    SlideLike = Slide | str | Location | ArrayLike
    ModelLike = Model | str | Path

log = logging.getLogger(__name__)


def segment(
    slide: SlideLike,
    model: ModelLike,
    out: str | Location,
    *,
    progress: bool | Callable[[Step], None] | None = None,
    cluster: Executor | None = None,
    **keywords: Unpack[RunKeywords],
) -> Segmentation:
    """Segment a slide: coarsely over the tissue, finely where that is uncertain.

    Parameters
    ----------
    slide : Slide, path, URL or array
        See `open_slide`, which also takes a pixel size.
    model : Model, str or path
        See `load_model`.
    out : path or URL
        Result folder. If it holds an unfinished or finished result of the same slide, model and
        settings, the run goes on from there.
    progress : bool or callable, optional
        True shows bars on stderr; a callable is given each step.
    cluster : Executor, optional
        From `distributed.connect`: its workers do both stages, with the same labels. Its steps
        are `steps.PartitionStep` in place of windows and chips.
    threshold, fraction, budget_s : float, optional
        Tiles to refine: those that score above a threshold (the default: the model's own), the
        top fraction of tiles, or the top tiles that fit in this many seconds.
    refine : str
        ``selected`` (the default), ``none`` (stage 1 only) or ``all``.
    region : Box or sequence of (n, 2) arrays, optional
        A box of the slide's level 0: segment only tiles that touch it. Areas, objects and the
        tissue are those inside it. Or polygons with vertices (y, x): segment the coarse windows
        that they touch. A later run of the same result adds other polygons, or without a region
        the rest of the slide; see `Result.extend`.
    tissue : bool, optional
        True looks for tissue first, False segments everything. By default tissue is looked for on
        bright glass; of a dark field, in which dim cells would be lost, everything is segmented.
    uncertainty : str, optional
        ``tent``, ``entropy`` or ``neg_plogp`` instead of the model's own.
    scene, channel, z, t, intensity : optional
        What to read of a slide that is given as a path or array; as for `open_slide`.
    overwrite : bool
        Replace an earlier result in `out`; False by default.
    take_over : bool
        Write a result that a process of another machine left locked, which is known to be gone;
        False by default.
    least_object_um2 : float, optional
        Least area of objects in square micrometres, instead of the model's own; 0 keeps all. It
        changes what is counted and exported, and no label.

    Returns
    -------
    Segmentation

    Raises
    ------
    TwoStageError
        In one line: what was expected, what was found, what to do next.
    """
    options = RunOptions.from_keywords(keywords)
    require_executor(cluster)
    require_progress(progress)
    seg = prepare(slide, model, out, options)
    watch(run_to_end(seg, options.selection(seg.card), cluster=cluster), progress)
    return seg


def iter_segment(
    slide: SlideLike,
    model: ModelLike,
    out: str | Location,
    *,
    cluster: Executor | None = None,
    **keywords: Unpack[RunKeywords],
) -> Iterator[Step]:
    """Segment step by step; parameters as for `segment`.

    Nothing runs until the first step is asked for; closing the iterator cancels, and calling
    again with the same arguments goes on.
    """
    options = RunOptions.from_keywords(keywords)
    require_executor(cluster)
    seg = prepare(slide, model, out, options)
    yield from run_to_end(seg, options.selection(seg.card), cluster=cluster)


def prepare(
    slide: SlideLike, model: ModelLike, out: str | Location, options: RunOptions
) -> Segmentation:
    """Make or open the result folder of a run; computes nothing.

    Parameters
    ----------
    slide, model, out
        See `segment`.
    options : RunOptions
        Settings of the run.

    Raises
    ------
    TwoStageError
        If `out` holds another result or something else, or cannot be written; or if slide and
        model do not fit.
    """
    path = result_place(out)
    opened = slide if isinstance(slide, Slide) else open_slide(slide, **options.picture.as_dict())
    for notice in opened.notices:
        log.warning("%s: %s", opened.name, notice)
    loaded = load_model(model) if isinstance(model, str | PathLike) else model
    require_model(loaded)
    parameters = options.parameters(opened, loaded.card)
    check_scale(opened, loaded.card)
    made = False
    with storage(path):
        require_place_for_result(path, opened)
        if options.take_over:
            WriterLock(path).take_over()
        if options.overwrite and not is_vacant(path):
            remove_result(path)
        if is_vacant(path):
            grid = working_grid(opened, loaded.card)
            record = Record.new(opened, loaded, grid, parameters, path)
            made = _make(path, replace(record, scope=options.scope))
    with storage(path):
        findings = [] if made else repair_metadata(path)
        record = read_record(path)
        require_same(path, record, opened, parameters)
        seg = Segmentation(path, record, slide=opened, model=loaded)
        if not made:
            findings += seg.repair()
            seg.extend(options.scope or None)
        least = options.least_object_um2
        if least is not None and least != seg.least_object_um2:
            seg.writer.record_least_object(least)
    _tell(path, findings)
    return seg


def _tell(path: Location, findings: list[Finding]) -> None:
    """Name what is damaged in a result, each file once."""
    for file, verdict in dict.fromkeys((found.file, found.verdict) for found in findings):
        log.warning("%s is damaged: %s", path / file, verdict)


def _make(path: Location, record: Record) -> bool:
    """Make the result folder, unless another process is first; returns whether this one did."""
    if isinstance(path, Url):
        if path.exists():  # a process was killed while it made the folder
            remove_tree(path)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        make_folder(path, record)
    except OSError:
        if is_vacant(path):
            raise
        return False
    return True


def run_to_end(
    seg: Segmentation,
    wanted: Selection,
    *,
    focus: Focus = no_focus,
    gate: Gate = open_gate,
    cluster: Executor | None = None,
) -> Iterator[Step]:
    """Run what is left of both stages; if there is nothing to segment, leave no folder behind.

    Parameters
    ----------
    seg : Segmentation
        From `prepare`, or opened.
    wanted : Selection
        Tiles to refine.
    focus, gate : callable, optional
        See `pipeline.Work`.
    cluster : Executor, optional
        See `segment`.
    """
    fresh = not seg.tissue_known and not seg.windows_done and not seg.edit_boxes
    try:
        yield from run(seg, seg.model, wanted, focus=focus, gate=gate, executor=cluster)
    except SlideError:
        if fresh and not seg.tissue_known:
            seg.discard()
        raise


def working_grid(slide: Slide, card: ModelCard) -> Grid:
    """The grid that stage 2 works on.

    A level of the slide whose pixel size the model was made for is used as it is; else the slide
    is resampled to the model's own pixel size.
    """
    low, high = card.mpp_range
    fitting = [
        (abs(max(mpp) / card.fine_mpp - 1), level)
        for level, factor in enumerate(slide.factors)
        if low <= min(mpp := (slide.mpp[0] * factor[0], slide.mpp[1] * factor[1]))
        and max(mpp) <= high
    ]
    if fitting:
        level = min(fitting)[1]
        y, x = slide.factors[level]
        return Grid(slide.level_shapes[level], (y, x), (slide.mpp[0] * y, slide.mpp[1] * x))
    y, x = (card.fine_mpp / mpp for mpp in slide.mpp)
    height, width = slide.level_shapes[0]
    shape = max(1, round(height / y)), max(1, round(width / x))
    return Grid(shape, (y, x), (card.fine_mpp, card.fine_mpp))
