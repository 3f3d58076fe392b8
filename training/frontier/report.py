"""Report of a frontier: tables and a figure."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from napari_twostage.training.evaluation.metrics import bootstrap_groups, describe_difference
from napari_twostage.training.evaluation.table import NOTHING, Table, percent
from training.frontier.curves import cheapest
from training.frontier.selectors import CHANGE_ORACLE, LABEL_ORACLE, RANDOM
from training.frontier.single_models import (
    Point,
    bootstrap_cheapest,
    frontier_of,
    single_at,
)
from training.frontier.trial_seconds import time_trials
from training.item_timing import machine_line
from training.tables.run_seconds import spread_out

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from napari_twostage.training.evaluation.metrics import Interval
    from napari_twostage.utils.timing import Timing
    from training.frontier.study import Trial
    from training.frontier.study_results import StudyResults, TwoStages

BELOW_GOAL = 2.5
"""Dice points below the goal that are still drawn."""
HALO = [withStroke(linewidth=3, foreground="white")]
"""Outline of text, which keeps it legible across lines."""
HEADER = (
    "run",
    "MACs / dense",
    "time / dense [rounds]",
    "Dice (%)",
    "95 % interval",
    "against dense",
    "against single models of its cost",
    "pooled Dice (%)",
)
HEADLINE = ("run", "selector", "smallest MACs / dense", "speed-up [95 %]", "selection efficiency")
COST_TICKS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0)
COLOURS = {
    "tent": "#d55e00",
    "expected gain": "#0072b2",
    "learned": "#cc79a7",
    CHANGE_ORACLE: "#009e73",
    RANDOM: "#999999",
}
"""Colours of the drawn selectors, distinguishable with any colour vision."""


def make_table(results: StudyResults, seconds: Mapping[str, Timing]) -> Table:
    """Table of the single models, and of points of interest of the two-stage models."""
    study = results.study
    table = Table(f"frontier_{study.name}", HEADER, _caption(results, seconds))
    hull = frontier_of(results.singles)
    for point in sorted(results.singles, key=lambda point: point.cost):
        others = frontier_of([other for other in results.singles if other is not point])
        table.add(_row(results, point, others, seconds))
    for entry in results.two_stages:
        for point, _ in points_of(results, entry):
            table.add(_row(results, point, hull, seconds))
    return table


def points_of(results: StudyResults, entry: TwoStages) -> list[tuple[Point, float]]:
    """Points of stage 1 alone, the headline and every tile refined, each with its threshold."""
    selector = results.study.selector
    curve, cost = entry.curves[selector], entry.cost[selector]
    reached = np.flatnonzero(curve.mean >= results.dense.mean - results.study.tolerance)
    places = {"stage 1 only": 0, "every tile refined": len(cost) - 1}
    if len(reached) and reached[0]:
        share = 100 * curve.fractions[reached[0]]
        places[f"{share:g} % of tiles by {selector}"] = int(reached[0])
    return [
        (
            Point(
                f"{entry.name}, {name}", float(cost[at]), curve.dice[at], float(curve.pooled[at])
            ),
            float(entry.thresholds[at]),
        )
        for name, at in sorted(places.items(), key=lambda item: item[1])
    ]


def measure_seconds(results: StudyResults, images: int, rounds: int) -> dict[str, Timing]:
    """Time all rows of the table in turn, on a few test images of the first runs."""
    rows: dict[str, tuple[Trial, float | None]] = {
        point.name: (results.trials[point.name], None) for point in results.singles
    }
    for entry in results.two_stages:
        for point, threshold in points_of(results, entry):
            rows[point.name] = (results.trials[entry.name], threshold)
    samples = spread_out(results.trials[results.study.dense].open_test()[0], images)
    pixels = [sample.image for sample in samples]
    return time_trials(rows, pixels, selector=results.study.selector, rounds=rounds)


def make_headline(results: StudyResults) -> Table:
    """Table of the smallest cost that keeps the dense run's Dice, for each selector."""
    study = results.study
    goal = results.dense.mean - study.tolerance
    table = Table(
        f"headline_{study.name}",
        HEADLINE,
        f"{study.name}: smallest cost with a Dice of at least the dense run's {percent(goal)} % "
        f"(dense − {100 * study.tolerance:g}), between the points measured; selection efficiency "
        "is the area that a selector gains over chance, by that of the change oracle. Intervals "
        "resample groups of images; where a resample does not reach the goal it counts as 1×."
        f"{_predictions(results)}",
    )
    hull = frontier_of(results.singles)
    log_costs = np.log([point.cost for point in hull])
    single = np.exp(cheapest(log_costs, np.array([point.mean for point in hull]), goal))
    table.add({"run": "single models", **_reach(float(single), None)})
    for entry in results.two_stages:
        for selector, curve in entry.curves.items():
            value = entry.efficiency.get(selector)
            table.add(
                {
                    "run": entry.name,
                    "selector": selector,
                    **_reach(
                        cheapest(entry.cost[selector], curve.mean, goal),
                        bootstrap_cheapest(
                            entry.cost[selector],
                            curve.dice,
                            results.dense.dice - study.tolerance,
                            results.groups,
                        ),
                    ),
                    "selection efficiency": NOTHING if value is None else f"{value:.2f}",
                }
            )
        reached = cheapest(entry.oracle_cost, entry.oracle.dice, goal)
        table.add({"run": entry.name, "selector": LABEL_ORACLE, **_reach(reached, None)})
    return table


