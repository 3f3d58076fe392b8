"""Cost of syncing: what it takes that results and edits outlast a power cut.

    python -m tests.benchmarks.durability

A run over a slide and single edits are timed in turn, with syncing and with a system call that
does nothing in its place. Everything else is the same, also the order of the files written.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import numpy as np
from tests.benchmarks import common

from napari_twostage import Box, Segmentation, segment
from napari_twostage.result.layout import UNSET
from napari_twostage.samples import sample_slide
from napari_twostage.training.evaluation.table import Table
from napari_twostage.utils.timing import Seconds, Timing, time_in_turn, timed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_twostage.models.model import Model

GOAL = 0.03
"""Share of a run that syncing may take."""
EDITS = 5
SIDES = (256, 1024)
"""Sides of edits, in pixels: a stroke and a correction of a whole field of view."""
SYNC = "napari_twostage.io.durable.os.fsync"


def main() -> None:
    """Time runs and edits in turn."""
    parser = common.parser(__doc__)
    common.add_model(parser)
    parser.add_argument("--slide", type=Path, default=sample_slide(), help="default: the sample")
    options = common.parse(parser)
    model = common.load(options.model, options.device)
    options.out.mkdir(parents=True, exist_ok=True)  # on the disk that is measured
    with tempfile.TemporaryDirectory(dir=options.out) as place:
        done = segment(options.slide, model, Path(place) / "done.zarr", refine="all")  # warms up
        work = {"run": partial(run, Path(place) / "run.zarr", options.slide, model)}
        for side in SIDES:
            work[f"edit of {side} px"] = partial(edit, done, side)
        timings = measure(work, options.rounds)
        counts = [
            f"{name}: {count_syncs(call, 1 if name == 'run' else 2 * EDITS)}"
            for name, call in work.items()
        ]
    table = Table("durability", ("what", *common.TIMES))
    for name, timing in timings.items():
        figures = common.cells(timing, digits=3).values()
        table.add(dict(zip(table.header, (name, *figures), strict=True)))
    lines = [*notes(timings), "; ".join(counts) + "."]
    common.publish(table, lines, common.draw_bars(timings, "seconds"), options)


def measure(work: dict[str, partial[Seconds]], rounds: int) -> dict[str, Timing]:
    """Time each kind of work with and without syncing."""
    ways = {}
    for name, call in work.items():
        ways[f"{name}, synced"] = call
        ways[f"{name}, not synced"] = partial(without_sync, call)
    return time_in_turn(ways, rounds)


def run(out: Path, slide: Path, model: Model) -> Seconds:
    """Seconds of segmenting a slide and refining all of it."""
    seconds = timed(lambda: segment(slide, model, out, refine="all"))
    shutil.rmtree(out)
    return seconds


def edit(seg: Segmentation, side: int) -> Seconds:
    """Mean seconds of an edit; each is undone afterwards."""
    height, width = seg.grid.shape
    box = Box.at(height // 3, width // 3, min(side, height // 2), min(side, width // 2))
    labels = np.full(box.shape, UNSET, np.uint8)
    labels[::2] = 1
    spent = timed(lambda: [seg.edit(box, labels) for _ in range(EDITS)]) / EDITS
    for _ in range(EDITS):
        seg.undo_edit()
    return spent


def without_sync(call: partial[Seconds]) -> Seconds:
    """Seconds of the same work, with nothing synced."""
    with no_sync():
        return call()


@contextmanager
def no_sync() -> Iterator[None]:
    """Let every sync return at once."""
    with patch(SYNC, lambda _: None), patch("napari_twostage.io.durable.import_module", fail):
        yield


def count_syncs(call: partial[Seconds], per: int) -> str:
    """Number and time of the syncs of some work, whichever thread makes them, for each of `per`."""
    seconds: list[float] = []
    fsync = os.fsync

    def sync(descriptor: int) -> None:
        start = time.perf_counter()
        fsync(descriptor)
        seconds.append(time.perf_counter() - start)

    with patch(SYNC, sync):
        call()
    return f"{len(seconds) / per:.0f} syncs in {1000 * sum(seconds) / per:.0f} ms"


def fail(name: str) -> None:
    """Stand for a system without a stronger sync than `os.fsync`."""
    raise ImportError(name)


def notes(timings: dict[str, Timing]) -> list[str]:
    """Lines on the costs."""
    cost = share(timings, "run")
    lines = [
        common.goal(f"syncing takes at most {GOAL:.0%} of a run", f"{cost:.1%}", met=cost <= GOAL)
    ]
    for side in SIDES:
        name = f"edit of {side} px"
        synced, plain = (timings[f"{name}, {how}"].median for how in ("synced", "not synced"))
        lines.append(f"An {name}: {1000 * synced:.0f} ms, {1000 * plain:.0f} ms without syncing.")
    return lines


def share(timings: dict[str, Timing], name: str) -> float:
    """Share of the time that syncing adds."""
    return timings[f"{name}, synced"].over(timings[f"{name}, not synced"]) - 1


if __name__ == "__main__":
    main()
