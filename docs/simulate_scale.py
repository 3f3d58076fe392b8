"""Simulation of many slides on a cluster, and of its bottlenecks; docs/scale.md has its output.

    python -m docs.simulate_scale --workers 64 512 4096 --slides 500

Events are simulated one by one: a worker takes a partition of a slide, reads it from the object
store, computes, writes its chunks, and reports to the owner, who writes the journal. Store and
owner serve one request after another. Stage 2 of a slide begins once its coarse pass is recorded,
since only then are all scores known. Workers are slow now and then, and die; their task is done
again.
"""

from __future__ import annotations

import argparse
import heapq
import sys
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

import numpy as np
from docs.scale_costs import Costs, SlideCost

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, kw_only=True)
class SimulatedCluster:
    """Workers, and the store that they share."""

    workers: int = 64
    cores_per_worker: int = 2
    store_bytes_per_s: float = 5e9
    store_requests_per_s: float = 3500.0
    slow_share: float = 0.02
    """Share of the tasks on which a worker is slow."""
    slow_factor: float = 5.0
    """Duration of a slow task, as a multiple."""
    hours_between_failures: float = 200.0
    """Hours that a worker computes between two deaths, on average."""
    restart_s: float = 60.0
    """Seconds until a new worker has taken a dead one's place, its model loaded."""


@dataclass
class Server:
    """The store or the owner, which serves one request after another."""

    free_at: float = 0.0
    busy_s: float = 0.0

    def serve(self, now: float, seconds: float) -> float:
        """Take a request of this length; returns the time at which it is done."""
        self.free_at = max(now, self.free_at) + seconds
        self.busy_s += seconds
        return self.free_at


@dataclass
class ScheduleResult:
    """Duration of a schedule, and the load of each part."""

    workers: int
    seconds: float = 0.0
    """Time of the last record."""
    computing_s: float = 0.0
    """Worker seconds spent computing, lost work included."""
    lost_s: float = 0.0
    """Those of them that were lost with workers that died."""
    failures: int = 0
    store_s: float = 0.0
    owner_s: float = 0.0
    done: int = 0
    """Tasks recorded, of either stage."""

    @property
    def busy(self) -> dict[str, float]:
        """Load of each part, in [0, 1]: the highest is the bottleneck."""
        spent = {"workers": self.computing_s / self.workers}
        spent |= {"store": self.store_s, "owner": self.owner_s}
        return {name: seconds / self.seconds for name, seconds in spent.items()}


SlideStage = tuple[int, int]
"""Number of a slide, and a stage: 0 coarse, 1 refine. All tasks of a slide's stage are alike."""


