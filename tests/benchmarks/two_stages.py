"""Two stages at several fractions against our own dense run of the same tissue.

    python -m tests.benchmarks.two_stages --device openvino

Dense is stage 2 over every tile that contains tissue, with the same halo and the same backend. Two
stages include everything: finding tissue, the coarse pass, the selection, and stage 2. Both read,
compute and write. The cost model covers the networks alone: seconds per window of each stage, halo
included, measured in turn with the runs, times the number of windows. The same ratio in
multiply-accumulates is given as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import PercentFormatter
from tests.benchmarks import common

from napari_twostage import open_slide, segment
from napari_twostage.cli.bench import time_stages, total, warm_up
from napari_twostage.models.cost import count_macs
from napari_twostage.models.networks.build import build_two_stage
from napari_twostage.training.evaluation.table import Table
from napari_twostage.utils.timing import Timing, time_in_turn, timed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from matplotlib.figure import Figure

    from napari_twostage.models.model import Model
    from napari_twostage.slides.base import Slide

FRACTIONS = (0.02, 0.05, 0.1, 0.25)
SIDE, QUICK_SIDE = 8192, 2048
TISSUE = 0.75
DENSE = "dense"
SHARE = 0.9
"""Goal: smallest share of the speed-up that the cost model predicts."""


@dataclass(frozen=True)
class NetworkCosts:
    """Cost of the networks alone, in any unit."""

    window: float
    """Cost of a window of stage 1."""
    tile: float
    """Cost of a tile's window of stage 2."""
    windows: int
    tiles: int

    def ratio(self, fraction: float) -> float:
        """Cost of a dense run relative to two stages that refine `fraction` of the tiles.

        Examples
        --------
        >>> NetworkCosts(window=10, tile=1, windows=2, tiles=100).ratio(0.3)
        2.0
        """
        dense = self.tile * self.tiles
        return dense / (self.window * self.windows + fraction * dense)


def main() -> None:
    """Time dense and every fraction in turn."""
    parser = common.parser(__doc__)
    common.add_model(parser, ratio=True)
    options = common.parse(parser)
    side = QUICK_SIDE if options.quick else SIDE
    model = common.load(options.model, options.device, options.ratio)
    warm_up(model)
    with open_slide(common.big_slide(options.slides, side, side, TISSUE)) as slide:
        windows, tiles = count(slide, model, options.out)
        by_macs = NetworkCosts(*macs_per_window(model), windows, tiles)
        alone = forward_passes(model)
        ways = {name: partial(timed, run) for name, (run, _) in alone.items()}
        ways[DENSE] = lambda: time_stages(slide, model, refine="all")["refine"]
        for fraction in FRACTIONS:
            ways[name_of(fraction)] = lambda fraction=fraction: total(
                time_stages(slide, model, fraction=fraction)
            )
        timings = time_in_turn(ways, options.rounds)
    seconds = (timings[name].median / number for name, (_, number) in alone.items())
    by_seconds = NetworkCosts(*seconds, windows, tiles)
    table, goals = tabulate(timings, by_seconds, by_macs)
    notes = [
        f"{slide.name}: {tiles} tiles of {model.card.tile_px} px hold tissue, in {windows} coarse "
        f"windows at ratio {model.card.ratio}; model {model.card.name} on {model.compute}. "
        f"A coarse window takes {1000 * by_seconds.window:.1f} ms and "
        f"{by_macs.window / 1e9:.2f} GMAC, a tile {1000 * by_seconds.tile:.1f} ms and "
        f"{by_macs.tile / 1e9:.2f} GMAC.",
        *goals,
    ]
    common.publish(table, notes, draw(timings, by_seconds), options)


def name_of(fraction: float) -> str:
    """Name of a row."""
    return f"two stages, f = {fraction:g}"


def count(slide: Slide, model: Model, folder: Path) -> tuple[int, int]:
    """Numbers of coarse windows and of tiles with tissue, as the engine counts them."""
    out = folder / "count.zarr"
    seg = segment(slide, model, out, refine="none", overwrite=True)
    return len(seg.windows_done), int(seg.tissue.sum())


def forward_passes(model: Model) -> dict[str, tuple[Callable[[], object], int]]:
    """Call that computes full batches, and its number of windows, for each stage by name."""
    found: dict[str, tuple[Callable[[], object], int]] = {}
    for run, batch, side in (
        (model.coarse, model.coarse_batch, model.side_px("coarse")),
        (model.refine, model.refine_batch, model.side_px("refine")),
    ):
        shape = common.FULL_BATCHES * batch, side, side, 3
        windows = list(np.random.default_rng(0).integers(0, 256, shape, np.uint8))
        found[run.__name__] = partial(run, windows), len(windows)
    return found


def macs_per_window(model: Model) -> tuple[float, float]:
    """Multiply-accumulates per window of each stage."""
    card = model.card
    module = build_two_stage(card)
    fine = card.window_px
    return (
        count_macs(module.stage1, (1, 3, *[card.coarse_window_px] * 2), card.coarse_halo_px),
        count_macs(module.stage2, (1, 3, fine, fine), card.halo_px),
    )


def tabulate(
    timings: dict[str, Timing], by_seconds: NetworkCosts, by_macs: NetworkCosts
) -> tuple[Table, list[str]]:
    """Table of each fraction's speed-up beside the prediction of the cost model, and goals."""
    header = ("run", *common.TIMES, "× dense", "by seconds", "by MACs", "of by seconds")
    table, goals = Table("two_stages", header), []
    dense = timings[DENSE]
    table.add({"run": DENSE, **common.cells(dense), "× dense": "1.00"})
    for fraction in FRACTIONS:
        timing = timings[name_of(fraction)]
        speed_up, promised = dense.over(timing), by_seconds.ratio(fraction)
        row = name_of(fraction), *common.cells(timing).values(), f"{speed_up:.2f}"
        row += f"{promised:.2f}", f"{by_macs.ratio(fraction):.2f}", f"{speed_up / promised:.0%}"
        table.add(dict(zip(header, row, strict=True)))
        goals.append(
            common.goal(
                f"at f = {fraction:g} at least {SHARE:.0%} of the cost model's {promised:.2f}×",
                f"{speed_up:.2f}×",
                met=speed_up >= SHARE * promised,
            )
        )
    return table, goals


def draw(timings: dict[str, Timing], costs: NetworkCosts) -> Figure:
    """Plot the speed-up against the fraction, over the curve of the cost model."""
    dense = timings[DENSE]
    fine = np.linspace(0, max(FRACTIONS) * 1.1, 100)
    with common.figure() as figure:
        axes = figure.add_subplot()
        axes.plot(fine, [costs.ratio(f) for f in fine], color="0.5", label="cost model")
        for fraction in FRACTIONS:
            timing = timings[name_of(fraction)]
            ratios = dense.ratios(timing)
            axes.plot([fraction] * 2, [min(ratios), max(ratios)], color="#4477aa", linewidth=1)
            axes.plot(fraction, dense.over(timing), "o", color="#4477aa")
        axes.plot([], [], "o", color="#4477aa", label="measured")
        axes.set(xlabel="tiles refined", ylabel="times as fast as dense", ylim=(0, None))
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.legend(frameon=False)
    return figure


if __name__ == "__main__":
    main()
