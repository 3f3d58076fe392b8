"""What runs in a worker process: both stages over one field at a time."""

from __future__ import annotations

import os
import platform
from contextlib import contextmanager
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING

from napari_twostage.distributed.handover import RefinedField, SegmentedField, WindowReport
from napari_twostage.fields import FieldGrid, Worker
from napari_twostage.models import load_model
from napari_twostage.pipeline import ChipFailed, Work, coarse_pass, refine_tiles
from napari_twostage.run import write_chip, write_window
from napari_twostage.segmentation import Segmentation
from napari_twostage.threads import pool

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_twostage.distributed.handover import Job
    from napari_twostage.fields import Field
    from napari_twostage.geometry import Box
    from napari_twostage.models.model import Model
    from napari_twostage.pipeline import ChipRefined, CoarseWindowDone
    from napari_twostage.tiling import Tile

OPEN_RESULTS = 4
"""Results, with their slides, that a process keeps open; models as well."""

_turn = Lock()
"""One field at a time in a process, whose cores the model has to itself."""


def segment_field(job: Job, field: Field, cores: Sequence[Box]) -> SegmentedField:
    """Run stage 1 over windows of a field, given by their cores."""
    with _field(job, "coarse", field) as seg, pool(1, "write") as writer:

        def write(step: CoarseWindowDone) -> WindowReport:
            found, unreadable = write_window(seg, step)
            return WindowReport(step.core, unreadable, found)

        steps = coarse_pass(_work(seg, cores))
        written = [writer.submit(write, step) for step in steps]
        return SegmentedField(_this(seg.model), [future.result() for future in written])


def refine_field(job: Job, field: Field, tiles: Sequence[Tile]) -> RefinedField:
    """Run stage 2 over tiles of a field."""
    failed = []
    with _field(job, "refine", field) as seg, pool(1, "write") as writer:

        def write(step: ChipRefined) -> tuple[Tile, ...]:
            write_chip(seg, step)
            return step.chip.tiles

        written = []
        for step in refine_tiles(_work(seg, []), tiles):
            if isinstance(step, ChipFailed):
                failed.append((step.chip.tiles, step.reason))
            else:
                written.append(writer.submit(write, step))
        refined = [tile for future in written for tile in future.result()]
        seg.store.refresh_overview()
        return RefinedField(_this(seg.model), refined, failed)


def seconds_per_tile(job: Job) -> float:
    """Stage 2's time for a tile in this process, measured once."""
    with _turn:
        return _opened(job).model.seconds_per_tile


@contextmanager
def _field(job: Job, stage: str, field: Field) -> Iterator[Segmentation]:
    """The result, opened to write one field; what it shares with others is left for the owner."""
    with _turn:
        seg = _opened(job)
        fields = FieldGrid(seg.layout)
        shared = seg.store.set_aside(fields.box(field), fields.step)
        yield seg
        job.leave(stage, field, shared)


@lru_cache(OPEN_RESULTS)
def _opened(job: Job) -> Segmentation:
    """Open the result as it is when this process comes to the run."""
    seg = Segmentation.open(job.folder)
    made_with = seg.record["model"]
    seg.attach_model(_loaded(made_with["source"], made_with["sha256"], job.device))
    return seg


@lru_cache(OPEN_RESULTS)
def _loaded(source: str, sha256: str, device: str) -> Model:  # noqa: ARG001 - tells versions apart
    return load_model(source, device=device)


def _work(seg: Segmentation, windows: Sequence[Box]) -> Work:
    return Work(
        model=seg.model,
        fine=seg.view(seg.grid),
        coarse=seg.view(seg.coarse_grid),
        tiles=seg.tiles,
        windows=windows,
    )


def _this(model: Model) -> Worker:
    return Worker(platform.node(), os.getpid(), str(model.device), model.threads)
