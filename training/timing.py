"""Seconds per image: every candidate in turn, round after round, in one process."""

from __future__ import annotations

import platform
import time
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, TypeVar

import torch
from tqdm import tqdm

from napari_twostage.models.allocator import tune_allocator
from napari_twostage.timing import processor_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Item = TypeVar("Item")


@dataclass(frozen=True)
class Timing:
    """Seconds per image, one value a round."""

    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle round: what a row states."""
        return median(self.rounds)

    @property
    def spread(self) -> tuple[float, float]:
        """The fastest and the slowest round."""
        return min(self.rounds), max(self.rounds)


def time_in_turn(
    candidates: Mapping[str, Callable[[Item], object]], items: Sequence[Item], *, rounds: int = 3
) -> dict[str, Timing]:
    """Time every candidate on the same items: A, B, ..., A, B, ...

    A machine that slows down or is shared slows all of them alike; what a candidate did once
    before the clock runs (allocating, planning) is not counted.

    Parameters
    ----------
    candidates : mapping
        What to run on an item, by name.
    items : sequence
        Images, already decoded.
    rounds : int
        How often each candidate goes through all items.
    """
    tune_allocator()  # for all alike; once is enough, and once more does no harm
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for run in candidates.values():
        run(items[0])
    with tqdm(total=rounds * len(candidates), desc="timing", unit="pass") as bar:
        for _ in range(rounds):
            for name, run in candidates.items():
                started = time.perf_counter()
                for item in items:
                    run(item)
                seconds[name].append((time.perf_counter() - started) / len(items))
                bar.update()
    return {name: Timing(tuple(values)) for name, values in seconds.items()}


def machine_facts() -> str:
    """What the seconds were measured on, in a line for a caption."""
    return (
        f"{processor_name()}, {torch.get_num_threads()} threads, "
        f"{torch.backends.cpu.get_cpu_capability()}, {platform.system()}, "
        f"Python {platform.python_version()}, torch {torch.__version__}"
    )
