"""Schedulers and workers as separate processes, which tests can start late and kill."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from napari_twostage import Segmentation, segment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from napari_twostage.io.paths import Location
    from napari_twostage.method.steps import PartitionStep, Step
    from napari_twostage.models.model import Model
    from napari_twostage.result.record_parts import RunRecord

WAIT_S = 180
"""Longest wait, in seconds: a slow machine needs a minute to start two processes and work."""


class Case(NamedTuple):
    """Slide, model and settings, with the outcome of a single process."""

    slide: Path
    model: Model
    settings: dict[str, Any]
    done: Path
    """Result folder of the single process."""
    expected: dict[str, Any]
    """Outcome of the single process; see `proofs.helpers.outcome`."""

    def segment(self, out: Path, **options: Any) -> Segmentation:
        """Segment it into a folder."""
        return segment(self.slide, self.model, out, **self.settings, **options)

    def copy(self, out: Path) -> Segmentation:
        """Copy of the single process's result, to continue from."""
        shutil.copytree(self.done, out)
        return Segmentation.open(out)

    def command(self, out: Location, *options: str) -> list[str]:
        """Command line that does the same."""
        words = [sys.executable, "-m", "napari_twostage", "segment", str(self.slide)]
        words += ["--out", str(out), "--model", self.model.bundle.source, "--quiet", "--no-tissue"]
        return [*words, "--fraction", str(self.settings["fraction"]), *options]


class Countdown:
    """Listener that acts once, at the n-th step of one type."""

    def __init__(self, kind: type, after: int, act: Callable[[PartitionStep], None]) -> None:
        self._kind = kind
        self._left = after
        self._act = act
        self.step: PartitionStep

    def __call__(self, step: Step) -> None:
        """Take a step."""
        if isinstance(step, self._kind):
            self._left -= 1
            if not self._left:
                self.step = step
                self._act(step)


class DaskProcesses:
    """Scheduler and workers, each started by dask's command."""

    def __init__(self, folder: Path, threads: int) -> None:
        self._file = folder / "scheduler.json"
        self._threads = threads
        self._running: list[subprocess.Popen[bytes]] = []

    def scheduler(self) -> str:
        """Start a scheduler; returns its address."""
        self._file.unlink(missing_ok=True)
        self._start("scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", self._file)
        wait_for(lambda: self._file.exists() and self._file.read_text().endswith("}"))
        return str(json.loads(self._file.read_text())["address"])

    def worker(self) -> None:
        """Start a worker of the scheduler."""
        self._start(
            "worker", "--scheduler-file", self._file, "--nthreads", "1", "--no-dashboard",
            "--death-timeout", "30", "--local-directory", self._file.parent,
        )  # fmt: skip

    def kill_last(self) -> None:
        """Kill the process that was started last, with SIGKILL."""
        self._kill(self._running.pop())

    def kill_all(self) -> None:
        """Kill all processes with SIGKILL, in the order in which they were started."""
        while self._running:
            self._kill(self._running.pop(0))

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        os.killpg(process.pid, signal.SIGKILL)  # including the children of a nanny
        process.wait()

    def _start(self, *words: object) -> None:
        command = [sys.executable, "-m", "distributed.cli.dask_" + str(words[0])]
        environment = {**os.environ, "OMP_NUM_THREADS": str(self._threads)}
        self._running.append(
            subprocess.Popen(
                [*command, *map(str, words[1:])],
                env=environment,
                start_new_session=True,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )


@contextmanager
def dask_processes(folder: Path, threads: int) -> Iterator[DaskProcesses]:
    """Processes that do not outlive the block."""
    processes = DaskProcesses(folder, threads)
    try:
        yield processes
    finally:
        processes.kill_all()


def wait_for(happened: Callable[[], bool], every_s: float = 0.05) -> None:
    """Wait until a condition holds, which is tried in these intervals."""
    deadline = time.monotonic() + WAIT_S
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(every_s)


def run_entry(seg: Segmentation) -> RunRecord:
    """Record of the last run."""
    return seg.record.runs[-1]
