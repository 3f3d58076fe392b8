"""Shared parts of the peers' scripts; runs in their interpreters, so it imports nothing of ours.

A script gets one JSON file with a `PeerTask`, and prints one JSON line. The network is TorchScript,
from windows (N, 3, H, W) of values in [0, 255] to logits (N, 1, H, W).
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
"""Calls before timing: TorchScript profiles the first two."""


@dataclass(frozen=True)
class PeerTask:
    """Network and slide of a peer; sizes are in pixels."""

    network: str
    slide: str
    tile_px: int
    halo_px: int
    batch: int
    threads: int
    folder: str
    """Folder for outputs; the caller deletes it."""

    @property
    def window_px(self) -> int:
        """Side of the network's input."""
        return self.tile_px + 2 * self.halo_px


def read_task() -> PeerTask:
    """Read the task from the file named on the command line."""
    task = PeerTask(**json.loads(Path(sys.argv[1]).read_text()))
    torch.set_num_threads(task.threads)
    return task


def load_network(task: PeerTask) -> torch.jit.ScriptModule:
    """Load the network and warm it up."""
    network = torch.jit.load(task.network).eval()
    windows = torch.zeros((task.batch, 3, task.window_px, task.window_px), dtype=torch.float32)
    with torch.inference_mode():
        for _ in range(WARM_UP):
            network(windows)
    return network


class Stopwatch:
    """Wall and CPU seconds since creation, including ended child processes."""

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
    """Print wall and CPU seconds, the share of foreground pixels, and versions."""
    wall, cpu = seconds
    versions = {package: version(package), f"{package}'s torch": torch.__version__}
    found = {"wall": wall, "cpu": cpu, "foreground": foreground, "versions": versions}
    sys.stdout.write(f"\n{json.dumps(found)}\n")