def _predictions(results: StudyResults) -> str:
    """Caption on how well the engine predicts Dice before refinement."""
    said = [
        f" {entry.name}: the Dice expected of stage 1 misses that of an image by "
        f"{100 * entry.predicted.error:.1f} points (mean of absolute differences; mean difference "
        f"{100 * entry.predicted.bias:+.1f})."
        for entry in results.two_stages
    ]
    return "".join(said)


def _reach(cost: float, spread: Interval | None) -> dict[str, str]:
    if np.isnan(cost):
        return {"smallest MACs / dense": "not reached"}
    speed_up = f"{1 / cost:.1f}×"
    if spread is not None:
        speed_up += f" [{1 / spread.high:.1f}, {1 / spread.low:.1f}]"
    return {"smallest MACs / dense": f"{cost:.3f}", "speed-up [95 %]": speed_up}


def _row(
    results: StudyResults, point: Point, hull: list[Point], seconds: Mapping[str, Timing]
) -> dict[str, str]:
    spread = bootstrap_groups(point.dice, results.groups)
    cells = {
        "run": point.name,
        "MACs / dense": f"{point.cost:.3f}",
        "Dice (%)": percent(spread.mean),
        "95 % interval": f"{percent(spread.low)} to {percent(spread.high)}",
        "pooled Dice (%)": percent(point.pooled),
    }
    if point.name in seconds:
        shares = seconds[point.name].ratios(seconds[results.dense.name])
        cells["time / dense [rounds]"] = (
            f"{median(shares):.2f} [{min(shares):.2f}, {max(shares):.2f}]"
        )
    if point is not results.dense:
        cells["against dense"] = describe_difference(
            point.dice - results.dense.dice, results.groups
        )
    if hull:
        cells["against single models of its cost"] = describe_difference(
            point.dice - single_at(hull, point.cost), results.groups
        )
    return cells


def _caption(results: StudyResults, seconds: Mapping[str, Timing]) -> str:
    study = results.study
    rounds = len(next(iter(seconds.values())).rounds) if seconds else 0
    timed = (
        f" Time: shares within a round, the middle one of {rounds}, over a few test images, all "
        f"rows in turn, from the decoded image to labels: {machine_line()}."
        if rounds
        else ""
    )
    tested = "the published test split"
    if study.folds:
        tested = f"{study.folds_run} of " if study.folds_run else ""
        tested += f"{study.folds} folds"
    missing = f" Not run: {', '.join(results.missing)}." if results.missing else ""
    return (
        f"{study.name}: {len(results.groups)} images of {tested}, {study.seeds} seed(s) each; Dice "
        "(smooth 1) per image at its own size, averaged; intervals resample groups of images, "
        "differences are paired. Single models of the same cost lie between two models of the "
        "single-model frontier, straight over the logarithm of cost; a single model is compared "
        "with the others. Stage 2 pays for halo and context; single models and stage 1 count as "
        f"reading images whole.{timed}{missing}"
    )


def draw(results: StudyResults, path: Path) -> None:
    """Draw Dice against cost: single models, selectors, oracles."""
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    axes = figure.subplots()
    for entry, style in zip(results.two_stages, ("-", "--", ":", "-."), strict=False):
        _draw_two_stages(axes, entry, style)
    _draw_singles(axes, results.singles)
    goal = 100 * (results.dense.mean - results.study.tolerance)
    axes.axhline(goal, color="#555555", linewidth=1, linestyle=(0, (4, 4)))
    axes.annotate(
        f"dense − {100 * results.study.tolerance:g}",
        (0.01, goal),
        xycoords=("axes fraction", "data"),
        xytext=(0, -10),
        textcoords="offset points",
        ha="left",
        fontsize=8,
        color="#555555",
        path_effects=HALO,
    )
    curves = [curve for entry in results.two_stages for curve in entry.curves.values()]
    means = [point.mean for point in results.singles]
    lowest = 100 * min([*means, *(curve.mean.min() for curve in curves)])
    axes.set(
        xscale="log",
        xlabel="multiply-accumulates / dense",
        ylabel="Dice per image (%)",
        title=results.study.name,
        ylim=(min(goal, max(lowest, goal - BELOW_GOAL)) - 0.2, None),
    )
    axes.grid(alpha=0.3, which="both")
    axes.set_xticks(COST_TICKS, [f"{tick:g}" for tick in COST_TICKS])
    axes.minorticks_off()
    dearest = max([1.0, *(cost.max() for e in results.two_stages for cost in e.cost.values())])
    axes.set_xlim(0.8 * min(point.cost for point in results.singles), 1.1 * dearest)
    figure.legend(fontsize=8, loc="outside right center")
    figure.savefig(path, dpi=130)


def _draw_singles(axes: Axes, singles: Sequence[Point]) -> None:
    hull = frontier_of(singles)
    axes.plot(
        [point.cost for point in hull],
        [100 * point.mean for point in hull],
        color="black",
        label="single models",
    )
    for point in singles:
        axes.plot(point.cost, 100 * point.mean, "o", color="black", markersize=4)
        axes.annotate(
            point.name,
            (point.cost, 100 * point.mean),
            xytext=(0, 6),
            ha="center",
            textcoords="offset points",
            fontsize=8,
            path_effects=HALO,
            annotation_clip=True,
        )


def _draw_two_stages(axes: Axes, entry: TwoStages, style: str) -> None:
    for selector, color in COLOURS.items():
        axes.plot(
            entry.cost[selector],
            100 * entry.curves[selector].mean,
            style,
            color=color,
            label=f"{entry.name}, {selector}",
        )
    axes.plot(
        entry.oracle_cost,
        100 * entry.oracle.dice,
        style,
        color="#56b4e9",
        label=f"{entry.name}, {LABEL_ORACLE}",
    )
