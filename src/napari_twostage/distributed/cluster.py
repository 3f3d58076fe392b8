"""A run on a cluster: partitions are handed out, their pixels are written there, recorded here."""

from __future__ import annotations

import logging
import time
from concurrent.futures import CancelledError
from itertools import islice
from typing import TYPE_CHECKING, TypeVar
from uuid import uuid4

from napari_twostage.distributed import worker
from napari_twostage.distributed.messages import Job
from napari_twostage.distributed.partition import PartitionGrid, grouped
from napari_twostage.errors import ClusterError, SegmentationError, TwoStageError
from napari_twostage.method.selection import Plan
from napari_twostage.method.steps import (
    CoarsePassStarted,
    PartitionRefined,
    PartitionSegmented,
    TilesSelected,
)

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
"""Tasks handed out for each thread of a worker: the next is there when one is done."""
BATCHES = 8
"""Full batches of a model that a task may hold: the last, not full, then weighs little."""
TASKS_EACH = 2
"""Tasks that a thread should get, however small, before they grow: the last ends the run."""
RETRIES = 2
"""Times that a task which failed is tried again."""
POLL_S = 0.02
"""How often to look whether a task has ended."""
PATIENCE_S = 10
"""How long nothing may end before it is asked whether there are workers at all."""
NO_WORKER = (
    "no worker is left on the cluster; the run goes on as soon as there is one: start it with "
    "'dask worker', or press Ctrl-C and repeat the command later"
)
LOST = (
    "the connection to the scheduler was lost; what is recorded is kept: start the scheduler and "
    "its workers again, and repeat the command to go on"
)


class Cluster:
    """Processes, here or elsewhere, that runs can be given to.

    Parameters
    ----------
    client : distributed.Client
        Connected to a scheduler. Its workers must know slides, results and models under the
        same paths as this process.
    device, precision : str
        What workers compute on; as for `load_model`.

    Examples
    --------
    >>> seg = segment(slide, "nuclei", out, cluster=Cluster(client))  # doctest: +SKIP
    """

    def __init__(self, client: Client, *, device: str = "auto", precision: str = "f32") -> None:
        self._client = client
        self._device = device
        self._precision = precision

    @property
    def threads(self) -> int:
        """Tasks that workers take on at once; it grows when workers join."""
        self._check_connection()
        threads: dict[str, int] = self._client.nthreads()
        return max(1, sum(threads.values()))

    def check(self, result: Result) -> None:
        """Refuse a slide that is an array, which only this process has.

        Raises
        ------
        SegmentationError
            For that.
        """
        if result.slide.path is None:
            raise SegmentationError(
                f"{result.name} is an array, which other processes cannot open; save it as "
                "OME-Zarr or OME-TIFF and segment that, or leave out the cluster"
            )

    def run_stages(
        self, result: Result, model: Model, windows: Sequence[Box], wanted: Selection | Plan
    ) -> Generator[Step, None, None]:
        """Do what is left of both stages; see `runner.Executor`.

        A partition is recorded, by this process alone, once its pixels are on disk. Closing the
        generator takes back the tasks in flight; workers drop what they are at.

        Raises
        ------
        ClusterError
            If the scheduler is lost.
        SegmentationError
            If a partition fails again and again.
        """
        result.writer.flush()  # from now on workers keep the label pyramid up to date
        job = Job(str(result.path.absolute()), uuid4().hex, self._device, self._precision)
        job.begin()
        try:
            yield CoarsePassStarted(len(windows))
            yield from self._segment(result, job, windows, model.coarse_batch)
            result.writer.finish_coarse_pass()
            plan = wanted if isinstance(wanted, Plan) else self._select(result, job, wanted)
            yield TilesSelected(plan)
            yield from self._refine(result, job, plan, model.refine_batch)
        finally:
            job.end()

    def _segment(
        self, result: Result, job: Job, windows: Sequence[Box], batch: int
    ) -> Iterator[PartitionSegmented]:
        partitions, writer = PartitionGrid(result.layout), result.writer
        tasks = self._packed(grouped(windows, partitions.of_window), batch)
        for done in self._in_waves(worker.segment_partitions, job, tasks):
            shared = job.take("coarse", done.partition)
            writer.record_partition(partitions.box(done.partition), shared)
            for window in done.windows:
                writer.record_window(window.core, window.scores, window.unreadable, in_pyramid=True)
            yield PartitionSegmented(done.partition, len(done.windows), done.worker)

    def _refine(
        self, result: Result, job: Job, plan: Plan, batch: int
    ) -> Iterator[PartitionRefined]:
        partitions, writer = PartitionGrid(result.layout), result.writer
        # a partition comes as early as the best of its tiles
        tasks = self._packed(grouped(plan.tiles, partitions.of_tile), batch)
        for done in self._in_waves(worker.refine_partitions, job, tasks):
            shared = job.take("refine", done.partition)
            writer.record_partition(partitions.box(done.partition), shared, refined=done.refined)
            for tiles, reason in done.failed:
                writer.record_failed(tiles, reason)
            count = len(done.refined) + sum(len(tiles) for tiles, _ in done.failed)
            yield PartitionRefined(done.partition, count, done.worker)

    def _select(self, result: Result, job: Job, wanted: Selection) -> Plan:
        if wanted.budget_s is None:
            return result.select(wanted)
        future = self._client.submit(worker.seconds_per_tile, job, pure=False, retries=RETRIES)
        workers = len(self._client.nthreads())
        return result.select(wanted, seconds_per_tile=self._result(future) / workers)

    def _packed(
        self, partitions: Collection[tuple[Partition, list[Item]]], batch: int
    ) -> Iterator[list[Item]]:
        """Pack partitions, whole and in their order, into tasks of a few batches."""
        total = sum(len(items) for _, items in partitions)
        shared_out = total // (batch * self.threads * TASKS_EACH)
        most = batch * min(max(1, shared_out), BATCHES)
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
        work: Callable[[Job, list[Item]], list[Report]],
        job: Job,
        tasks: Iterator[list[Item]],
    ) -> Iterator[Report]:
        """Hand tasks out in order, a bounded number at once; yield reports as they come."""
        from distributed import as_completed

        handed_out: set[Future[list[Report]]] = set()
        completed = as_completed([], loop=self._client.loop)
        try:
            while True:
                room = IN_FLIGHT * self.threads - len(handed_out)
                for items in islice(tasks, max(0, room)):
                    future = self._client.submit(work, job, items, pure=False, retries=RETRIES)
                    handed_out.add(future)
                    completed.add(future)
                if not handed_out:
                    return
                self._wait_for_one(completed)
                future = next(completed)
                handed_out.remove(future)
                yield from self._result(future)
        finally:
            if self._client.status == "running":
                self._client.cancel(list(handed_out))

    def _wait_for_one(self, completed: as_completed) -> None:
        """Wait until a task has ended; say so, once, if there is no worker to end it."""
        said, look_at = False, time.monotonic() + PATIENCE_S
        while not completed.has_ready():
            time.sleep(POLL_S)
            if not said and time.monotonic() > look_at:
                look_at = time.monotonic() + PATIENCE_S
                self._check_connection()
                said = not self._client.nthreads()
                if said:
                    log.warning(NO_WORKER)

    def _result(self, future: Future[Report]) -> Report:
        try:
            return future.result()
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
        """Say at once that the scheduler is gone: calls would wait for it to come back."""
        if self._client.status != "running":
            raise ClusterError(LOST)
