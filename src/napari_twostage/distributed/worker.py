"""Tasks of a worker process: one of the two stages, over a few partitions.

A task first holds the lock of the model, then the lock of the disk, so a worker with two threads
computes one task while it writes another.
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
from napari_twostage.models.backends import choose

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from napari_twostage.distributed.messages import ClusterRun
    from napari_twostage.geometry import Box
    from napari_twostage.method.steps import CoarseWindowDone, Partition
    from napari_twostage.method.tiling import Tile
    from napari_twostage.models.model import Model

StageStep = TypeVar("StageStep")

CACHE_SIZE = 4
"""Number of results, with their slides, and of models that a process keeps open."""
CHECK_EVERY_S = 1
"""Seconds between checks that the run is active: on an object store each is a round trip."""

_model_lock = Lock()
"""Lock of the model: one task at a time computes, with all cores of the process."""
_disk_lock = Lock()
"""Lock of the disk: a store writes one partition at a time."""


def segment_partitions(run: ClusterRun, cores: Sequence[Box]) -> list[SegmentedPartition]:
    """Run stage 1 over windows and write their pixels.

    Parameters
    ----------
    run : ClusterRun
        Run that the task belongs to.
    cores : sequence of Box
        Cores of the windows: all that are left of their partitions.

    Raises
    ------
    SegmentationError
        If the run has ended.
    """
    with _model_lock:
        seg = _open_result(run)
        steps = _collect_while_active(run, coarse_pass(_work(seg, cores)))
    partitions = PartitionGrid(seg.layout)
    with _disk_lock:
        return [
            _write_windows(seg, run, partition, own)
            for partition, own in grouped(steps, lambda step: partitions.of_window(step.core))
        ]


def refine_partitions(run: ClusterRun, tiles: Sequence[Tile]) -> list[RefinedPartition]:
    """Run stage 2 over tiles and write their pixels.

    Parameters
    ----------
    run : ClusterRun
        Run that the task belongs to.
    tiles : sequence of (row, column)
        All selected tiles of their partitions.

    Raises
    ------
    SegmentationError
        If the run has ended.
    """
    with _model_lock:
        seg = _open_result(run)
        seg.writer.follow()  # windows that other processes have seen since it was opened
        steps = _collect_while_active(run, refine_tiles(_work(seg, []), tiles))
    partitions = PartitionGrid(seg.layout)
    with _disk_lock:
        return [
            _write_chips(seg, run, partition, own)
            for partition, own in grouped(
                steps, lambda step: partitions.of_tile(step.chip.tiles[0])
            )
        ]


def choose_precision(device: str, losses: Mapping[str, float]) -> str:
    """Precision that this process's machine runs a model of such losses in."""
    return choose(device, losses=losses).precision


def seconds_per_tile(run: ClusterRun) -> float:
    """Seconds of stage 2 per tile in this process, measured once."""
    with _model_lock:
        return _open_result(run).model.seconds_per_tile


def _write_windows(
    seg: Segmentation, run: ClusterRun, partition: Partition, steps: list[CoarseWindowDone]
) -> SegmentedPartition:
    with _writing_partition(seg, run, "coarse", partition):
        windows = [WindowReport(step.core, *seg.writer.write_window(step)) for step in steps]
    return SegmentedPartition(partition, _describe_worker(seg.model), windows)


def _write_chips(
    seg: Segmentation, run: ClusterRun, partition: Partition, steps: list[ChipRefined | ChipFailed]
) -> RefinedPartition:
    refined = [step for step in steps if isinstance(step, ChipRefined)]
    with _writing_partition(seg, run, "refine", partition):
        squares = (seg.writer.squares(step.chip.core, step.labels).items() for step in refined)
        depths = (seg.writer.depths(step.chip.core, step.depth).items() for step in refined)
        seg.writer.write_tiles(
            dict(chain.from_iterable(squares)), dict(chain.from_iterable(depths))
        )
    return RefinedPartition(
        partition,
        _describe_worker(seg.model),
        [tile for step in refined for tile in step.chip.tiles],
        [(step.chip.tiles, step.reason) for step in steps if isinstance(step, ChipFailed)],
    )


@contextmanager
def _writing_partition(
    seg: Segmentation, run: ClusterRun, stage: str, partition: Partition
) -> Iterator[None]:
    """Restrict writes to one partition; save its part of the shared levels for the owner."""
    _require_active(run)
    partitions = PartitionGrid(seg.layout)
    shared = seg.writer.detach(partitions.box(partition), partitions.step)
    yield
    seg.writer.flush_detached()
    run.put_levels(stage, partition, shared)


def _collect_while_active(run: ClusterRun, steps: Iterable[StageStep]) -> list[StageStep]:
    """Collect all steps; raise if the run ends meanwhile."""
    taken = []
    checked = float("-inf")
    for step in steps:
        if time.monotonic() - checked > CHECK_EVERY_S:
            _require_active(run)
            checked = time.monotonic()
        taken.append(step)
    return taken


def _require_active(run: ClusterRun) -> None:
    """Raise if the run has ended, so a stale task cannot corrupt its successor."""
    if not run.active:
        raise SegmentationError(f"{run.folder}: the run that this task belongs to has ended")


@lru_cache(CACHE_SIZE)
def _open_result(run: ClusterRun) -> Segmentation:
    """Open the result of a run, and load its model."""
    seg = Segmentation.open(run.folder)
    made_with = seg.record.model
    seg.attach_model(_load_model(made_with.source, made_with.sha256, run.device, run.precision))
    return seg


@lru_cache(CACHE_SIZE)
def _load_model(
    source: str,
    sha256: str,  # noqa: ARG001 - part of the cache key
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


def _describe_worker(model: Model) -> Worker:
    return Worker(platform.node(), os.getpid(), str(model.compute), model.threads)
