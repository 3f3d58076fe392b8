"""Prices of the buttons against what then happens; prints Markdown.

    python -m tests.benchmarks.prices [--quick] [SLIDE]

A session states the price of the coarse pass, of the next tiles, of a view, of a drawn region and
of the doubtful tiles, and then runs each. The same is done again after reopening the result in a
new process. Nothing else should run on the machine: a busy one makes the ratios meaningless. The
load is stated.

The gain that really happened is known only where there is a truth. Here stage 2 everywhere stands
for it: in a copy of the result every tile is refined, and Dice against its labels is measured
before and after each run. It is an agreement with stage 2, so what matters is whether it rises.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tests.benchmarks.common import in_child

import napari_twostage as ts
from napari_twostage.method.selection import Selection
from napari_twostage.samples import sample_slide
from napari_twostage.session import RunState

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_twostage.session.prices import Price

GOAL = 1.25
"""Largest factor between a price and what happens."""


@dataclass(frozen=True)
class Line:
    """A price, and what then happened."""

    name: str
    tiles: int
    ran: int
    """Tiles that ran."""
    price_s: float
    took_s: float
    gain: float | None = None
    """Expected rise of Dice."""
    happened: float | None = None
    """Rise of Dice against the labels of stage 2."""

    @property
    def ratio(self) -> float:
        """Price over what happened."""
        return self.price_s / self.took_s


def main(slide: Path, *, quick: bool) -> None:
    """Measure in this process and, after reopening, in another."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "prices.twostage.zarr"
        lines = in_child(first_visit, slide, out, quick)
        if not quick:
            lines += in_child(second_visit, slide, out)
    report(lines)


def first_visit(slide: Path, out: Path, quick: bool) -> list[Line]:
    """Price and run everything on a new result."""
    session = open_session(slide, out)
    lines = [coarse_line(session)]
    truth = None if quick else refined_everywhere(session, out)
    lines += [line(session, name, wanted, truth) for name, wanted in selections(session, 0.0)]
    session.close()
    return lines


def second_visit(slide: Path, out: Path) -> list[Line]:
    """Price and run again on an earlier result."""
    session = open_session(slide, out)
    truth = refined_everywhere(session, out)
    lines = [
        line(session, f"{name}, reopened", wanted, truth)
        for name, wanted in selections(session, 0.35)
    ]
    session.close()
    return lines


def open_session(slide: Path, out: Path) -> ts.Session:
    """Session whose model is warm, as the panel's is soon after opening."""
    session = ts.Session()
    session.set_slide(ts.open_slide(slide))
    session.set_model("nuclei")
    session.set_out(out)
    session.get_ready()
    return session.wait()


def selections(session: ts.Session, shift: float) -> list[tuple[str, Callable[[], object]]]:
    """Names of buttons, and what each would refine; `shift` moves places, in shares of the side."""
    height, width = session.slide.level_shapes[0]
    sides = (min(height, 640), min(width, 900))
    top, left = int(height * (0.2 + shift)), int(width * (0.25 + shift))
    view = ts.Box.at(top, left, *sides)
    y, x = height * (0.55 - shift), width * (0.5 - shift)
    reach = min(height, width, 2600) / 4
    diamond = [np.array([[y - reach, x], [y, x + reach], [y + reach, x], [y, x - reach]])]

    def doubtful() -> Selection:
        seg = session.seg
        left_over = np.where(seg.refined, np.nan, seg.scores)
        return Selection(threshold=float(np.nanquantile(left_over, 0.5)))

    return [
        ("next 20", lambda: Selection(n_tiles=20)),
        ("visible", lambda: view),
        ("region", lambda: diamond),
        ("uncertain", doubtful),
    ]


def coarse_line(session: ts.Session) -> Line:
    """Price and run the coarse pass."""
    price = session.prices.coarse()
    took = seconds_of(session, session.run_coarse)
    windows = len(session.seg.windows_done)
    return Line("coarse (windows)", price.windows, windows, price.seconds, took)


def line(
    session: ts.Session, name: str, wanted: Callable[[], object], truth: np.ndarray | None
) -> Line:
    """Price and run a selection."""
    selection = wanted()
    price: Price = session.price(selection)
    before = int(session.seg.refined.sum())
    dice = None if truth is None else agreement(session, truth)
    start = session.refine if isinstance(selection, Selection) else session.refine_region
    took = seconds_of(session, partial(start, selection))
    happened = None if truth is None or dice is None else agreement(session, truth) - dice
    gain = None if price.dice is None else price.dice[1] - price.dice[0]
    ran = int(session.seg.refined.sum()) - before
    return Line(name, price.tiles, ran, price.seconds, took, gain, happened)


def seconds_of(session: ts.Session, start: Callable[[], object]) -> float:
    """Seconds from the click to the end of the run."""
    ended = []
    listener = session.events.state_changed.connect(
        lambda state: ended.append(time.perf_counter()) if state is RunState.IDLE else None
    )
    started = time.perf_counter()
    start()
    session.wait()
    session.events.state_changed.disconnect(listener)
    return ended[-1] - started


def refined_everywhere(session: ts.Session, out: Path) -> np.ndarray:
    """Labels of stage 2 of the whole slide, from a copy of the result."""
    copy = out.with_name(f"all-{out.name}")
    if not copy.exists():
        shutil.copytree(out, copy)
        full = ts.Segmentation.open(copy, slide=session.slide)
        full.refine(full.plan(fraction=1.0))
    full = ts.Segmentation.open(copy, slide=session.slide)
    return full.read_labels(full.grid.box)


def agreement(session: ts.Session, truth: np.ndarray) -> float:
    """Dice of the foreground against the labels of stage 2."""
    labels = session.seg.read_labels(session.seg.grid.box)
    found, true = labels == 1, truth == 1
    return 2 * float((found & true).sum()) / max(1, int(found.sum()) + int(true.sum()))


def report(lines: list[Line]) -> None:
    """Print a table."""
    rows = [
        "| what | tiles stated | tiles run | seconds stated | seconds taken | ratio | "
        "Dice stated | Dice against stage 2 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    rows += [
        f"| {one.name} | {one.tiles:,} | {one.ran:,} | {one.price_s:.2f} | {one.took_s:.2f} | "
        f"{one.ratio:.2f} | {_change(one.gain)} | {_change(one.happened)} |"
        for one in lines
    ]
    off = [one.name for one in lines if not 1 / GOAL <= one.ratio <= GOAL]
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    verdict = f"off by more: {', '.join(off)}" if off else "met by all"
    rows += ["", f"Goal: within {GOAL - 1:.0%}; {verdict}. Load of the last minute: {load}."]
    sys.stdout.write("\n".join(rows) + "\n")


def _change(dice: float | None) -> str:
    return "" if dice is None else f"{dice:+.3f}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("slide", nargs="?", type=Path, help="default: the sample slide")
    parser.add_argument("--quick", action="store_true", help="no truth, no second visit")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        given = options.slide or Path(shutil.copy(sample_slide(), place))
        main(given, quick=options.quick)
