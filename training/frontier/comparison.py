"""Two stages against single models of the same cost, image by image."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from training.frontier.curves import cheapest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

ROUNDS = 4000
"""Of the bootstrap."""


@dataclass(frozen=True)
class Point:
    """A way of segmenting all test images."""

    name: str
    cost: float
    """As a share of the dense run's."""
    dice: NDArray[np.float64]
    """(images,) averaged over seeds."""
    pooled: float

    @property
    def mean(self) -> float:
        """Dice per image, averaged."""
        return float(self.dice.mean())


class Interval(NamedTuple):
    """A mean and its 95 % interval."""

    mean: float
    low: float
    high: float


def bootstrap(values: NDArray[np.float64], groups: Sequence[str], seed: int = 0) -> Interval:
    """Resample groups of images (GlaS: patients) with replacement.

    Parameters
    ----------
    values : (images,) float array
        Of each image: its Dice, or a difference, which makes the test a paired one.
    groups : sequence of str
        Of each image.
    seed : int
    """
    means = _resample(values[None], groups, seed)[:, 0]
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(float(values.mean()), float(low), float(high))


def describe_difference(values: NDArray[np.float64], groups: Sequence[str]) -> str:
    """A mean difference in points with its interval: ``-0.47 [-0.71, -0.24]``; see `bootstrap`."""
    spread = bootstrap(values, groups)
    return f"{100 * spread.mean:+.2f} [{100 * spread.low:+.2f}, {100 * spread.high:+.2f}]"


def bootstrap_cheapest(
    cost: NDArray[np.floating],
    dice: NDArray[np.float64],
    goal: NDArray[np.float64],
    groups: Sequence[str],
    seed: int = 0,
) -> Interval:
    """Resample groups of images: the smallest cost at which a curve reaches its goal.

    Parameters
    ----------
    cost : (p,) float array
        Rises.
    dice : (p, images) float array
        Along the curve.
    goal : (images,) float array
        What its mean must reach, image by image.
    groups : sequence of str
        Of each image.
    seed : int

    Returns
    -------
    Interval
        At most 1: where a resample reaches its goal later or never, the dense run stands for it.
    """
    means = _resample(np.concatenate([dice, goal[None]]), groups, seed)
    reached = np.array([cheapest(cost, row[:-1], row[-1]) for row in means])
    costs = np.fmin(reached, 1.0)  # NaN is never the smaller one
    low, high = np.percentile(costs, [2.5, 97.5])
    return Interval(float(costs.mean()), float(low), float(high))


def _resample(values: NDArray[np.float64], groups: Sequence[str], seed: int) -> NDArray[np.float64]:
    """Means of (k, images) values over groups drawn with replacement: (ROUNDS, k)."""
    names, owner = np.unique(np.asarray(groups), return_inverse=True)
    belongs = owner[:, None] == np.arange(len(names))
    drawn = np.random.default_rng(seed).integers(0, len(names), (ROUNDS, len(names)))
    times = np.stack([np.bincount(row, minlength=len(names)) for row in drawn]).astype(float)
    sums = times @ (values @ belongs).T
    return np.asarray(sums / (times @ belongs.sum(axis=0))[:, None])


def frontier_of(singles: Sequence[Point]) -> list[Point]:
    """The single models that no mixture of others beats: corners over the logarithm of cost."""
    hull: list[Point] = []
    for point in sorted(singles, key=lambda point: (point.cost, -point.mean)):
        if hull and point.mean <= hull[-1].mean:
            continue
        while len(hull) > 1 and _slope(hull[-2], point) >= _slope(hull[-2], hull[-1]):
            hull.pop()
        hull.append(point)
    return hull


def single_at(hull: Sequence[Point], cost: float) -> NDArray[np.float64]:
    """(images,) Dice of single models at a cost: between two of the frontier, or its nearest end.

    Between two models it is drawn straight over the logarithm of cost, image by image: more than
    they reach, since nothing lies between them that could be run, and so a fair opponent.
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
