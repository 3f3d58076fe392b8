"""Execution of a run: the pipeline's steps, written to disk as they come.

::

    levels for a slide without any -> tissue -> domain check
        -> coarse pass -> selection -> refinement

An `Executor` may take over the last three: a cluster, say. Without one they run here, in the
threads of `method.lookahead`, one more thread writes, and one looks for artefacts in the tissue.
"""

from __future__ import annotations

import time
from collections import Counter
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.engine.artefact_search import ArtefactSearch
from napari_twostage.engine.domain_check import compare_with_training
from napari_twostage.engine.tallier import Tallier
from napari_twostage.engine.work_count import WorkCount
from napari_twostage.engine.write_queue import WriteQueue
from napari_twostage.errors import SlideError, TwoStageError
from napari_twostage.geometry import Box
from napari_twostage.method.pipeline import Work, no_focus, open_gate, segment_slide
from napari_twostage.method.selection import Plan, Selection
from napari_twostage.method.steps import (
    ChipFailed,
    ChipRefined,
    CoarsePassStarted,
    CoarseWindowDone,
    DomainChecked,
    PartitionRefined,
    PartitionSegmented,
    PartitionStep,
    PyramidGrown,
    Step,
    TilesSelected,
    Worker,
)
from napari_twostage.method.tissue import tissue_of
from napari_twostage.result.record_parts import STAGES, RunRecord
from napari_twostage.slides.pyramid import build_pyramid
from napari_twostage.utils.threads import may_wait, pool

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from concurrent.futures import ThreadPoolExecutor

    from napari_twostage.engine.executor import Executor
    from napari_twostage.method.pipeline import Focus, Gate
    from napari_twostage.models.model import Model
    from napari_twostage.result.result import Result
    from napari_twostage.slides.base import Slide

OVERVIEW_LIMIT_PX = 4096 * 4096
"""Pixels of a slide's coarsest level above which a pyramid is built."""
STRIP = 12
"""Coarse windows side by side before the next row begins."""
SILENCE_S = 0.1
"""If nothing was yielded for this long, wait for the next write,"""
PATIENCE_S = 0.05
"""but for at most this long, so that the model does not run out of work."""
FLUSH_S = 10.0
"""Longest time between two flushes of the label pyramid."""


STAGE: dict[type[Step], str] = {
    PyramidGrown: "pyramid",
    DomainChecked: "tissue",
    CoarsePassStarted: "tissue",
    CoarseWindowDone: "coarse",
    TilesSelected: "coarse",
    ChipRefined: "refine",
    ChipFailed: "refine",
    PartitionSegmented: "coarse",
    PartitionRefined: "refine",
}
"""The stage that a step ends or belongs to."""


@dataclass
class _Account:
    """Seconds by stage, plan and processes of a run."""

    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    stage: str = STAGES[0]
    plan: Plan | None = None
    workers: Counter[Worker] = field(default_factory=Counter)
    work: WorkCount | None = None
    """Counts what is done; None on a cluster."""
    _since: float = field(default_factory=time.perf_counter)

    def take(self, step: Step) -> None:
        """Charge the time since `go_on` to the step's stage."""
        self.stage = STAGE[type(step)]
        self.stop()
        if isinstance(step, TilesSelected):
            self.plan = step.plan
        if isinstance(step, PartitionStep):
            self.workers[step.worker] += 1
        if self.work is not None:
            self.work.take(step)

    def stop(self) -> None:
        """Charge the time since `go_on` to the current stage."""
        self.seconds[self.stage] += time.perf_counter() - self._since

    def go_on(self) -> None:
        """Start the clock again: the time that the taker of a step spent is not counted."""
        self._since = time.perf_counter()

    def close(self, run: RunRecord, *, finished: bool, refined: int, cluster: bool) -> RunRecord:
        """Complete the record of the run."""
        plan = self.plan
        run = replace(
            run,
            finished=finished,
            refined=refined,
            plan=None if plan is None else {"tiles": plan.n_tiles, "fraction": plan.fraction},
            seconds={stage: round(value, 3) for stage, value in self.seconds.items()},
            work=self.work.as_dict() if finished and self.work is not None else None,
        )
        if not cluster:
            return run
        workers = [{**asdict(one), "fields": count} for one, count in self.workers.items()]
        return replace(run, compute=None, threads=None, workers=workers)