class Schedule:
    """Slides on a cluster: tasks of the oldest slide first, others opened before they are needed.

    Parameters
    ----------
    slide : SlideCost
        Cost of each slide; all are alike.
    cluster : SimulatedCluster
    slides : int
    seed : int
        Seed of slow tasks and failures.
    """

    def __init__(
        self, slide: SlideCost, cluster: SimulatedCluster, slides: int, seed: int = 0
    ) -> None:
        self.slide, self.cluster, self.slides = slide, cluster, slides
        self.tasks = slide.coarse, slide.refine
        self.rng = np.random.default_rng(seed)
        self.store, self.owner = Server(), Server()
        self.result = ScheduleResult(cluster.workers)
        self.idle, self.now = cluster.workers, 0.0
        self.opened = self.opening = 0
        self.ahead = 1 + cluster.workers / slide.partitions
        """Slides kept open with nothing done yet: one more than workers could take."""
        self.ready: list[SlideStage] = []
        self.unrecorded: dict[SlideStage, int] = {}
        self.order = count()  # ties between events of one time are broken in the order of creation
        self.events: list[tuple[float, int, Callable[[SlideStage], None], SlideStage]] = []

    def run(self) -> ScheduleResult:
        """Simulate all events."""
        self._hand_out()
        while self.events:
            self.now, _, happen, task = heapq.heappop(self.events)
            happen(task)
            self._hand_out()
        self.result.store_s, self.result.owner_s = self.store.busy_s, self.owner.busy_s
        return self.result

    def _hand_out(self) -> None:
        while self.opened < self.slides and self._open_slides() < self.ahead:
            opened = self.owner.serve(self.now, self.slide.costs.owner_s_per_slide)
            self._schedule(opened, self._begin, (self.opened, 0))
            self.opened += 1
            self.opening += 1
        while self.idle and self.ready:
            self.idle -= 1
            task = heapq.heappop(self.ready)
            costs = self.tasks[task[1]]
            self._schedule(self._ask_store(costs.reads, costs.read_bytes), self._compute, task)

    def _open_slides(self) -> float:
        return self.opening + len(self.ready) / self.slide.partitions

    def _begin(self, stage: SlideStage) -> None:
        self.opening -= stage[1] == 0
        self.unrecorded[stage] = self.slide.partitions
        for _ in range(self.slide.partitions):
            heapq.heappush(self.ready, stage)

    def _compute(self, task: SlideStage) -> None:
        cluster = self.cluster
        seconds = self.tasks[task[1]].core_s / cluster.cores_per_worker
        if self.rng.random() < cluster.slow_share:
            seconds *= cluster.slow_factor
        lasts = self.rng.exponential(cluster.hours_between_failures * 3600)
        self.result.computing_s += min(seconds, lasts)
        if lasts < seconds:
            self.result.lost_s += lasts
            self._schedule(self.now + lasts, self._die, task)
        else:
            self._schedule(self.now + seconds, self._write, task)

    def _die(self, task: SlideStage) -> None:
        self.result.failures += 1
        heapq.heappush(self.ready, task)
        self._schedule(self.now + self.cluster.restart_s, self._release, task)

    def _write(self, task: SlideStage) -> None:
        costs = self.tasks[task[1]]
        self._schedule(self._ask_store(costs.writes, costs.written_bytes), self._report, task)

    def _report(self, task: SlideStage) -> None:
        recorded = self.owner.serve(self.now, self.slide.costs.owner_s_per_partition)
        self._schedule(recorded, self._record, task)
        self._release(task)  # no worker has to wait for the owner

    def _release(self, _: SlideStage) -> None:
        self.idle += 1

    def _record(self, task: SlideStage) -> None:
        self.result.done += 1
        self.result.seconds = self.now
        self.unrecorded[task] -= 1
        if not self.unrecorded[task]:
            del self.unrecorded[task]
            slide, stage = task
            if stage == 0:
                self._begin((slide, 1))

    def _ask_store(self, requests: float, transferred: float) -> float:
        cluster = self.cluster
        seconds = max(
            requests / cluster.store_requests_per_s, transferred / cluster.store_bytes_per_s
        )
        return self.store.serve(self.now, seconds)

    def _schedule(
        self, when: float, happen: Callable[[SlideStage], None], task: SlideStage
    ) -> None:
        heapq.heappush(self.events, (when, next(self.order), happen, task))


def main() -> None:
    """Print the cost of a slide and of many, and the schedule of each number of workers."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[8, 64, 512, 4096])
    parser.add_argument("--slides", type=int, default=500, help="simulated; costs are for 10,000")
    parser.add_argument("--requests-per-s", type=float, default=3500.0, help="limit of the store")
    parser.add_argument("--failures-h", type=float, default=200.0, help="hours between, per worker")
    parser.add_argument("--fraction", type=float, default=Costs.fraction, help="tiles refined")
    parser.add_argument("--ratio", type=int, default=Costs.ratio)
    options = parser.parse_args()
    slide = SlideCost(Costs(fraction=options.fraction, ratio=options.ratio))
    sys.stdout.write(describe(slide) + "\n\n")
    heading = "| workers | hours | failures | work lost | workers busy | store | owner |"
    sys.stdout.write(f"{heading}\n{'|---' * 7}|\n")
    for workers in options.workers:
        cluster = SimulatedCluster(
            workers=workers,
            store_requests_per_s=options.requests_per_s,
            hours_between_failures=options.failures_h,
        )
        found = Schedule(slide, cluster, options.slides).run()
        busy = " | ".join(f"{share:.0%}" for share in found.busy.values())
        sys.stdout.write(
            f"| {workers:,} | {found.seconds / 3600:.2f} | {found.failures} "
            f"| {found.lost_s / found.computing_s:.2%} | {busy} |\n"
        )


def describe(slide: SlideCost, slides: int = 10_000) -> str:
    """Cost of one slide and of many, as a Markdown table."""
    one, rows = slide.total, ["| | a slide | 10,000 slides |", "|---|---|---|"]
    units = {
        "core hours": one.core_s / 3600,
        "GB read": one.read_bytes / 1e9,
        "GB written": one.written_bytes / 1e9,
        "million requests, reading": one.reads / 1e6,
        "million requests, writing": one.writes / 1e6,
        "thousand tasks": 2 * slide.partitions / 1e3,
    }
    rows += [f"| {name} | {value:.3g} | {slides * value:,.0f} |" for name, value in units.items()]
    return "\n".join(rows)


if __name__ == "__main__":
    main()
