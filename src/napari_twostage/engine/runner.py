"""Carrying a run out: the pipeline's steps, written to disk as they come."""

from __future__ import annotations

import time
from collections import Counter, deque
from concurrent.futures import wait
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_twostage.errors import SlideError
from napari_twostage.geometry import Box
from napari_twostage.method.pipeline import Work, nowhere, segment_slide
from napari_twostage.method.selection import Plan, Selection
from napari_twostage.method.steps import (
    ChipFailed,
    ChipRefined,
    CoarsePassStarted,
    CoarseWindowDone,
    PartitionRefined,
    PartitionSegmented,
    PartitionStep,
    PyramidGrown,
    Step,
    TilesSelected,
    Worker,
)
from napari_twostage.method.tissue import everything, find_tissue
from napari_twostage.result.record import run_entry
from napari_twostage.slides.pyramid import build_pyramid
from napari_twostage.utils.threads import may_wait, pool

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from concurrent.futures import Future, ThreadPoolExecutor

    from numpy.typing import NDArray

    from napari_twostage.distributed.cluster import Cluster
    from napari_twostage.engine.segmentation import Segmentation
    from napari_twostage.method.pipeline import Focus
    from napari_twostage.method.tiling import Tile
    from napari_twostage.result.tile_scores import WindowFindings

OVERVIEW_LIMIT_PX = 4096 * 4096
"""A slide whose coarsest level is larger is given a pyramid."""
STRIP = 12
"""Coarse windows side by side before the next row begins."""
WRITES_AHEAD = 32
"""Steps that may wait for the disk."""
SILENCE_S = 0.1
"""Where no step was handed on for so long, the next is waited for, not left until one follows,"""
PATIENCE_S = 0.05
"""but no longer than so, for the model must not run out of work."""
REFRESH_S = 10.0
"""How far the overview on disk may lag behind the tiles,"""
REFRESH_BYTES = 6_000_000
"""and by how much, a thousand tiles, say: every reader of the overview goes over them."""


STAGE: dict[type[Step], str] = {
    PyramidGrown: "pyramid",
    CoarsePassStarted: "tissue",
    CoarseWindowDone: "coarse",
    TilesSelected: "coarse",
    ChipRefined: "refine",
    ChipFailed: "refine",
    PartitionSegmented: "coarse",
    PartitionRefined: "refine",
}
"""What a run was doing when a step came."""


def run(
    seg: Segmentation,
    wanted: Selection | Plan,
    *,
    focus: Focus | None = None,
    cluster: Cluster | None = None,
) -> Iterator[Step]:
    """Do what is left of both stages, and keep it.

    A step is yielded once it is on disk. Closing the iterator cancels the rest; a later run with
    the same arguments goes on.

    Parameters
    ----------
    seg : Segmentation
        What to go on with.
    wanted : Selection or Plan
        What to refine once the coarse pass is complete.
    focus : callable, optional
        Tells what is looked at, a box of the fine grid: that comes first.
    cluster : Cluster, optional
        Have it done there, field by field; what is looked at does not count then.
    """
    selection = wanted.selection if isinstance(wanted, Plan) else wanted
    entry = {**run_entry(seg.model), "wanted": selection.as_dict(), "finished": False}
    workers: Counter[Worker] = Counter()
    seconds = dict.fromkeys(("pyramid", "tissue", "coarse", "refine"), 0.0)
    stage, started = "pyramid", time.perf_counter()
    before = int(seg.ledger.refined.sum())
    steps = _steps(seg, wanted, focus or nowhere, cluster)
    try:
        for step in steps:
            stage = STAGE[type(step)]
            seconds[stage] += time.perf_counter() - started
            if isinstance(step, TilesSelected):
                entry["plan"] = {"tiles": step.plan.n_tiles, "fraction": step.plan.fraction}
            if isinstance(step, PartitionStep):
                workers[step.worker] += 1
            yield step
            started = time.perf_counter()  # what the taker did with the step is not counted
        entry["finished"] = True
    finally:
        steps.close()  # what is on its way to the disk belongs to this run
        seconds[stage] += time.perf_counter() - started
        entry["refined"] = int(seg.ledger.refined.sum()) - before
        entry["seconds"] = {name: round(value, 3) for name, value in seconds.items()}
        entry["notices"] = seg.model.notices
        if cluster is not None:
            entry |= _done_by(workers)
        seg.end_run(entry)


def _done_by(workers: Counter[Worker]) -> dict[str, Any]:
    """Name the processes of a cluster in a run's entry, in place of this one."""
    listed = [{**asdict(worker), "fields": fields} for worker, fields in workers.items()]
    return {"compute": None, "threads": None, "workers": listed}


def _steps(
    seg: Segmentation, wanted: Selection | Plan, focus: Focus, cluster: Cluster | None
) -> Generator[Step, None, None]:
    if cluster is not None:
        cluster.check(seg)
    yield from _add_levels(seg)
    if not seg.tissue_known:
        with pool(1, "warm-up") as meanwhile:
            if cluster is None:  # an error comes again with the first window
                meanwhile.submit(seg.model.warm_up, "coarse")
            _look_for_tissue(seg)
    if cluster is not None:
        yield from cluster.both_stages(seg, _windows_left(seg), wanted)
        return
    work = Work(
        model=seg.model,
        fine=seg.view(seg.grid),
        coarse=seg.view(seg.coarse_grid),
        tiles=seg.tiles,
        windows=_windows_left(seg),
        focus=focus,
    )
    with pool(1, "write") as writer:

        def select() -> Plan:
            writer.submit(seg.findings.save_statistics).result()  # after the windows before it
            return wanted if isinstance(wanted, Plan) else seg.select(wanted)

        yield from _persist(seg, segment_slide(work, select), writer)


