"""Many slides on a cluster, and what holds them up: docs/scale.md reads its output.

    python -m docs.simulate_scale --workers 64 512 4096 --slides 500

Played event by event: a worker takes a field of tiles, reads it from the object store, computes,
writes its chunks, and tells the owner, who writes the journal. Store and owner serve one after
another. The fields of stage 2 can only begin once their slide's coarse pass is recorded, since only
then are all scores known. Workers are slow now and then, and die; what they were at is done again.
"""

from __future__ import annotations

import argparse
import heapq
import sys
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

import numpy as np
from docs.scale_costs import Costs, Work

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Who computes, and what they share."""

    workers: int = 64
    cores_per_worker: int = 2
    store_bytes_per_s: float = 5e9
    store_requests_per_s: float = 3500.0
    slow_share: float = 0.02
    """Tasks on which a worker is slow,"""
    slow_factor: float = 5.0
    """by so much."""
    hours_between_failures: float = 200.0
    """Of one worker that computes, on average."""
    restart_s: float = 60.0
    """Until another stands in its place, the model loaded."""


@dataclass
class Queue:
    """What serves one after another: the store, the owner."""

    free_at: float = 0.0
    busy_s: float = 0.0

    def serve(self, now: float, seconds: float) -> float:
        """Stand in line; returns when it is done."""
        self.free_at = max(now, self.free_at) + seconds
        self.busy_s += seconds
        return self.free_at


@dataclass
class Outcome:
    """What a schedule came to."""

    workers: int
    seconds: float = 0.0
    """Until the last record."""
    computing_s: float = 0.0
    """Worker seconds spent computing, lost work included."""
    lost_s: float = 0.0
    """Of these, the work of workers that died over it."""
    failures: int = 0
    store_s: float = 0.0
    owner_s: float = 0.0
    done: int = 0
    """Fields recorded, of either stage."""

    @property
    def busy(self) -> dict[str, float]:
        """How busy each part was, in [0, 1]: the highest holds the others up."""
        spent = {"workers": self.computing_s / self.workers}
        spent |= {"store": self.store_s, "owner": self.owner_s}
        return {name: seconds / self.seconds for name, seconds in spent.items()}


Field = tuple[int, int]
"""A field's slide, and its stage: 0 coarse, 1 refine. The fields of a stage are all alike."""


