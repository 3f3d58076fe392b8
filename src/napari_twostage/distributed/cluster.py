"""A run on a cluster: fields are handed out, their pixels are written there, recorded here."""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import CancelledError
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

import numpy as np

from napari_twostage.distributed import worker
from napari_twostage.distributed.handover import Job
from napari_twostage.errors import ClusterError, SegmentationError, TwoStageError
from napari_twostage.fields import FieldGrid, FieldRefined, FieldSegmented
from napari_twostage.pipeline import CoarsePassStarted, TilesSelected
from napari_twostage.selection import Plan

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Sequence

    from distributed import Client, Future

    from napari_twostage.distributed.handover import RefinedField, SegmentedField
    from napari_twostage.fields import Field, FieldStep
    from napari_twostage.geometry import Box
    from napari_twostage.pipeline import Step
    from napari_twostage.segmentation import Segmentation
    from napari_twostage.selection import Selection

Item = TypeVar("Item")
Key = TypeVar("Key", bound="Hashable")

IN_FLIGHT = 2
"""Fields handed out for each that can be worked on: the next is there when one is done."""
RETRIES = 2
"""Times that a field which failed is tried again."""


class Cluster:
    """Processes, here or elsewhere, that runs can be given to.

    Parameters
    ----------
    client : distributed.Client
        Connected to a scheduler. Its workers must know slides, results and models under the
        same paths as this process.
    device : str
        What workers compute on; as for `load_model`.

    Examples
    --------
    >>> seg = segment(slide, "nuclei", out, cluster=Cluster(client))  # doctest: +SKIP
    """

    def __init__(self, client: Client, *, device: str = "auto") -> None:
        self._client = client
        self._device = device

    @property
    def places(self) -> int:
        """Fields that workers take on at once; it grows when workers join."""
        return sum(self._client.nthreads().values())

    def check(self, seg: Segmentation) -> None:
        """Refuse a slide that is an array, which only this process has.

        Raises
        ------
        SegmentationError
            For such a slide.
        """
        if seg.slide.path is None:
            raise SegmentationError(
                f"{seg.name} is an array, which other processes cannot open; save it as "
                "OME-Zarr or OME-TIFF and segment that, or leave out the cluster"
            )

    def both_stages(
        self, seg: Segmentation, windows: Sequence[Box], wanted: Selection | Plan
    ) -> Generator[Step | FieldStep, None, None]:
        """Do what is left of both stages; see `run.run`, which the user calls.

        A field is recorded, by this process alone, once its pixels are on disk. Closing the
        generator takes back what is handed out; fields that are being worked on come to their
        end unrecorded.

        Parameters
        ----------
        seg : Segmentation
            Its tissue is known.
        windows : sequence of Box
            Cores of the coarse windows that are left.
        wanted : Selection or Plan
            What to refine.

        Raises
        ------
        ClusterError
            If the scheduler is lost.
        SegmentationError
            If a field fails again and again.
        """
        seg.refresh()  # from now on only workers write what the overview lags behind
        job = Job(str(seg.path.absolute()), uuid4().hex, self._device)
        job.clear()
        try:
            yield CoarsePassStarted(len(windows))
            yield from self._segment(seg, job, windows)
            seg.findings.save_statistics()
            plan = wanted if isinstance(wanted, Plan) else self._select(seg, job, wanted)
            yield TilesSelected(plan)
            yield from self._refine(seg, job, plan)
        finally:
            job.clear()

    def _segment(
        self, seg: Segmentation, job: Job, windows: Sequence[Box]
    ) -> Iterator[FieldSegmented]:
        fields = FieldGrid(seg.layout)
        tasks = _grouped(windows, fields.of_window)
        done: SegmentedField
        for field, done in self._in_waves(worker.segment_field, job, tasks):
            seg.store.put_aside(fields.box(field), job.take("coarse", field))
            for core, unreadable, found in done.windows:
                seg.ledger.window_done(core, unreadable)
                seg.findings.window_done(core, found)
            yield FieldSegmented(field, len(done.windows), done.worker)

    def _refine(self, seg: Segmentation, job: Job, plan: Plan) -> Iterator[FieldRefined]:
        fields = FieldGrid(seg.layout)
        # a field comes as early as the best of its tiles
        tasks = _grouped(plan.tiles, fields.of_tile)
        unedited = np.zeros(seg.tiles.shape, bool)
        done: RefinedField
        for field, done in self._in_waves(worker.refine_field, job, tasks):
            seg.store.put_aside(fields.box(field), job.take("refine", field))
            seg.ledger.tiles_refined(done.refined)
            seg.ledger.overview_fresh()
            for tiles, reason in done.failed:
                seg.ledger.tiles_failed(tiles, reason)
            seg.store.mark_written(seg.ledger.refined, unedited)
            count = len(done.refined) + sum(len(tiles) for tiles, _ in done.failed)
            yield FieldRefined(field, count, done.worker)

    def _select(self, seg: Segmentation, job: Job, wanted: Selection) -> Plan:
        if wanted.budget_s is None:
            return seg.select(wanted)
        future = self._client.submit(worker.seconds_per_tile, job, pure=False, retries=RETRIES)
        return seg.select(wanted, seconds_per_tile=self._result(future) / self.places)

    def _in_waves(
        self,
        work: Callable[[Job, Field, list[Item]], Any],
        job: Job,
        tasks: Iterable[tuple[Field, list[Item]]],
    ) -> Iterator[tuple[Field, Any]]:
        """Hand tasks out in order, a bounded number at once; yield results as they come."""
        from distributed import as_completed

        source = iter(tasks)
        field_of: dict[Future[Any], Field] = {}
        completed = as_completed([], loop=self._client.loop)
        try:
            while True:
                room = IN_FLIGHT * max(1, self.places) - len(field_of)
                for field, items in islice(source, max(0, room)):
                    future = self._client.submit(
                        work, job, field, items, pure=False, retries=RETRIES
                    )
                    field_of[future] = field
                    completed.add(future)
                if not field_of:
                    return
                future = next(completed)
                yield field_of.pop(future), self._result(future)
        finally:
            with suppress(CancelledError, OSError, RuntimeError):  # the scheduler may be gone
                self._client.cancel(list(field_of))

    def _result(self, future: Future[Any]) -> Any:  # noqa: ANN401 - what the task returns
        try:
            return future.result()
        except CancelledError as error:
            raise ClusterError(
                "the connection to the scheduler was lost; what is recorded is kept: start the "
                "scheduler and its workers again, and repeat the command to go on"
            ) from error
        except TwoStageError as error:
            raise SegmentationError(
                f"a worker says: {error}; slide, model and result folder must be there for all "
                "workers, under the same paths as here"
            ) from error
        except Exception as error:
            raise SegmentationError(
                f"a task failed {1 + RETRIES} times on the cluster, at last with "
                f"{type(error).__name__}: {' '.join(str(error).split())}; "
                "the workers' logs have more; repeat the command to go on"
            ) from error


def _grouped(items: Iterable[Item], key: Callable[[Item], Key]) -> Iterable[tuple[Key, list[Item]]]:
    """Gather items of the same key, in the order in which each key comes first."""
    groups: defaultdict[Key, list[Item]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return groups.items()
