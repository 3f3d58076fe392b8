"""The frontier of single models, against which two stages of the same cost are compared."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.training.evaluation.metrics import Interval
from training.frontier.curves import cheapest
from training.frontier.scores import score

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from training.frontier.scores import Average, ImageCounts

    Values = NDArray[np.float64]


@dataclass(frozen=True)
class Point:
    """Quality and cost of one method over all test images."""

    name: str
    cost: float
    """Share of the dense run's cost."""
    counts: ImageCounts
    """(seeds, images)."""

    def value(self, average: Average) -> float:
        """Dice in [0, 1], averaged over seeds."""
        return float(score(self.counts, average))

    def values(self, average: Average, weights: Values) -> Values:
        """(rounds,) Dice in each round of a bootstrap."""
        return score(self.counts, average, weights)


def bootstrap_cheapest(cost: NDArray[np.floating], along: Values, goals: Values) -> Interval:
    """Smallest cost at which a curve reaches its goal, in the rounds of a bootstrap.

    Parameters
    ----------
    cost : (p,) float array
        Increasing.
    along : (p, rounds) float array
        Dice along the curve.
    goals : (rounds,) float array
        Dice that the curve must reach.

    Returns
    -------
    Interval
        At most 1: a round that reaches its goal later or never counts as the dense run.
    """
    reached = np.array(
        [cheapest(cost, row, goal) for row, goal in zip(along.T, goals, strict=True)]
    )
    costs = np.fmin(reached, 1.0)  # fmin ignores NaN
    low, high = np.percentile(costs, [2.5, 97.5])
    return Interval(float(costs.mean()), float(low), float(high))


def frontier_of(singles: Sequence[Point], average: Average = "images") -> list[Point]:
    """Single models that no mixture of others beats: convex hull over the logarithm of cost."""

    def slope(a: Point, b: Point) -> float:
        return (b.value(average) - a.value(average)) / float(np.log(b.cost / a.cost))

    hull: list[Point] = []
    for point in sorted(singles, key=lambda point: (point.cost, -point.value(average))):
        if hull and point.value(average) <= hull[-1].value(average):
            continue
        while len(hull) > 1 and slope(hull[-2], point) >= slope(hull[-2], hull[-1]):
            hull.pop()
        hull.append(point)
    return hull


def single_at(
    hull: Sequence[Point], cost: float, average: Average = "images", weights: Values | None = None
) -> Values:
    """Dice of single models at a cost, interpolated between two of the frontier.

    Interpolation is linear in the logarithm of cost. It favours single models, since no model
    between the two exists; outside the frontier its nearest end is used. An array of no dimension,
    or (rounds,) with the weights of a bootstrap.
    """
    if cost <= hull[0].cost:
        return score(hull[0].counts, average, weights)
    for cheap, dear in pairwise(hull):
        if cost <= dear.cost:
            share = np.log(cost / cheap.cost) / np.log(dear.cost / cheap.cost)
            low, high = (score(point.counts, average, weights) for point in (cheap, dear))
            return np.asarray(low + share * (high - low))
    return score(hull[-1].counts, average, weights)
