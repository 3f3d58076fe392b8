"""Campaign of interrupts: Ctrl-C and SIGTERM at random moments of the first seconds.

Each case starts a command in a session of its own, as a terminal does, sends the signal to all
its processes, and looks at how it ends. Right is one line, the exit code of the signal, nothing
left running, and a result that the same command completes.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil
from tests.campaigns.runner import Outcome

from napari_twostage.samples import sample_slide

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.campaigns.runner import Kind

COUNT = 80
LONGEST_S = 5.0
"""Signals come in the first seconds: imports, loading, compiling, opening, the first windows."""
PATIENCE_S = 10.0
"""Time in which a command must have ended after the signal."""
BEGINNING = "run_process"
"""Function that handles signals; an early traceback without it is Python's own."""
EARLY_S = 0.3

SLIDE = str(sample_slide())
VERBS: dict[str, list[str]] = {
    "segment": ["segment", SLIDE, "--out", "new.zarr", "--refine", "all"],
    "demo": ["demo", "--out", "demo"],
    "refine": ["refine", "coarse.zarr", "--fraction", "1"],
    "export": ["export", "coarse.zarr", "out.geojson", "out.ome.tif", "out.png"],
    "batch": ["batch", SLIDE, "--out", "batch", "--refine", "all"],
    "info": ["info", SLIDE],
    "info-result": ["info", "coarse.zarr"],
    "workers": ["segment", SLIDE, "--out", "new.zarr", "--workers", "2", "--refine", "all"],
}
"""Commands, run in a folder that holds `coarse.zarr`."""


@dataclass(frozen=True, slots=True)
class Interrupt:
    """One signal, or two in a row, to one command."""

    verb: str
    number: signal.Signals
    after_s: float
    again_after_s: float | None
    """Seconds to the second signal; None for one alone."""

    @classmethod
    def draw(cls, rng: random.Random, verb: str) -> Interrupt:
        """Choose the moment and the signal."""
        number = signal.SIGTERM if rng.random() < 0.2 else signal.SIGINT
        again = rng.uniform(0, 0.6) if rng.random() < 0.3 else None
        return cls(verb, number, rng.uniform(0, LONGEST_S), again)

    def __str__(self) -> str:
        twice = "" if self.again_after_s is None else f" and {self.again_after_s:.2f} s"
        return f"{self.verb}/{self.number.name} after {self.after_s:.3f} s{twice}"


def campaign(count: int, seed: int, folder: Path) -> Iterator[Outcome]:
    """Interrupt each command in turn."""
    rng = random.Random(seed)
    prepare(folder)
    verbs = list(VERBS)
    for number in range(count):
        interrupt = Interrupt.draw(rng, verbs[number % len(verbs)])
        yield try_interrupt(interrupt, folder, str(number))


def prepare(folder: Path) -> None:
    """Make the result that commands go on with."""
    coarse = folder / "coarse.zarr"
    command(["segment", SLIDE, "--out", str(coarse), "--refine", "none", "--quiet"], folder)


def command(arguments: list[str], folder: Path) -> None:
    """Run a command to its end; an error if it fails."""
    subprocess.run(
        [sys.executable, "-m", "napari_twostage", *arguments],
        cwd=folder,
        check=True,
        capture_output=True,
    )


def try_interrupt(interrupt: Interrupt, folder: Path, name: str) -> Outcome:
    """Run a command in a folder of its own, interrupt it, and judge how it ends."""
    place = folder / name
    place.mkdir(parents=True)
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # in the background; children inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    shutil.copytree(folder / "coarse.zarr", place / "coarse.zarr")
    start = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "napari_twostage", *VERBS[interrupt.verb], "--quiet"],
        cwd=place,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    time.sleep(interrupt.after_s)
    ended_before = process.poll() is not None
    _signal_group(process, interrupt.number)
    if interrupt.again_after_s is not None:
        time.sleep(interrupt.again_after_s)
        _signal_group(process, interrupt.number)
    try:
        _, error = process.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return Outcome(str(interrupt), "hang", f"no end after {PATIENCE_S} s")
    seconds = time.monotonic() - start
    kind, message = _judge(interrupt, process.returncode, error, ended_before)
    if kind == "right" and _left_running(process.pid):
        kind, message = "wrong", "processes were left running"
    if kind == "right":
        shutil.rmtree(place)
    return Outcome(str(interrupt), kind, message, seconds)


def _judge(interrupt: Interrupt, code: int, error: str, ended_before: bool) -> tuple[Kind, str]:
    lines = error.strip().splitlines()
    told = f"exit code {code}: {error.strip()[-400:]}"
    if ended_before and not code:
        return "right", "had ended before"
    if interrupt.after_s < EARLY_S and code in (1, -interrupt.number) and BEGINNING not in error:
        return "right", "came before the program began"
    if "Traceback" in error or code in (-signal.SIGABRT, -signal.SIGSEGV):
        return "traceback", told
    if code == 128 + interrupt.number and len(lines) == 1 and lines[0].startswith("stopped"):
        return "right", ""
    if not code and not lines:  # it was about to end
        return "right", "ended by itself"
    return "wrong", told


def _signal_group(process: subprocess.Popen[str], number: int) -> None:
    """Send a signal as a terminal does: to all processes of the command."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _left_running(session: int) -> bool:
    """Whether a process of a session still runs after two seconds."""
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        if not any(_session_of(each) == session for each in psutil.process_iter()):
            return False
        time.sleep(0.05)
    return True


def _session_of(process: psutil.Process) -> int | None:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return os.getsid(process.pid)
    except (psutil.Error, OSError):
        return None
