"""Time of a move of the threshold and of a plan, with 200,000 tiles; no GUI, no model.

    python -m tests.benchmarks.slider

A move is the session's work for each step of the slider: `Curve.at`. A plan lists the tiles of a
selection in order, as every run does once. panel.py measures what the GUI adds.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from tests.benchmarks import common

from napari_twostage.method.ranking import Ranking
from napari_twostage.method.selection import Curve, Plan, Selection
from napari_twostage.method.uncertainty import TileStatistics
from napari_twostage.training.evaluation.table import Table
from napari_twostage.utils.timing import Seconds, Timing, time_in_turn, timed

TILES = (400, 500)
MOVES = 200
LIMIT_MS = 5.0
FRACTIONS = (0.02, 0.1, 0.25, 1.0)
SECONDS_PER_TILE = 0.01


def main() -> None:
    """Time the curve, moves and plans in turn."""
    options = common.parse(common.parser(__doc__))
    ranking, refined = statistics()
    ranking.order  # noqa: B018 - sorted once, when the coarse pass ends
    curve = ranking.curve(refined, SECONDS_PER_TILE)
    ways = {
        "the curve, once after the coarse pass": lambda: timed(
            lambda: ranking.curve(refined, SECONDS_PER_TILE)
        ),
        "a move of the threshold": lambda: move(curve),
        **{
            f"a plan of {fraction:.0%} of the tiles": partial(
                timed, partial(plan, ranking, refined, fraction)
            )
            for fraction in FRACTIONS
        },
    }
    timings = time_in_turn(ways, options.rounds)
    table = Table("slider", ("what", "ms", "[fastest, slowest]", "CPU ms"))
    for name, timing in timings.items():
        figures = common.cells(timing, per=1e-3, digits=3).values()
        table.add(dict(zip(table.header, (name, *figures), strict=True)))
    notes = [
        f"{np.prod(TILES):,} tiles; a move is the mean of {MOVES} over the whole slider.",
        *(judge(name, timing) for name, timing in timings.items() if "curve" not in name),
    ]
    common.publish(table, notes, common.draw_bars(timings, "milliseconds", per=1e-3), options)


def statistics() -> tuple[Ranking, np.ndarray]:
    """Ranking as after a coarse pass, and the mask of refined tiles: none."""
    rng = np.random.default_rng(0)
    scores = rng.beta(2, 8, TILES).astype(np.float32)
    counts = [rng.uniform(0, 100, TILES).astype(np.float32) for _ in range(3)]
    return Ranking(TileStatistics(scores, *counts), 0.5), np.zeros(TILES, bool)


def move(curve: Curve) -> Seconds:
    """Mean seconds of a move, over the whole range of the slider."""
    return timed(lambda: [curve.at(value) for value in np.linspace(0.0, 1.0, MOVES)]) / MOVES


def plan(ranking: Ranking, refined: np.ndarray, fraction: float) -> Plan:
    """Plan of a selection, as a run makes it before refinement."""
    wanted = Selection(fraction=fraction)
    return ranking.plan(wanted, ranking.select(wanted), refined, SECONDS_PER_TILE)


def judge(name: str, timing: Timing) -> str:
    """Line that states whether a call is fast enough to feel immediate."""
    spent = 1000 * timing.median
    wanted = f"{name} in at most {LIMIT_MS:g} ms"
    return common.goal(wanted, f"{spent:.3f} ms", met=spent <= LIMIT_MS)


if __name__ == "__main__":
    main()