def run(
    result: Result,
    model: Model,
    wanted: Selection | Plan,
    *,
    focus: Focus = no_focus,
    gate: Gate = open_gate,
    executor: Executor | None = None,
) -> Iterator[Step]:
    """Run the remaining work of both stages and save it.

    A step is yielded once it can be read; it is safe from a crash and a power cut within a second.
    Closing the iterator cancels the rest; a later run with the same arguments goes on.

    Parameters
    ----------
    result : Result
        The result to go on with.
    model : Model
        The model it was made with.
    wanted : Selection or Plan
        Tiles to refine once the coarse pass is complete.
    focus, gate : callable, optional
        See `pipeline.Work`; an executor takes no notice of them.
    executor : Executor, optional
        Processes that do both stages instead of this one.

    Raises
    ------
    LockedError
        If another process or window is writing the result.
    StorageError
        If the disk is full, gone or refuses; what is recorded is kept.
    """
    with (
        result.writer.writing(),
        closing(_recorded_run(result, model, wanted, focus, gate, executor)) as steps,
    ):
        yield from steps


def _recorded_run(
    result: Result,
    model: Model,
    wanted: Selection | Plan,
    focus: Focus,
    gate: Gate,
    executor: Executor | None,
) -> Generator[Step, None, None]:
    """Run, and record when, how and how far."""
    selection = wanted.selection if isinstance(wanted, Plan) else wanted
    precision = None
    if executor is not None:
        executor.check(result)
        precision = executor.precision(result, model)
    entry = RunRecord.begin(model, selection.as_dict(), precision)
    work = None if executor is not None else WorkCount(result, gate)
    account, error = _Account(work=work), None
    before = int(result.refined.sum())
    result.writer.record_slide(result.slide)
    result.writer.record_run(entry)  # a run that is killed is not taken for a finished one
    steps = _steps(result, model, wanted, focus, gate if work is None else work.gate, executor)
    try:
        # both end within the run's time, so that its record states what it took to the end
        with Tallier(result, wanted) as tallier, ArtefactSearch(result) as search:
            for step in steps:
                account.take(step)
                search.take(step)
                if executor is None:
                    tallier.take(step)
                yield step
                account.go_on()
            search.finish()
    except BaseException as raised:
        error = raised
        raise
    finally:
        with _first(error):
            steps.close()  # what is on its way to the disk belongs to this run
            result.writer.commit()
        account.stop()
        refined = int(result.refined.sum()) - before
        found = result.record.tissue
        entry = replace(entry, notices=[*model.notices, *(found.notices() if found else ())])
        with _first(error):
            result.writer.record_run(
                account.close(
                    entry, finished=error is None, refined=refined, cluster=executor is not None
                )
            )


@contextmanager
def _first(error: BaseException | None) -> Iterator[None]:
    """Let an error stand that was raised before those of a full or lost disk in this block."""
    try:
        yield
    except (OSError, TwoStageError):
        if error is None or isinstance(error, GeneratorExit):
            raise


def _steps(
    result: Result,
    model: Model,
    wanted: Selection | Plan,
    focus: Focus,
    gate: Gate,
    executor: Executor | None,
) -> Generator[Step, None, None]:
    with pool(1, "warm-up") as meanwhile:
        if executor is None and not result.tissue_known:
            meanwhile.submit(model.warm_up, "coarse")  # an error recurs with the first window
        yield from find_tissue(result)
    yield from compare_with_training(result, model, gate)
    if executor is not None:
        yield from executor.run_stages(result, model, _windows_left(result), wanted)
        return
    work = Work(
        model=model,
        fine=result.view(result.grid),
        coarse=result.view(result.coarse_grid),
        tiles=result.tiles,
        windows=_windows_left(result),
        focus=focus,
        gate=gate,
    )
    with pool(1, "write") as writer:

        def select() -> Plan:
            # after the windows before it
            writer.submit(result.writer.finish_coarse_pass).result()
            if isinstance(wanted, Plan):
                return wanted
            seconds = None if wanted.budget_s is None else model.seconds_per_tile
            return result.select(wanted, seconds_per_tile=seconds)

        yield from _persist(result, segment_slide(work, select), writer)


