"""Runs on a cluster: workers compute and write partitions, this process records them."""

from __future__ import annotations

import logging
import time
from concurrent.futures import CancelledError
from itertools import islice
from typing import TYPE_CHECKING, TypeVar
from uuid import uuid4

from napari_twostage.distributed import worker
from napari_twostage.distributed.messages import ClusterRun
from napari_twostage.distributed.partition import PartitionGrid, grouped
from napari_twostage.errors import ClusterError, LogitsError, SegmentationError, TwoStageError
from napari_twostage.method.selection import Plan
from napari_twostage.method.steps import (
    CoarsePassStarted,
    PartitionRefined,
    PartitionSegmented,
    TilesSelected,
)
from napari_twostage.models.backends import AUTO

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Iterator, Sequence

    from distributed import Client, Future, as_completed
    from napari_twostage.geometry import Box
    from napari_twostage.method.selection import Selection
    from napari_twostage.method.steps import Partition, Step
    from napari_twostage.models.model import Model
    from napari_twostage.result.result import Result

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Report = TypeVar("Report")

IN_FLIGHT = 2
"""Tasks submitted per worker thread, so that the next one is ready when one ends."""
BATCHES = 8
"""Most batches of the model in a task; many, so that the last, partly filled one costs little."""
TASKS_EACH = 2
"""Tasks per thread to aim at before tasks grow, so that no single task delays the end."""
RETRIES = 2
"""Number of times that a failed task is tried again."""
POLL_S = 0.02
"""Seconds between checks for a finished task."""
PATIENCE_S = 10
"""Seconds without a finished task before checking whether any worker is left."""
NO_WORKER = (
    "no worker is left on the cluster; the run goes on as soon as there is one: start it with "
    "'dask worker', or press Ctrl-C and repeat the command later"
)
LOST = (
    "the connection to the scheduler was lost; what is recorded is kept: start the scheduler and "
    "its workers again, and repeat the command to go on"
)