class Schedule:
    """Slides on a cluster: fields of the oldest slide first, others opened before they are wanted.

    Parameters
    ----------
    work : Work
        Of each slide; all are alike.
    cluster : Cluster
    slides : int
    seed : int
        Of slowness and failures.
    """

    def __init__(self, work: Work, cluster: Cluster, slides: int, seed: int = 0) -> None:
        self.work, self.cluster, self.slides = work, cluster, slides
        self.tasks = work.coarse, work.refine
        self.rng = np.random.default_rng(seed)
        self.store, self.owner = Queue(), Queue()
        self.outcome = Outcome(cluster.workers)
        self.idle, self.now = cluster.workers, 0.0
        self.opened = self.opening = 0
        self.ahead = 1 + cluster.workers / work.fields
        """Slides with nothing done yet that are kept in hand: one more than workers could take."""
        self.ready: list[Field] = []
        self.unrecorded: dict[Field, int] = {}
        self.order = count()  # of events at one time: as they were made
        self.events: list[tuple[float, int, Callable[[Field], None], Field]] = []

    def run(self) -> Outcome:
        """Play all events."""
        self._hand_out()
        while self.events:
            self.now, _, happen, task = heapq.heappop(self.events)
            happen(task)
            self._hand_out()
        self.outcome.store_s, self.outcome.owner_s = self.store.busy_s, self.owner.busy_s
        return self.outcome

    def _hand_out(self) -> None:
        while self.opened < self.slides and self._in_hand() < self.ahead:
            opened = self.owner.serve(self.now, self.work.costs.owner_s_per_slide)
            self._later(opened, self._begin, (self.opened, 0))
            self.opened += 1
            self.opening += 1
        while self.idle and self.ready:
            self.idle -= 1
            task = heapq.heappop(self.ready)
            costs = self.tasks[task[1]]
            self._later(self._ask_store(costs.reads, costs.read_bytes), self._compute, task)

    def _in_hand(self) -> float:
        return self.opening + len(self.ready) / self.work.fields

    def _begin(self, stage: Field) -> None:
        self.opening -= stage[1] == 0
        self.unrecorded[stage] = self.work.fields
        for _ in range(self.work.fields):
            heapq.heappush(self.ready, stage)

    def _compute(self, task: Field) -> None:
        cluster = self.cluster
        seconds = self.tasks[task[1]].core_s / cluster.cores_per_worker
        if self.rng.random() < cluster.slow_share:
            seconds *= cluster.slow_factor
        lasts = self.rng.exponential(cluster.hours_between_failures * 3600)
        self.outcome.computing_s += min(seconds, lasts)
        if lasts < seconds:
            self.outcome.lost_s += lasts
            self._later(self.now + lasts, self._die, task)
        else:
            self._later(self.now + seconds, self._write, task)

    def _die(self, task: Field) -> None:
        self.outcome.failures += 1
        heapq.heappush(self.ready, task)
        self._later(self.now + self.cluster.restart_s, self._rest, task)

    def _write(self, task: Field) -> None:
        costs = self.tasks[task[1]]
        self._later(self._ask_store(costs.writes, costs.written_bytes), self._tell, task)

    def _tell(self, task: Field) -> None:
        told = self.owner.serve(self.now, self.work.costs.owner_s_per_field)
        self._later(told, self._record, task)
        self._rest(task)  # the owner needs no worker to wait

    def _rest(self, _: Field) -> None:
        self.idle += 1

    def _record(self, task: Field) -> None:
        self.outcome.done += 1
        self.outcome.seconds = self.now
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

    def _later(self, when: float, happen: Callable[[Field], None], task: Field) -> None:
        heapq.heappush(self.events, (when, next(self.order), happen, task))


def main() -> None:
    """Print what a slide and all slides cost, and what each number of workers comes to."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[8, 64, 512, 4096])
    parser.add_argument("--slides", type=int, default=500, help="played; costs are for 10,000")
    parser.add_argument("--requests-per-s", type=float, default=3500.0, help="of the store")
    parser.add_argument("--fraction", type=float, default=Costs.fraction, help="tiles refined")
    parser.add_argument("--ratio", type=int, default=Costs.ratio)
    options = parser.parse_args()
    work = Work(Costs(fraction=options.fraction, ratio=options.ratio))
    sys.stdout.write(describe(work) + "\n\n")
    heading = "| workers | hours | lost, worker hours | failures | workers | store | owner |"
    sys.stdout.write(f"{heading}\n{'|---' * 7}|\n")
    for workers in options.workers:
        cluster = Cluster(workers=workers, store_requests_per_s=options.requests_per_s)
        found = Schedule(work, cluster, options.slides).run()
        busy = " | ".join(f"{share:.0%}" for share in found.busy.values())
        sys.stdout.write(
            f"| {workers:,} | {found.seconds / 3600:.2f} | {found.lost_s / 3600:.2f} "
            f"| {found.failures} | {busy} |\n"
        )


def describe(work: Work, slides: int = 10_000) -> str:
    """What one slide and many cost, as a Markdown table."""
    one, rows = work.slide, ["| | a slide | 10,000 slides |", "|---|---|---|"]
    units = {
        "core hours": one.core_s / 3600,
        "GB read": one.read_bytes / 1e9,
        "GB written": one.written_bytes / 1e9,
        "million requests, reading": one.reads / 1e6,
        "million requests, writing": one.writes / 1e6,
        "thousand tasks": 2 * work.fields / 1e3,
    }
    rows += [f"| {name} | {value:.3g} | {slides * value:,.0f} |" for name, value in units.items()]
    return "\n".join(rows)


if __name__ == "__main__":
    main()