def find_tissue(result: Result) -> Iterator[Step]:
    """Find and keep the tissue of a result that lacks it, and levels to look for it on."""
    yield from _add_levels(result)
    if not result.tissue_known:
        _look_for_tissue(result)


def has_overview(slide: Slide) -> bool:
    """Whether a slide has a level that is small enough to be read as a whole."""
    height, width = slide.level_shapes[-1]
    return height * width <= OVERVIEW_LIMIT_PX


def _add_levels(result: Result) -> Iterator[Step]:
    """Build coarse levels, once, in the result folder, for a slide that has none."""
    if not has_overview(result.slide):
        for fraction in build_pyramid(result.slide, result.pyramid_folder):
            yield PyramidGrown(fraction)
        result.attach_slide(result.slide)


def _look_for_tissue(result: Result) -> None:
    """Find the tissue and keep it; the tiles outside a region are outside the tissue too."""
    parameters, slide = result.record.parameters, result.slide
    tissue = tissue_of(slide, search=parameters.tissue)
    tiles = tissue.tiles(result.tiles, result.grid)
    region = parameters.region
    if region is not None:
        tiles &= result.tiles_touching(result.box_to_fine(region))
        if not tiles.any():
            raise SlideError(
                f"{result.name}: region {region.as_list()} (top, left, bottom, right) holds no "
                "tissue; choose another, or pass tissue=False (--no-tissue)"
            )
    if (scope := result.record.scope) and not (
        tiles & result.layout.tiles_of_windows(result.layout.windows_touching(scope))
    ).any():
        raise SlideError(
            f"{result.name}: the region holds no tissue; draw it elsewhere, or pass tissue=False "
            "(--no-tissue)"
        )
    result.writer.save_tissue(tissue, tiles, slide.intensity_range)


def _windows_left(result: Result) -> list[Box]:
    """Cores of coarse windows that hold tissue and are not done, strip by strip, row by row.

    Windows of two rows share tiles of the slide's file: in a strip they are still in its cache.
    """
    side = result.card.coarse_core_px
    left = zip(*np.nonzero(result.windows_left), strict=True)
    windows = [Box.at(int(row) * side, int(column) * side, side, side) for row, column in left]
    return sorted(windows, key=lambda core: (core.left // (STRIP * side), core.top, core.left))


def _persist(
    result: Result, steps: Generator[Step, None, None], writer: ThreadPoolExecutor
) -> Iterator[Step]:
    """Write steps in another thread; yield each once it is written."""
    writes = WriteQueue(result, writer)
    flushed = yielded = time.perf_counter()
    try:
        for step in steps:
            if not isinstance(step, CoarseWindowDone | ChipRefined | ChipFailed):
                yield from writes.rest()
                yield step  # at once: what comes after it may take long
                continue
            writes.put(step)
            now = time.perf_counter()
            if now - flushed > FLUSH_S:
                writer.submit(result.writer.flush)
                flushed = now
            for written in writes.take(PATIENCE_S if now - yielded > SILENCE_S else 0.0):
                yield written
                yielded = time.perf_counter()
        yield from writes.rest()
    finally:
        steps.close()
        flush = None
        with suppress(RuntimeError):  # a run that is collected as garbage may lose its writer first
            flush = writer.submit(result.writer.flush)
        if may_wait():
            list(writes.rest())  # what is computed is kept
            if flush is not None:
                flush.result()
