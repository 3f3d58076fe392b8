"""Curves of Dice against cost: their selectors, their efficiency, where they reach a goal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from training.frontier.scores import ImageCounts, score, stack_seeds
from training.frontier.selectors import (
    CHANGE_ORACLE,
    OracleCurve,
    TileOrder,
    rank_by,
    rank_randomly,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from training.frontier.scores import Average
    from training.frontier.tallies import ImageTally

    Scores = NDArray[np.float64]

FRACTIONS = np.round(np.concatenate([np.arange(0, 0.1, 0.01), np.arange(0.1, 1.0001, 0.025)]), 4)
"""Shares of refined tiles at which curves are evaluated."""
RANDOM_SEEDS = 20


@dataclass(frozen=True)
class DiceCurve:
    """Counts of a set of images as more and more tiles are refined."""

    fractions: NDArray[np.float64]
    """(p,) share of all tiles that are refined."""
    refined: NDArray[np.float64]
    """(p, images) share of an image's tiles that are refined, averaged over seeds."""
    counts: ImageCounts
    """(seeds, p, images)."""

    def scores(self, average: Average, weights: NDArray[np.float64] | None = None) -> Scores:
        """Dice along the curve: (p,), or (p, rounds) with the weights of a bootstrap."""
        return score(self.counts, average, weights)


def trace_order(
    tallies: Sequence[ImageTally],
    order: TileOrder,
    fractions: NDArray[np.float64] = FRACTIONS,
) -> DiceCurve:
    """Evaluate a tile order at these shares of refined tiles, for one seed."""
    images = len(tallies)
    shared = np.array([image.coarse.true_positives.sum() for image in tallies], float)
    predicted = np.array([image.coarse.predicted.sum() for image in tallies], float)
    sizes = np.array([len(image.changed) for image in tallies])
    gained_shared = _gather(tallies, order, "gained_true_positives")
    gained_predicted = _gather(tallies, order, "gained_predicted")
    stops = np.rint(fractions * len(order.owners)).astype(int)
    along, before = [], 0
    count = np.zeros(images)
    for stop in stops:
        part = slice(before, stop)
        owners = order.owners[part]
        shared = shared + np.bincount(owners, gained_shared[part], minlength=images)
        predicted = predicted + np.bincount(owners, gained_predicted[part], minlength=images)
        count = count + np.bincount(owners, minlength=images)
        along.append((shared, predicted, count / sizes))
        before = stop
    all_shared, all_predicted, refined = (np.array(part) for part in zip(*along, strict=True))
    counts = stack_seeds([counts_of(tallies, all_shared, all_predicted)])
    return DiceCurve(fractions, refined, counts)


def average_seeds(curves: Sequence[DiceCurve]) -> DiceCurve:
    """One curve of several seeds at the same shares of tiles."""
    first = curves[0].counts
    shared, predicted = (
        np.concatenate([getattr(curve.counts, name) for curve in curves])
        for name in ("true_positives", "predicted")
    )
    counts = ImageCounts(shared, predicted, first.truth, first.pixels)
    refined = np.mean([curve.refined for curve in curves], axis=0)
    return DiceCurve(curves[0].fractions, refined, counts)


def counts_of(
    tallies: Sequence[ImageTally], shared: NDArray[np.float64], predicted: NDArray[np.float64]
) -> ImageCounts:
    """Counts (..., images) of images as some choice of tiles labels them."""
    truth, pixels = (
        np.array([getattr(image, name) for image in tallies], float) for name in ("truth", "pixels")
    )
    return ImageCounts(shared, predicted, truth, pixels)


def _gather(tallies: Sequence[ImageTally], order: TileOrder, part: str) -> NDArray[np.float64]:
    """Attribute `part` of each tile, in the order of refinement."""
    starts = np.concatenate([[0], np.cumsum([len(image.changed) for image in tallies])])
    values = np.concatenate([getattr(image, part) for image in tallies]).astype(float)
    return np.asarray(values[starts[order.owners] + order.tiles])


def trace_random(tallies: Sequence[ImageTally], seeds: int = RANDOM_SEEDS) -> DiceCurve:
    """Mean curve of many random orders."""
    return average_seeds(
        [trace_order(tallies, rank_randomly(tallies, seed)) for seed in range(seeds)]
    )


def efficiency(
    curve: DiceCurve, chance: DiceCurve, best: DiceCurve, average: Average = "images"
) -> float:
    """Area that a selector gains over chance, as a share of the change oracle's.

    1 is as good as the change oracle, 0 no better than chance; a selector that knows the value of
    a change may exceed 1. NaN if the oracle itself gains nothing.
    """
    found, base, most = (each.scores(average) for each in (curve, chance, best))
    gained = float(np.trapezoid(found - base, curve.fractions))
    possible = float(np.trapezoid(most - base, best.fractions))
    return gained / possible if abs(possible) > 1e-9 else float("nan")


def trace_all(tallies: Sequence[ImageTally], selectors: Sequence[str]) -> dict[str, DiceCurve]:
    """Curves of each selector, of chance and of the change oracle, by name."""
    curves = {name: trace_order(tallies, rank_by(tallies, name)) for name in selectors}
    return curves | {
        "random": trace_random(tallies),
        CHANGE_ORACLE: trace_order(tallies, rank_by(tallies, CHANGE_ORACLE)),
    }


def cheapest(cost: NDArray[np.floating], dice: NDArray[np.floating], goal: float) -> float:
    """Smallest cost at which a curve reaches a Dice, interpolated; NaN if it never does.

    Parameters
    ----------
    cost, dice : (p,) arrays
        Cost increases; Dice may rise and fall.
    goal : float
    """
    reached = np.flatnonzero(dice >= goal)
    if not len(reached):
        return float("nan")
    first = int(reached[0])
    if first == 0:
        return float(cost[0])
    share = (goal - dice[first - 1]) / (dice[first] - dice[first - 1])
    return float(cost[first - 1] + share * (cost[first] - cost[first - 1]))


def oracle_at(oracle: OracleCurve, total: int, fraction: float) -> float:
    """Mean Dice of the label oracle at a share of refined tiles."""
    return float(np.interp(fraction * total, oracle.tiles, oracle.dice))
