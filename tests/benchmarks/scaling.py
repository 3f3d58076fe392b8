"""Slides of growing size: time per tissue megapixel and peak memory must stay constant.

    python -m tests.benchmarks.scaling --device openvino

Each run has its own process, hence its own peak memory, and segments the slide in two stages with a
fixed share of the tiles refined. Sizes are timed in turn. Opening the slide is timed. Loading the
model is not, but its memory counts.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from tests.benchmarks import common

from napari_twostage.training.evaluation.table import Table
from napari_twostage.utils.timing import Seconds, Timing, time_in_turn

if TYPE_CHECKING:
    from argparse import Namespace

    from matplotlib.figure import Figure

SIZES = ((10_000, 10_000), (20_000, 20_000), (40_000, 40_000), (60_000, 50_000))
QUICK_SIZES = ((2000, 2000), (4000, 4000))
TISSUE, FRACTION = 0.5, 0.05
NEAR = 0.15
"""Largest relative deviation of a time per megapixel from the median."""
LIMIT_BYTES = 1536 << 20
"""Largest peak memory."""


class Run(NamedTuple):
    """Measurements of one process."""

    seconds: Seconds
    tissue_mpx: float
    """Megapixels of the tiles that hold tissue."""
    peak: int
    """Peak memory in bytes."""
    described: str
    """Ratio, model and backend."""


def main() -> None:
    """Time all sizes in turn."""
    parser = common.parser(__doc__)
    common.add_model(parser, ratio=True)
    options = common.parse(parser)
    sizes = QUICK_SIZES if options.quick else SIZES
    slides = {
        f"{width:,} × {height:,}": common.big_slide(options.slides, width, height, TISSUE)
        for width, height in sizes
    }
    runs: dict[str, list[Run]] = {name: [] for name in slides}

    def take(name: str) -> Seconds:
        arguments = slides[name], options.model, options.device, options.ratio
        runs[name].append(common.in_child(run_once, *arguments))
        return runs[name][-1].seconds

    timings = time_in_turn({name: lambda name=name: take(name) for name in slides}, options.rounds)
    report(timings, runs, options)


def run_once(path: Path, name: str, device: str, ratio: int | None) -> Run:
    """Segment one slide; the process must do nothing else."""
    from napari_twostage import open_slide, segment
    from napari_twostage.cli.bench import warm_up

    model = common.load(name, device, ratio)
    warm_up(model)
    started = Seconds.now()
    with tempfile.TemporaryDirectory() as folder, open_slide(path) as slide:
        seg = segment(slide, model, Path(folder) / "out.zarr", fraction=FRACTION)
        spent = Seconds.now() - started
        tissue_mpx = int(seg.tissue.sum()) * model.card.tile_px**2 / 1e6
    described = f"ratio {model.card.ratio}, {model.card.name} on {model.compute}"
    return Run(spent, tissue_mpx, common.peak_bytes(), described)


def report(timings: dict[str, Timing], runs: dict[str, list[Run]], options: Namespace) -> None:
    """Publish the table, with the goals for the spread over sizes and for the highest peak."""
    header = ("slide", "tissue, Mpx", *common.TIMES, "s per tissue Mpx", "peak, MiB")
    table = Table("scaling", header)
    speeds, peaks = {}, {}
    for name, timing in timings.items():
        tissue = runs[name][0].tissue_mpx
        speeds[name] = timing.median / tissue
        peaks[name] = max(run.peak for run in runs[name])
        row = name, f"{tissue:,.0f}", *common.cells(timing, digits=1).values()
        row += f"{speeds[name]:.4f}", f"{peaks[name] / 2**20:.0f}"
        table.add(dict(zip(header, row, strict=True)))
    middle = median(speeds.values())
    furthest = max(abs(speed / middle - 1) for speed in speeds.values())
    highest = max(peaks.values())
    notes = [
        f"{FRACTION:.0%} of the tiles refined, {next(iter(runs.values()))[0].described}; "
        f"tissue is half of each slide. Peaks are the highest of all rounds.",
        common.goal(
            f"time per tissue megapixel within {NEAR:.0%} of the sizes' median",
            f"{furthest:.0%} at most",
            met=furthest <= NEAR,
        ),
        common.goal(
            f"peak memory under {LIMIT_BYTES / 2**20:.0f} MiB at every size",
            f"{highest / 2**20:.0f} MiB",
            met=highest < LIMIT_BYTES,
        ),
    ]
    tissue = [runs[name][0].tissue_mpx for name in timings]
    common.publish(table, notes, draw(tissue, list(speeds.values()), list(peaks.values())), options)


def draw(tissue: list[float], speeds: list[float], peaks: list[int]) -> Figure:
    """Plot time per megapixel and peak memory against the area of tissue."""
    with common.figure() as figure:
        left, right = figure.subplots(1, 2)
        left.plot(tissue, [1000 * speed for speed in speeds], "o-", color="#4477aa")
        left.set_ylabel("ms per tissue megapixel")
        right.plot(tissue, [peak / 2**20 for peak in peaks], "o-", color="#aa7744")
        right.axhline(LIMIT_BYTES / 2**20, color="0.5", linewidth=1, linestyle="--")
        right.set_ylabel("peak memory, MiB")
        for axes in (left, right):
            axes.set_ylim(0, None)
            axes.set_xlabel("tissue, megapixels")
    return figure


if __name__ == "__main__":
    main()
