"""The frontier of single models, against which two stages of the same cost are compared."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.training.evaluation.metrics import Interval, resample_means
from training.frontier.curves import cheapest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Point:
    """Quality and cost of one method over all test images."""

    name: str
    cost: float
    """Share of the dense run's cost."""
    dice: NDArray[np.float64]
    """(images,) Dice, averaged over seeds."""
    pooled: float
    """Dice of all pixels together."""

    @property
    def mean(self) -> float:
        """Dice, averaged over images."""
        return float(self.dice.mean())


def bootstrap_cheapest(
    cost: NDArray[np.floating],
    dice: NDArray[np.float64],
    goal: NDArray[np.float64],
    groups: Sequence[str],
    seed: int = 0,
) -> Interval:
    """Smallest cost at which a curve reaches its goal, by resampling groups of images.

    Parameters
    ----------
    cost : (p,) float array
        Increasing.
    dice : (p, images) float array
        Dice along the curve.
    goal : (images,) float array
        Dice per image that the curve's mean must reach.
    groups : sequence of str
        Group of each image.
    seed : int

    Returns
    -------
    Interval
        At most 1: a resample that reaches its goal later or never counts as the dense run.
    """
    means = resample_means(np.concatenate([dice, goal[None]]), groups, seed)
    reached = np.array([cheapest(cost, row[:-1], row[-1]) for row in means])
    costs = np.fmin(reached, 1.0)  # fmin ignores NaN
    low, high = np.percentile(costs, [2.5, 97.5])
    return Interval(float(costs.mean()), float(low), float(high))


def frontier_of(singles: Sequence[Point]) -> list[Point]:
    """Single models that no mixture of others beats: convex hull over the logarithm of cost."""
    hull: list[Point] = []
    for point in sorted(singles, key=lambda point: (point.cost, -point.mean)):
        if hull and point.mean <= hull[-1].mean:
            continue
        while len(hull) > 1 and _slope(hull[-2], point) >= _slope(hull[-2], hull[-1]):
            hull.pop()
        hull.append(point)
    return hull


def single_at(hull: Sequence[Point], cost: float) -> NDArray[np.float64]:
    """(images,) Dice of single models at a cost, interpolated between two of the frontier.

    Interpolation is linear in the logarithm of cost, image by image. It favours single models,
    since no model between the two exists; outside the frontier its nearest end is used.
    """
    if cost <= hull[0].cost:
        return hull[0].dice
    for cheap, dear in pairwise(hull):
        if cost <= dear.cost:
            share = np.log(cost / cheap.cost) / np.log(dear.cost / cheap.cost)
            return np.asarray(cheap.dice + share * (dear.dice - cheap.dice))
    return hull[-1].dice


def _slope(a: Point, b: Point) -> float:
    return (b.mean - a.mean) / float(np.log(b.cost / a.cost))
