"""What the peers' scripts share; it runs in their interpreters, so it knows nothing of ours.

A script is given one JSON file: the network as TorchScript, from (N, 3, H, W) windows of values 0
to 255 to (N, 1, H, W) logits, the slide, sizes in pixels, and the batch. It prints one JSON line.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch

WARM_UP = 3
"""TorchScript watches two calls before it settles."""


@dataclass(frozen=True)
class Job:
    """What to segment, and how."""

    network: str
    slide: str
    tile_px: int
    halo_px: int
    batch: int
    threads: int
    folder: str
    """For what is written; emptied by whoever asked."""

    @property
    def window_px(self) -> int:
        """Side of what the network sees."""
        return self.tile_px + 2 * self.halo_px


def read_job() -> Job:
    """The job named on the command line."""
    job = Job(**json.loads(Path(sys.argv[1]).read_text()))
    torch.set_num_threads(job.threads)
    return job


def load_network(job: Job) -> torch.jit.ScriptModule:
    """Load the network and run it until it has settled."""
    network = torch.jit.load(job.network).eval()
    windows = torch.zeros((job.batch, 3, job.window_px, job.window_px), dtype=torch.float32)
    with torch.inference_mode():
        for _ in range(WARM_UP):
            network(windows)
    return network


class Stopwatch:
    """Wall and CPU seconds from when it was made, children that have ended included."""

    def __init__(self) -> None:
        self._began = self._now()

    def read(self) -> tuple[float, float]:
        """Seconds so far."""
        wall, cpu = (now - began for now, began in zip(self._now(), self._began, strict=True))
        return wall, cpu

    @staticmethod
    def _now() -> tuple[float, float]:
        spent = os.times()
        children = spent.children_user + spent.children_system
        return time.perf_counter(), time.process_time() + children


def report(seconds: tuple[float, float], foreground: float, package: str) -> None:
    """Print what was found: wall and CPU seconds, and the share of foreground pixels."""
    wall, cpu = seconds
    versions = {package: version(package), f"{package}'s torch": torch.__version__}
    found = {"wall": wall, "cpu": cpu, "foreground": foreground, "versions": versions}
    sys.stdout.write(f"\n{json.dumps(found)}\n")