class Cluster:
    """Executor that runs both stages on the workers of a dask scheduler.

    Parameters
    ----------
    client : distributed.Client
        Client of a scheduler. Slides, results and models must have the same paths for its workers
        as for this process.
    device, precision : str
        Device and precision of the workers; as for `load_model`.

    Examples
    --------
    >>> seg = segment(slide, "nuclei", out, cluster=Cluster(client))  # doctest: +SKIP
    """

    def __init__(self, client: Client, *, device: str = "auto", precision: str = "auto") -> None:
        self._client = client
        self._device = device
        self._precision = precision

    @property
    def threads(self) -> int:
        """Number of worker threads; it grows when workers join."""
        self._check_connection()
        threads: dict[str, int] = self._client.nthreads()
        return max(1, sum(threads.values()))

    def check(self, result: Result) -> None:
        """Check that workers can open the slide.

        Raises
        ------
        SegmentationError
            If the slide is an array, which only this process has.
        """
        if result.slide.path is None:
            raise SegmentationError(
                f"{result.name} is an array, which other processes cannot open; save it as "
                "OME-Zarr or OME-TIFF and segment that, or leave out the cluster"
            )

    def precision(self, result: Result, model: Model) -> str:
        """Precision of all workers: of ``auto`` that of the result, else what one worker chooses.

        Raises
        ------
        ClusterError
            If the connection to the scheduler is lost.
        """
        if self._precision != AUTO:
            return self._precision
        if result.record.precision is not None:
            return result.record.precision
        if model.card.is_onnx:
            return "f32"  # as `choose_for_onnx` takes unasked
        losses = model.bundle.losses
        return self._result(
            self._client.submit(worker.choose_precision, self._device, losses, pure=False)
        )

    def run_stages(
        self, result: Result, model: Model, windows: Sequence[Box], wanted: Selection | Plan
    ) -> Generator[Step, None, None]:
        """Run what is left of both stages; see `executor.Executor`.

        This process alone records a partition, once its pixels are on disk. Closing the generator
        cancels the submitted tasks.

        Parameters
        ----------
        result : Result
            Result to write.
        model : Model
            Model of the result; here only its batch sizes count.
        windows : sequence of Box
            Cores of the coarse windows left to do.
        wanted : Selection or Plan
            Tiles to refine.

        Raises
        ------
        ClusterError
            If the connection to the scheduler is lost.
        LogitsError
            If the model gives values that are not finite.
        SegmentationError
            If a task fails repeatedly.
        """
        result.writer.flush()  # from here on workers update the label pyramid
        precision = self.precision(result, model)
        run = ClusterRun(str(result.path.absolute()), uuid4().hex, self._device, precision)
        run.begin()
        try:
            yield CoarsePassStarted(len(windows))
            yield from self._segment(result, run, windows, model.coarse_batch)
            result.writer.finish_coarse_pass()
            plan = wanted if isinstance(wanted, Plan) else self._select(result, run, wanted)
            yield TilesSelected(plan)
            yield from self._refine(result, run, plan, model.refine_batch)
        finally:
            run.end()

    def _segment(
        self, result: Result, run: ClusterRun, windows: Sequence[Box], batch: int
    ) -> Iterator[PartitionSegmented]:
        partitions, writer = PartitionGrid(result.layout), result.writer
        tasks = self._packed(grouped(windows, partitions.of_window), batch)
        for done in self._in_waves(worker.segment_partitions, run, tasks):
            shared = run.take_levels("coarse", done.partition)
            writer.record_partition(partitions.box(done.partition), shared)
            for window in done.windows:
                writer.record_window(window.core, window.scores, window.unreadable, in_pyramid=True)
            yield PartitionSegmented(done.partition, len(done.windows), done.worker)

    def _refine(
        self, result: Result, run: ClusterRun, plan: Plan, batch: int
    ) -> Iterator[PartitionRefined]:
        partitions, writer = PartitionGrid(result.layout), result.writer
        # partitions are in the order of their highest tiles
        tasks = self._packed(grouped(plan.tiles, partitions.of_tile), batch)
        for done in self._in_waves(worker.refine_partitions, run, tasks):
            shared = run.take_levels("refine", done.partition)
            writer.record_partition(partitions.box(done.partition), shared, refined=done.refined)
            for tiles, reason in done.failed:
                writer.record_failed(tiles, reason)
            count = len(done.refined) + sum(len(tiles) for tiles, _ in done.failed)
            yield PartitionRefined(done.partition, count, done.worker)

    def _select(self, result: Result, run: ClusterRun, wanted: Selection) -> Plan:
        if wanted.budget_s is None:
            return result.select(wanted)
        future = self._client.submit(worker.seconds_per_tile, run, pure=False, retries=RETRIES)
        workers = len(self._client.nthreads())
        return result.select(wanted, seconds_per_tile=self._result(future) / workers)

    def _packed(
        self, partitions: Collection[tuple[Partition, list[Item]]], batch: int
    ) -> Iterator[list[Item]]:
        """Pack whole partitions, in order, into tasks of a few batches."""
        total = sum(len(items) for _, items in partitions)
        batches_each = total // (batch * self.threads * TASKS_EACH)
        most = batch * min(max(1, batches_each), BATCHES)
        task: list[Item] = []
        for _, items in partitions:
            if task and len(task) + len(items) > most:
                yield task
                task = []
            task = task + items
        if task:
            yield task

    def _in_waves(
        self,
        work: Callable[[ClusterRun, list[Item]], list[Report]],
        run: ClusterRun,
        tasks: Iterator[list[Item]],
    ) -> Iterator[Report]:
        """Submit tasks in order, a bounded number at once; yield reports as they arrive."""
        from distributed import as_completed

        submitted: set[Future[list[Report]]] = set()
        completed = as_completed([], loop=self._client.loop)
        try:
            while True:
                room = IN_FLIGHT * self.threads - len(submitted)
                for items in islice(tasks, max(0, room)):
                    future = self._client.submit(work, run, items, pure=False, retries=RETRIES)
                    submitted.add(future)
                    completed.add(future)
                if not submitted:
                    return
                self._wait_for_one(completed)
                future = next(completed)
                submitted.remove(future)
                yield from self._result(future)
        finally:
            if self._client.status == "running":
                self._client.cancel(list(submitted))

    def _wait_for_one(self, completed: as_completed) -> None:
        """Wait until a task has ended; warn once if no worker is left."""
        warned, check_at = False, time.monotonic() + PATIENCE_S
        while not completed.has_ready():
            time.sleep(POLL_S)
            if not warned and time.monotonic() > check_at:
                check_at = time.monotonic() + PATIENCE_S
                self._check_connection()
                warned = not self._client.nthreads()
                if warned:
                    log.warning(NO_WORKER)

    def _result(self, future: Future[Report]) -> Report:
        try:
            return future.result()
        except LogitsError:
            raise  # of the model, whatever the worker
        except TwoStageError as error:
            raise SegmentationError(
                f"a worker says: {error}; slide, model and result folder must be there for all "
                "workers, under the same paths as here"
            ) from error
        except Exception as error:
            if isinstance(error, CancelledError):
                raise ClusterError(LOST) from error
            self._check_connection()
            raise SegmentationError(
                f"a task failed {1 + RETRIES} times on the cluster, at last with "
                f"{type(error).__name__}: {' '.join(str(error).split())}; "
                "the workers' logs have more; repeat the command to go on"
            ) from error

    def _check_connection(self) -> None:
        """Raise if the scheduler is gone; calls would wait for it to come back."""
        if self._client.status != "running":
            raise ClusterError(LOST)
