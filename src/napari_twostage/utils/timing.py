"""Interleaved timing of several candidates."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Candidate = Callable[[], "Seconds"]

ROUNDS = 5
"""Default number of turns; fewer say little about the spread."""


@dataclass(frozen=True, slots=True)
class Seconds:
    """Time that something took.

    Examples
    --------
    >>> Seconds(3.0, 4.0) - Seconds(1.0, 1.5)
    Seconds(wall=2.0, cpu=2.5)
    """

    wall: float
    """Elapsed seconds."""
    cpu: float
    """Processor seconds of this process and of its children that have ended, over all cores."""

    @classmethod
    def now(cls) -> Seconds:
        """Present readings of the clocks; only differences mean anything."""
        spent = os.times()
        children = spent.children_user + spent.children_system
        return cls(time.perf_counter(), time.process_time() + children)

    def __sub__(self, earlier: Seconds) -> Seconds:
        return Seconds(self.wall - earlier.wall, self.cpu - earlier.cpu)

    def __add__(self, other: Seconds) -> Seconds:
        return Seconds(self.wall + other.wall, self.cpu + other.cpu)

    def __truediv__(self, number: int) -> Seconds:
        return Seconds(self.wall / number, self.cpu / number)


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of one candidate, one entry per round.

    Examples
    --------
    >>> timing = Timing((Seconds(3.0, 5.0), Seconds(1.0, 1.5), Seconds(2.0, 4.0)))
    >>> timing.median, timing.spread, timing.cpu
    (2.0, (1.0, 3.0), 4.0)
    """

    rounds: tuple[Seconds, ...]

    @property
    def median(self) -> float:
        """Wall seconds of the middle round, as tables report them."""
        return median(each.wall for each in self.rounds)

    @property
    def spread(self) -> tuple[float, float]:
        """Wall seconds of the fastest and of the slowest round."""
        walls = [each.wall for each in self.rounds]
        return min(walls), max(walls)

    @property
    def cpu(self) -> float:
        """CPU seconds of the middle round."""
        return median(each.cpu for each in self.rounds)

    def over(self, other: Timing) -> float:
        """Median ratio to another candidate of the same rounds; see `ratios`."""
        return median(self.ratios(other))

    def ratios(self, other: Timing) -> list[float]:
        """Ratio of wall seconds in each round: neighbours in time, so a slow spell affects both.

        Examples
        --------
        >>> quick = Timing((Seconds(1.0, 1.0), Seconds(2.0, 2.0), Seconds(2.0, 2.0)))
        >>> slow = Timing((Seconds(2.0, 2.0), Seconds(4.0, 4.0), Seconds(6.0, 6.0)))
        >>> slow.ratios(quick), slow.over(quick)
        ([2.0, 2.0, 3.0], 2.0)
        """
        return [a.wall / b.wall for a, b in zip(self.rounds, other.rounds, strict=True)]


def timed(call: Callable[[], object]) -> Seconds:
    """Time of a whole call."""
    started = Seconds.now()
    call()
    return Seconds.now() - started


def time_in_turn(candidates: Mapping[str, Candidate], rounds: int = ROUNDS) -> dict[str, Timing]:
    """Time candidates in turn, A, B, ..., A, B, ...: a shared machine slows all of them alike.

    Parameters
    ----------
    candidates : mapping
        Name to a function that runs the candidate once and returns the seconds that count.
    rounds : int
        Number of turns of each.
    """
    found: dict[str, list[Seconds]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, run in candidates.items():
            found[name].append(run())
    return {name: Timing(tuple(seconds)) for name, seconds in found.items()}