def _add_levels(seg: Segmentation) -> Iterator[Step]:
    """Give a slide without coarse levels some, once, in the result folder."""
    height, width = seg.slide.level_shapes[-1]
    if height * width > OVERVIEW_LIMIT_PX:
        for fraction in build_pyramid(seg.slide, seg.pyramid_folder):
            yield PyramidGrown(fraction)
        seg.attach_slide(seg.slide)


def _look_for_tissue(seg: Segmentation) -> None:
    """Find the tissue and keep it; the tiles outside a region are outside the tissue too."""
    parameters = seg.record["parameters"]
    tissue = find_tissue(seg.slide) if parameters["tissue"] else everything(seg.slide)
    tiles = tissue.tiles(seg.tiles, seg.grid)
    if parameters["region"] is not None:
        tiles &= seg.tiles_touching(seg.to_fine(Box(*parameters["region"])))
        if not tiles.any():
            raise SlideError(
                f"{seg.name}: region {parameters['region']} (top, left, bottom, right) holds no "
                "tissue; choose another, or pass tissue=False (--no-tissue)"
            )
    seg.save_tissue(tissue, tiles)


def _windows_left(seg: Segmentation) -> list[Box]:
    """Cores of coarse windows that hold tissue and are not done, strip by strip, row by row.

    Windows of two rows share tiles of the slide's file: in a strip they are still in its cache.
    """
    side, tissue = seg.card.coarse_core_px, seg.tissue
    per_window = side // seg.card.coarse_tile_px
    windows = []
    for block in seg.coarse_grid.box.blocks(side):
        row, column = block.top // side * per_window, block.left // side * per_window
        held = tissue[row : row + per_window, column : column + per_window]
        if held.any() and block not in seg.ledger.windows:
            windows.append(Box.at(block.top, block.left, side, side))
    return sorted(windows, key=lambda core: (core.left // (STRIP * side), core.top, core.left))


def _persist(
    seg: Segmentation, steps: Generator[Step, None, None], writer: ThreadPoolExecutor
) -> Iterator[Step]:
    """Write steps in another thread; hand each on when it is on disk."""
    waiting: deque[tuple[Step, Future[None]]] = deque()
    refreshed = handed_on = time.perf_counter()
    try:
        for step in steps:
            if not isinstance(step, CoarseWindowDone | ChipRefined | ChipFailed):
                while waiting:
                    yield _taken(waiting)
                yield step  # at once: what comes after it may take long
                continue
            waiting.append((step, writer.submit(_write, seg, step)))
            now = time.perf_counter()
            if now - refreshed > REFRESH_S:
                writer.submit(seg.refresh)
                refreshed = now
            patience = PATIENCE_S if now - handed_on > SILENCE_S else 0.0
            while waiting and (len(waiting) > WRITES_AHEAD or wait({waiting[0][1]}, patience).done):
                yield _taken(waiting)
                handed_on, patience = time.perf_counter(), 0.0
        while waiting:
            yield _taken(waiting)
    finally:
        steps.close()
        left = [future for _, future in waiting]
        with suppress(RuntimeError):  # a run that is collected as garbage may lose its writer first
            left.append(writer.submit(seg.refresh))
        if may_wait():
            for future in left:  # what is computed is kept
                future.result()


def _taken(waiting: deque[tuple[Step, Future[None]]]) -> Step:
    step, future = waiting.popleft()
    future.result()
    return step


def _write(seg: Segmentation, step: Step) -> None:
    """Pixels first, then the ledger: what is recorded is on disk."""
    match step:
        case CoarseWindowDone():
            found, unreadable = write_window(seg, step)
            seg.ledger.window_done(step.core, unreadable)
            seg.findings.window_done(step.core, found)
        case ChipRefined(chip=chip):
            for tile, labels in squares_of(seg, step).items():
                seg.store.write_tile(tile, labels)
            seg.ledger.tiles_refined(chip.tiles)
        case ChipFailed(chip=chip, reason=reason):
            seg.ledger.tiles_failed(chip.tiles, reason)
    if seg.store.overview.held_bytes >= REFRESH_BYTES:
        seg.refresh()


def write_window(
    seg: Segmentation, step: CoarseWindowDone
) -> tuple[WindowFindings, dict[Tile, str]]:
    """Write the pixels of a window; returns what else is to be kept of it, and lost tiles."""
    logits = step.logits.copy()
    for tile in seg.tiles_of_window(step.core):
        if not seg.tissue[tile] or tile in step.unreadable:
            place = seg.layout.coarse_box(tile).shift(-step.core.top, -step.core.left)
            logits[:, *place.slices] = np.nan
    unreadable = {tile: why for tile, why in step.unreadable.items() if seg.tissue[tile]}
    seg.store.write_window(step.core, logits)
    return seg.findings.of_window(logits), unreadable


def squares_of(seg: Segmentation, step: ChipRefined) -> dict[Tile, NDArray[np.uint8]]:
    """Part the labels of a chip by tile."""
    core = step.chip.core
    return {
        tile: step.labels[seg.tiles.core(tile).shift(-core.top, -core.left).slices]
        for tile in step.chip.tiles
    }


def watch(steps: Iterator[Step], progress: bool | Callable[[Step], None] | None) -> None:
    """Take all steps; show bars for True, call `progress` with each step if it can be called."""
    if callable(progress):
        for step in steps:
            progress(step)
        return
    if progress:
        from napari_twostage.engine.progress import Bars

        with Bars() as bars:
            for step in steps:
                bars.take(step)
        return
    deque(steps, maxlen=0)
