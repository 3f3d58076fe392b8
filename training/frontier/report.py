"""Report of a frontier: tables and a figure."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from napari_twostage.training.evaluation.metrics import describe_resampled
from napari_twostage.training.evaluation.table import NOTHING, Table, percent
from training.frontier.curves import cheapest
from training.frontier.scores import AVERAGES, TITLES, score
from training.frontier.selectors import CHANGE_ORACLE, LABEL_ORACLE, RANDOM
from training.frontier.single_models import (
    Point,
    bootstrap_cheapest,
    frontier_of,
    single_at,
)
from training.frontier.study_results import SPARSITY_PX
from training.frontier.trial_seconds import time_trials
from training.item_timing import machine_line
from training.tables.run_seconds import spread_out

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from napari_twostage.training.evaluation.metrics import Interval
    from napari_twostage.utils.timing import Timing
    from training.frontier.curves import DiceCurve
    from training.frontier.scores import Average
    from training.frontier.study import Trial
    from training.frontier.study_results import StudyResults, TwoStages

BELOW_GOAL = 2.5
"""Dice points below the goal that are still drawn."""
HALO = [withStroke(linewidth=3, foreground="white")]
"""Outline of text, which keeps it legible across lines."""
TIMES = "time / dense [rounds]"
FALSE = "labelled where nothing is (‰)"
"""Share of the pixels of images without foreground that are labelled."""
HEADLINE = (
    "run",
    "selector",
    "smallest MACs / dense",
    "speed-up [95 %]",
    "largest lead [95 %]",
    "selection efficiency",
)
LEAD_WITHIN = (0.1, 0.5)
"""Costs between which a lead over single models is looked for."""
COST_TICKS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0)
COLOURS = {
    "tent": "#d55e00",
    "expected gain": "#0072b2",
    "learned": "#cc79a7",
    "gain output": "#cc79a7",
    CHANGE_ORACLE: "#009e73",
    RANDOM: "#999999",
}
"""Colours of the drawn selectors, distinguishable with any colour vision."""


def make_set_table(results: StudyResults) -> Table:
    """What tells beforehand whether two stages can pay: headroom and sparsity."""
    gains = "not measured: the study names no trained half"
    if results.half is not None:
        gains = ", ".join(
            f"{100 * (results.dense.value(average) - results.half.value(average)):+.1f} ({average})"
            for average in AVERAGES
        )
    return Table(
        f"set_{results.study.name}",
        ("images", "groups", "dense − half resolution, Dice", "tiles with foreground"),
        f"{results.study.name}: headroom, by the average of Dice, and sparsity, in tiles of "
        f"{SPARSITY_PX} pixels of the test images",
        [
            (
                str(len(results.groups)),
                str(len(set(results.groups))),
                gains,
                f"{100 * results.tiles_with_foreground:.0f} %",
            )
        ],
    )


def make_table(results: StudyResults, seconds: Mapping[str, Timing]) -> Table:
    """Table of the single models, and of points of interest of the two-stage models."""
    average = results.study.average
    table = Table(f"frontier_{results.study.name}", _header(average), _caption(results, seconds))
    hull = frontier_of(results.singles, average)
    for point in sorted(results.singles, key=lambda point: point.cost):
        others = frontier_of([one for one in results.singles if one is not point], average)
        table.add(_row(results, point, others, seconds))
    for entry in results.two_stages:
        for point, _ in points_of(results, entry):
            table.add(_row(results, point, hull, seconds))
    return table


def _header(average: Average) -> tuple[str, ...]:
    others = [TITLES[other] for other in AVERAGES if other != average]
    compared = ("95 % interval", "against dense", "against single models of its cost")
    return ("run", "MACs / dense", TIMES, TITLES[average], *compared, *others, FALSE)


def points_of(results: StudyResults, entry: TwoStages) -> list[tuple[Point, float]]:
    """Points of stage 1 alone, the headline and every tile refined, each with its threshold."""
    study = results.study
    curve, cost = entry.curves[study.selector], entry.cost[study.selector]
    goal = results.dense.value(study.average) - study.tolerance
    reached = np.flatnonzero(curve.scores(study.average) >= goal)
    places = {"stage 1 only": 0, "every tile refined": len(cost) - 1}
    if len(reached) and reached[0]:
        share = 100 * curve.fractions[reached[0]]
        places[f"{share:g} % of tiles by {study.selector}"] = int(reached[0])
    return [
        (
            Point(f"{entry.name}, {name}", float(cost[at]), curve.counts.at(at)),
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
    study, average = results.study, results.study.average
    goal = results.dense.value(average) - study.tolerance
    table = Table(
        f"headline_{study.name}",
        HEADLINE,
        f"{study.name}: smallest cost with at least the dense run's {TITLES[average]}, "
        f"{percent(goal)} (dense − {100 * study.tolerance:g}), between the points measured; "
        "largest lead over single models of the same cost, between 0.1 and 0.5 of dense; selection "
        "efficiency is the area that a selector gains over chance, by that of the change oracle. "
        "Intervals resample groups of images; where a resample does not reach the goal it counts "
        f"as 1×.{_predictions(results)}",
    )
    hull = frontier_of(results.singles, average)
    log_costs = np.log([point.cost for point in hull])
    single = np.exp(cheapest(log_costs, np.array([point.value(average) for point in hull]), goal))
    table.add({"run": "single models", **_reach(float(single), None)})
    goals = results.dense.values(average, results.weights) - study.tolerance
    for entry in results.two_stages:
        for selector, curve in entry.curves.items():
            cost, value = entry.cost[selector], entry.efficiency.get(selector)
            along = curve.scores(average, results.weights)
            table.add(
                {
                    "run": entry.name,
                    "selector": selector,
                    **_reach(
                        cheapest(cost, curve.scores(average), goal),
                        bootstrap_cheapest(cost, along, goals),
                    ),
                    "largest lead [95 %]": find_lead(results, hull, cost, curve),
                    "selection efficiency": NOTHING if value is None else f"{value:.2f}",
                }
            )
        reached = cheapest(entry.oracle_cost, entry.oracle.dice, goal)
        table.add({"run": entry.name, "selector": LABEL_ORACLE, **_reach(reached, None)})
    return table


def find_lead(
    results: StudyResults, hull: list[Point], cost: NDArray[np.floating], curve: DiceCurve
) -> str:
    """Largest difference from single models of the same cost, within `LEAD_WITHIN`."""
    average, (low, high) = results.study.average, LEAD_WITHIN
    places = np.flatnonzero((cost >= low) & (cost <= high))
    if not len(places):
        return NOTHING
    along = curve.scores(average)
    leads = [float(along[at] - single_at(hull, float(cost[at]), average)) for at in places]
    best = int(places[int(np.argmax(leads))])
    rounds = score(curve.counts.at(best), average, results.weights)
    others = single_at(hull, float(cost[best]), average, results.weights)
    return f"{describe_resampled(max(leads), rounds - others)} at {cost[best]:.2f}"


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
    average, weights = results.study.average, results.weights
    rounds = point.values(average, weights)
    low, high = np.percentile(rounds, [2.5, 97.5])
    false = point.counts.false_share()
    cells = {
        "run": point.name,
        "MACs / dense": f"{point.cost:.3f}",
        "95 % interval": f"{percent(low)} to {percent(high)}",
        **{TITLES[each]: percent(point.value(each)) for each in AVERAGES},
        FALSE: NOTHING if np.isnan(false) else f"{1000 * false:.2f}",
    }
    if point.name in seconds:
        shares = seconds[point.name].ratios(seconds[results.dense.name])
        cells[TIMES] = f"{median(shares):.2f} [{min(shares):.2f}, {max(shares):.2f}]"
    if point is not results.dense:
        difference = point.value(average) - results.dense.value(average)
        dense = results.dense.values(average, weights)
        cells["against dense"] = describe_resampled(difference, rounds - dense)
    if hull:
        difference = point.value(average) - float(single_at(hull, point.cost, average))
        others = single_at(hull, point.cost, average, weights)
        cells["against single models of its cost"] = describe_resampled(difference, rounds - others)
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
        "(smooth 1) at each image's own size; intervals resample groups of images, differences "
        "are paired. Single models of the same cost lie between two models of the "
        "single-model frontier, straight over the logarithm of cost; a single model is compared "
        "with the others. Stage 2 pays for halo and context; single models and stage 1 count as "
        f"reading images whole.{timed}{missing}"
    )


def draw(results: StudyResults, path: Path) -> None:
    """Draw Dice against cost: single models, selectors, oracles."""
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    axes = figure.subplots()
    for entry, style in zip(results.two_stages, ("-", "--", ":", "-."), strict=False):
        _draw_two_stages(axes, entry, results.study.average, style)
    _draw_singles(axes, results.singles, results.study.average)
    average = results.study.average
    goal = 100 * (results.dense.value(average) - results.study.tolerance)
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
    means = [point.value(average) for point in results.singles]
    lowest = 100 * min([*means, *(curve.scores(average).min() for curve in curves)])
    axes.set(
        xscale="log",
        xlabel="multiply-accumulates / dense",
        ylabel=TITLES[average],
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


def _draw_singles(axes: Axes, singles: Sequence[Point], average: Average) -> None:
    hull = frontier_of(singles, average)
    axes.plot(
        [point.cost for point in hull],
        [100 * point.value(average) for point in hull],
        color="black",
        label="single models",
    )
    for point in singles:
        axes.plot(point.cost, 100 * point.value(average), "o", color="black", markersize=4)
        axes.annotate(
            point.name,
            (point.cost, 100 * point.value(average)),
            xytext=(0, 6),
            ha="center",
            textcoords="offset points",
            fontsize=8,
            path_effects=HALO,
            annotation_clip=True,
        )


def _draw_two_stages(axes: Axes, entry: TwoStages, average: Average, style: str) -> None:
    # the learned selector is what the output of stage 1 is judged by
    left_out = {"learned", "expected gain"} if "gain output" in entry.curves else set()
    for selector, color in COLOURS.items():
        if selector not in entry.curves or selector in left_out:
            continue
        axes.plot(
            entry.cost[selector],
            100 * entry.curves[selector].scores(average),
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
