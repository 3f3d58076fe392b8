"""Shared parts of the benchmarks: options, big slides, child processes, reports."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure
from sample_data.make_big_slide import write_big_slide

from napari_twostage import load_model
from napari_twostage.models.backends import PRECISIONS
from napari_twostage.models.backends.choice import thread_count
from napari_twostage.models.bundle import read_bundle
from napari_twostage.utils.system import describe_machine
from napari_twostage.utils.timing import ROUNDS, Timing

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from napari_twostage.models.model import Model
    from napari_twostage.training.evaluation.table import Table

OUT = Path("runs/benchmarks")
FULL_BATCHES = 4
"""Batches per timed call of a model: a single batch ends with idle processors."""
TIMES = ("seconds", "[fastest, slowest]", "CPU seconds")
"""Columns of every table, filled by `cells`."""


# -- options ----------------------------------------------------------------------------------


def parser(purpose: str | None) -> ArgumentParser:
    """Options of every benchmark."""
    parser = argparse.ArgumentParser(
        description=purpose, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=_positive, help=f"rounds of each (default {ROUNDS})")
    parser.add_argument("--quick", action="store_true", help="small and once: checks that it runs")
    parser.add_argument("--out", type=Path, default=OUT, help=f"folder of results (default {OUT})")
    parser.add_argument("--slides", type=Path, help="folder for big slides (default OUT/slides)")
    return parser


def add_model(parser: ArgumentParser, *, ratio: bool = False) -> None:
    """Options of benchmarks that compute."""
    parser.add_argument("--model", default="nuclei", help="bundled name, folder or zip")
    parser.add_argument(
        "--device",
        default="auto",
        help="as of `napari-twostage segment`, or with a precision: openvino:bf16",
    )
    if ratio:
        parser.add_argument(
            "--ratio",
            type=_positive,
            help="downsampling of stage 1: changes speed, makes labels meaningless",
        )


def parse(parser: ArgumentParser) -> Namespace:
    """Parse the command line, with defaults that depend on ``--quick`` and ``--out``."""
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else ROUNDS)
    options.slides = options.slides or options.out / "slides"
    return options


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError(text)
    return number


# -- measurements -------------------------------------------------------------------------


def big_slide(folder: Path, width: int, height: int, tissue: float) -> Path:
    """Make a slide, or reuse the one that an earlier run made.

    Parameters
    ----------
    folder : Path
        Folder of slides.
    width, height : int
        Pixels of level 0.
    tissue : float
        Share of the slide that is tissue, in [0, 1].
    """
    path = folder / f"{width}x{height}-tissue{tissue:g}.svs"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        half = path.with_suffix(".part")
        write_big_slide(half, (height, width), tissue=tissue)
        half.rename(path)  # an interrupted run leaves no incomplete slide under this name
    return path


def load(model: str, device: str, ratio: int | None = None) -> Model:
    """Load a model, optionally with another ratio between its stages.

    The weights stay those of the original ratio, so only the speed is meaningful. The device may
    include a precision: ``openvino:bf16``.
    """
    name, _, precision = device.rpartition(":")
    if precision not in PRECISIONS:
        name, precision = device, "f32"
    if ratio is None:
        return load_model(model, device=name, precision=precision)
    bundle = read_bundle(model)
    with tempfile.TemporaryDirectory() as folder:
        replace(bundle, card=replace(bundle.card, ratio=ratio)).save(Path(folder))
        return load_model(folder, device=name, precision=precision)


def in_child(task: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a fresh process, with its own imports and its own peak memory."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(task, *arguments).result()


def peak_bytes() -> int:
    """Peak resident memory of this process, in bytes.

    Read from /proc where it exists: ``getrusage`` starts a child with the peak of its parent.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) * 1024
    import resource  # not available on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


# -- results ----------------------------------------------------------------------------------


def cells(timing: Timing, *, per: float = 1.0, digits: int = 2) -> dict[str, str]:
    """Cells of the columns `TIMES`; `per` divides them, for example into seconds per tile."""
    low, high = timing.spread
    figures = (
        f"{timing.median / per:.{digits}f}",
        f"[{low / per:.{digits}f}, {high / per:.{digits}f}]",
        f"{timing.cpu / per:.{digits}f}",
    )
    return dict(zip(TIMES, figures, strict=True))


def goal(wanted: str, found: str, *, met: bool) -> str:
    """Line that states a goal and whether it was met."""
    return f"Goal: {wanted}. Found: {found}, {'met' if met else 'missed'}."


def publish(
    table: Table, notes: Sequence[str], figure: Figure, options: Namespace, **versions: str
) -> None:
    """Write and print a table and its figure, with everything needed to interpret them.

    Parameters
    ----------
    table : Table
    notes : sequence of str
        Paragraphs on the method and the goals.
    figure : Figure
    options : Namespace
        Result of `parse`.
    **versions
        Versions of packages that the description of the machine does not include.
    """
    command = f"python -m tests.benchmarks.{table.name} {' '.join(sys.argv[1:])}".strip()
    facts = {**describe_machine(thread_count()), **versions}
    paragraphs = [
        *(["**A quick run: it says that the benchmark runs, and no more.**"] * options.quick),
        *notes,
        f"`{command}`; rounds: {options.rounds}. "
        + "; ".join(f"{name} {value}" for name, value in facts.items())
        + f". Load before: {_load()}.",
    ]
    table.caption = "\n\n".join(paragraphs)
    table.write(options.out)
    figure.savefig(options.out / f"{table.name}.png", dpi=150)
    sys.stdout.write(f"{table.to_markdown()}\n{options.out / table.name}.md, .csv, .png\n")


def _load() -> str:
    """Mean load of the last 15 minutes: timings on a busy machine are unreliable."""
    return f"{os.getloadavg()[2]:.1f}" if hasattr(os, "getloadavg") else "unknown"


@contextmanager
def figure(width: float = 6.4, height: float = 3.6) -> Iterator[Figure]:
    """Figure without frames, laid out at the end."""
    style = {"axes.spines.top": False, "axes.spines.right": False, "font.size": 9}
    with mpl.rc_context(style):
        yield Figure(figsize=(width, height), layout="constrained")


def draw_bars(timings: Mapping[str, Timing], title: str, *, per: float = 1.0) -> Figure:
    """Horizontal bars of medians, with the fastest and the slowest round as whiskers."""
    with figure(height=0.8 + 0.38 * len(timings)) as drawn:
        axes = drawn.add_subplot()
        for row, timing in enumerate(timings.values()):
            middle, (low, high) = timing.median / per, timing.spread
            axes.barh(row, middle, height=0.6, color="#4477aa")
            axes.plot([low / per, high / per], [row, row], color="black", linewidth=1)
            axes.annotate(
                f"{middle:.3g}", (max(middle, high / per), row), (4, 0), va="center",
                textcoords="offset points",
            )  # fmt: skip
        axes.set_yticks(range(len(timings)), list(timings))
        axes.invert_yaxis()
        axes.margins(x=0.12)
        axes.set_xlabel(title)
    return drawn
