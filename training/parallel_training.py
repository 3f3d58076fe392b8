"""Training of several runs, optionally side by side."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from itertools import groupby
from typing import TYPE_CHECKING, Protocol

import torch

from napari_twostage.models.backends.torch_backend import tune_allocator

if TYPE_CHECKING:
    from collections.abc import Sequence


class Trainable(Protocol):
    """A run that can be trained, in a process of its own too."""

    @property
    def level(self) -> int:
        """Order of training: runs of one level do not need each other."""

    def train(self, device: str) -> None:
        """Train to the end, or resume."""


def train_all(trials: Sequence[Trainable], device: str, jobs: int = 1) -> None:
    """Train unfinished runs in order; runs that need others come after all of those.

    Parameters
    ----------
    trials : sequence of Trainable
        Sorted by level.
    device : str
        Device name, as `napari_twostage.training.train.train` takes it.
    jobs : int
        Number of parallel processes, which share the cores. On a CPU, small networks train
        faster in parallel than one after the other.
    """
    if jobs <= 1:
        for trial in trials:
            trial.train(device)
        return
    threads = max(1, (os.cpu_count() or 1) // jobs)
    with ProcessPoolExecutor(
        jobs, multiprocessing.get_context("spawn"), initializer=_share, initargs=(threads,)
    ) as pool:
        for _, ready in groupby(trials, key=lambda trial: trial.level):
            for done in [pool.submit(trial.train, device) for trial in ready]:
                done.result()


def _share(threads: int) -> None:
    tune_allocator()
    torch.set_num_threads(threads)
