"""Seconds per image of several candidates, in turn, round after round, in one process."""

from __future__ import annotations

import platform
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import torch
from tqdm import tqdm

from napari_twostage.models.backends.torch_backend import tune_allocator
from napari_twostage.utils.system import processor_name
from napari_twostage.utils.timing import time_in_turn, timed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from napari_twostage.utils.timing import Seconds, Timing

Item = TypeVar("Item")


def time_per_item(
    candidates: Mapping[str, Callable[[Item], object]], items: Sequence[Item], *, rounds: int = 3
) -> dict[str, Timing]:
    """Time every candidate on the same items: A, B, ..., A, B, ...

    Each candidate runs once untimed, so that allocation and planning are not counted.

    Parameters
    ----------
    candidates : mapping
        Function to run on an item, by name.
    items : sequence
        Images, already decoded.
    rounds : int
        Passes of each candidate over all items.

    Returns
    -------
    dict
        Timing by name: seconds per item, averaged within each round.
    """
    tune_allocator()  # the same for all candidates; calling it again is harmless
    for run in candidates.values():
        run(items[0])
    with tqdm(total=rounds * len(candidates), desc="timing", unit="pass") as bar:

        def take_turn(run: Callable[[Item], object]) -> Seconds:
            spent = timed(lambda: [run(item) for item in items])
            bar.update()
            return spent / len(items)

        return time_in_turn(
            {name: partial(take_turn, run) for name, run in candidates.items()}, rounds
        )


def machine_line() -> str:
    """Machine on which the seconds were measured, as one line for a caption."""
    return (
        f"{processor_name()}, {torch.get_num_threads()} threads, "
        f"{torch.backends.cpu.get_cpu_capability()}, {platform.system()}, "
        f"Python {platform.python_version()}, torch {torch.__version__}"
    )
