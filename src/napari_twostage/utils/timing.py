"""Seconds of candidates that take turns, and the machine they were measured on."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Candidate = Callable[[], "Seconds"]

ROUNDS = 5
"""Fewer say little about the spread."""
FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "sve")
"""What decides how fast a processor multiplies, as Linux calls it."""


@dataclass(frozen=True, slots=True)
class Seconds:
    """What something took.

    Examples
    --------
    >>> Seconds(3.0, 4.0) - Seconds(1.0, 1.5)
    Seconds(wall=2.0, cpu=2.5)
    """

    wall: float
    """On the clock."""
    cpu: float
    """Of all processors, of this process and of its children that have ended."""

    @classmethod
    def now(cls) -> Seconds:
        """Where the clocks stand; only differences mean anything."""
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
    """Seconds of one candidate, one entry a round.

    Examples
    --------
    >>> timing = Timing((Seconds(3.0, 5.0), Seconds(1.0, 1.5), Seconds(2.0, 4.0)))
    >>> timing.median, timing.spread, timing.cpu
    (2.0, (1.0, 3.0), 4.0)
    """

    rounds: tuple[Seconds, ...]

    @property
    def median(self) -> float:
        """Wall seconds of the middle round: what a row states."""
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
        """How many times as long as another that it took turns with; see `ratios`."""
        return median(self.ratios(other))

    def ratios(self, other: Timing) -> list[float]:
        """How many times as long in each round: of neighbours, whom a slow spell meets alike.

        Examples
        --------
        >>> quick = Timing((Seconds(1.0, 1.0), Seconds(2.0, 2.0), Seconds(2.0, 2.0)))
        >>> slow = Timing((Seconds(2.0, 2.0), Seconds(4.0, 4.0), Seconds(6.0, 6.0)))
        >>> slow.ratios(quick), slow.over(quick)
        ([2.0, 2.0, 3.0], 2.0)
        """
        return [a.wall / b.wall for a, b in zip(self.rounds, other.rounds, strict=True)]


def timed(call: Callable[[], object]) -> Seconds:
    """Run something, all of which counts."""
    started = Seconds.now()
    call()
    return Seconds.now() - started


def time_in_turn(candidates: Mapping[str, Candidate], rounds: int = ROUNDS) -> dict[str, Timing]:
    """Time candidates in turn, A, B, ..., A, B, ...: a machine that is shared slows all alike.

    Parameters
    ----------
    candidates : mapping
        By name: what runs once and tells how many seconds of that count.
    rounds : int
        How often each has its turn.
    """
    found: dict[str, list[Seconds]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, run in candidates.items():
            found[name].append(run())
    return {name: Timing(tuple(seconds)) for name, seconds in found.items()}


def describe_processor() -> str:
    """Name, number and features of the processors, as far as the system tells."""
    flags = processor_flags()
    described = [
        processor_name(),
        f"{os.cpu_count()} processors",
        *(f for f in FEATURES if f in flags),
    ]
    return ", ".join(described)


def processor_flags() -> frozenset[str]:
    """What Linux says that the processor can do, by Linux's names; nothing elsewhere."""
    facts = _cpu_facts()
    return frozenset(facts.get("flags", facts.get("Features", "")).split())


def processor_name() -> str:
    """The processor's name; Python itself knows it on few systems."""
    return _cpu_facts().get("model name") or platform.processor() or platform.machine()


def _cpu_facts() -> dict[str, str]:
    """What Linux tells of the first processor; nothing elsewhere."""
    try:
        first, _, _ = Path("/proc/cpuinfo").read_text().partition("\n\n")
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}
