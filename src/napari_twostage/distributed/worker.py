"""What runs in a worker process: one of both stages over a few partitions.

A task waits for its turn with the model, and then for its turn with the disk, so a worker of two
threads computes one task while it writes another.
"""

from __future__ import annotations

import os
import platform
import time
from contextlib import contextmanager
from functools import lru_cache
from itertools import chain
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

from napari_twostage.distributed.messages import RefinedPartition, SegmentedPartition, WindowReport
from napari_twostage.distributed.partition import PartitionGrid, grouped
from napari_twostage.engine.segmentation import Segmentation
from napari_twostage.errors import SegmentationError
from napari_twostage.method.pipeline import Work, coarse_pass, refine_tiles
from napari_twostage.method.steps import ChipFailed, ChipRefined, Worker
from napari_twostage.models import load_model

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from napari_twostage.distributed.messages import Job
    from napari_twostage.geometry import Box
    from napari_twostage.method.steps import CoarseWindowDone, Partition
    from napari_twostage.method.tiling import Tile
    from napari_twostage.models.model import Model

Step = TypeVar("Step")

KEPT_OPEN = 4
"""Results, with their slides, and models that a process keeps open."""
ASK_EVERY_S = 1
"""How often a task asks whether its run goes on: of an object store, each costs a round trip."""

_model_turn = Lock()
"""One task at a time computes: the model has the cores of a process to itself."""
_disk_turn = Lock()
"""One task at a time writes: a store writes one partition at a time."""


def segment_partitions(job: Job, cores: Sequence[Box]) -> list[SegmentedPartition]:
    """Run stage 1 over windows, given by their cores: all that are left of their partitions."""
    with _model_turn:
        seg = _opened(job)
        steps = _while_wanted(job, coarse_pass(_work(seg, cores)))
    partitions = PartitionGrid(seg.layout)
    with _disk_turn:
        return [
            _write_windows(seg, job, partition, own)
            for partition, own in grouped(steps, lambda step: partitions.of_window(step.core))
        ]


def refine_partitions(job: Job, tiles: Sequence[Tile]) -> list[RefinedPartition]:
    """Run stage 2 over tiles: all that are chosen of their partitions."""
    with _model_turn:
        seg = _opened(job)
        steps = _while_wanted(job, refine_tiles(_work(seg, []), tiles))
    partitions = PartitionGrid(seg.layout)
    with _disk_turn:
        return [
            _write_chips(seg, job, partition, own)
            for partition, own in grouped(
                steps, lambda step: partitions.of_tile(step.chip.tiles[0])
            )
        ]


def seconds_per_tile(job: Job) -> float:
    """Stage 2's time for a tile in this process, measured once."""
    with _model_turn:
        return _opened(job).model.seconds_per_tile


def _write_windows(
    seg: Segmentation, job: Job, partition: Partition, steps: list[CoarseWindowDone]
) -> SegmentedPartition:
    with _only(seg, job, "coarse", partition):
        windows = [
            WindowReport(
                step.core, *seg.writer.write_window(step.core, step.logits, step.unreadable)
            )
            for step in steps
        ]
    return SegmentedPartition(partition, _this(seg.model), windows)


def _write_chips(
    seg: Segmentation, job: Job, partition: Partition, steps: list[ChipRefined | ChipFailed]
) -> RefinedPartition:
    refined = [step for step in steps if isinstance(step, ChipRefined)]
    with _only(seg, job, "refine", partition):
        squares = (seg.writer.squares(step.chip.core, step.labels).items() for step in refined)
        seg.writer.write_tiles(dict(chain.from_iterable(squares)))
    return RefinedPartition(
        partition,
        _this(seg.model),
        [tile for step in refined for tile in step.chip.tiles],
        [(step.chip.tiles, step.reason) for step in steps if isinstance(step, ChipFailed)],
    )


@contextmanager
def _only(seg: Segmentation, job: Job, stage: str, partition: Partition) -> Iterator[None]:
    """Write one partition only; its part of what partitions share is left for the owner."""
    _require_wanted(job)
    partitions = PartitionGrid(seg.layout)
    shared = seg.writer.detach(partitions.box(partition), partitions.step)
    yield
    seg.writer.flush_detached()
    job.leave(stage, partition, shared)


def _while_wanted(job: Job, steps: Iterable[Step]) -> list[Step]:
    """Take all steps, unless the run ends meanwhile."""
    taken = []
    asked = float("-inf")
    for step in steps:
        if time.monotonic() - asked > ASK_EVERY_S:
            _require_wanted(job)
            asked = time.monotonic()
        taken.append(step)
    return taken


def _require_wanted(job: Job) -> None:
    """Let a task fail whose run has ended: it would write behind the back of the next one."""
    if not job.goes_on:
        raise SegmentationError(f"{job.folder}: the run that this task belongs to has ended")


@lru_cache(KEPT_OPEN)
def _opened(job: Job) -> Segmentation:
    """Open the result as it is when this process comes to the run."""
    seg = Segmentation.open(job.folder)
    made_with = seg.record.model
    seg.attach_model(_loaded(made_with.source, made_with.sha256, job.device, job.precision))
    return seg


@lru_cache(KEPT_OPEN)
def _loaded(
    source: str,
    sha256: str,  # noqa: ARG001 - tells versions apart
    device: str,
    precision: str,
) -> Model:
    return load_model(source, device=device, precision=precision)


def _work(seg: Segmentation, windows: Sequence[Box]) -> Work:
    return Work(
        model=seg.model,
        fine=seg.view(seg.grid),
        coarse=seg.view(seg.coarse_grid),
        tiles=seg.tiles,
        windows=windows,
    )


def _this(model: Model) -> Worker:
    return Worker(platform.node(), os.getpid(), str(model.compute), model.threads)
