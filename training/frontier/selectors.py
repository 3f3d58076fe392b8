"""Orders in which tiles of many images are refined: by score, at random, by two oracles."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from training.frontier.scores import LEAST_FOREGROUND
from training.frontier.tallies import SMOOTH, Counts, ImageTally

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from training.frontier.scores import Average

CHANGE_ORACLE, LABEL_ORACLE, RANDOM = "change oracle", "label oracle", "random"


class TileOrder(NamedTuple):
    """All tiles of all images in the order of refinement."""

    owners: NDArray[np.intp]
    """(n,) image index of each tile."""
    tiles: NDArray[np.intp]
    """(n,) index of each tile within its image."""


def rank(tallies: Sequence[ImageTally], scores: Sequence[NDArray[np.float64]]) -> TileOrder:
    """Order tiles by score, the highest first; ties keep their order.

    Parameters
    ----------
    tallies : sequence of ImageTally
    scores : sequence of (n,) arrays
        Scores of the tiles of each image.
    """
    sizes = [len(values) for values in scores]
    order = np.argsort(-np.concatenate(scores), kind="stable")
    owners = np.repeat(np.arange(len(tallies)), sizes)
    tiles = np.concatenate([np.arange(size) for size in sizes])
    return TileOrder(owners[order], tiles[order])


def rank_by(tallies: Sequence[ImageTally], selector: str) -> TileOrder:
    """Order tiles by the scores of a selector, or by how many of their pixels change."""
    if selector == CHANGE_ORACLE:
        return rank(tallies, [image.changed.astype(np.float64) for image in tallies])
    return rank(tallies, [image.scores[selector] for image in tallies])


def rank_randomly(tallies: Sequence[ImageTally], seed: int) -> TileOrder:
    """Order tiles at random."""
    rng = np.random.default_rng(seed)
    return rank(tallies, [rng.random(len(image.changed)) for image in tallies])


class OracleCurve(NamedTuple):
    """Best Dice that any choice of tiles can reach."""

    tiles: NDArray[np.intp]
    """Total number of refined tiles."""
    dice: NDArray[np.float64]
    """Dice of the images, averaged as asked for."""


def label_oracle(tallies: Sequence[ImageTally], average: Average = "images") -> OracleCurve:
    """Choose tiles with knowledge of the truth: an upper bound for every selector.

    For each image, or for all pixels together, `best_sets` gives the best Dice for every number of
    tiles; across images, tiles go where the next ones gain most. That is exact at the corners of
    the concave hulls, which are the points returned.
    """
    if average == "pooled":
        counted = [_together(tallies)]
    elif average == "foreground":
        counted = [one for one in tallies if one.truth > LEAST_FOREGROUND * one.pixels]
    else:
        counted = list(tallies)
    steps: list[tuple[float, int, float]] = []  # slope, tiles, gain
    start = 0.0
    for image in counted:
        best = best_sets(image)
        start += best[0]
        corners = _concave(best)
        for first, last in pairwise(corners):
            gain = best[last] - best[first]
            steps.append((gain / (last - first), last - first, gain))
    steps.sort(key=lambda step: -step[0])
    tiles = np.cumsum([0, *(count for _, count, _ in steps)])
    gains = np.cumsum([start, *(gain for _, _, gain in steps)])
    return OracleCurve(tiles.astype(np.intp), gains / len(counted))


def _together(tallies: Sequence[ImageTally]) -> ImageTally:
    """All images as one."""

    def joined(state: str) -> Counts:
        parts = [getattr(image, state) for image in tallies]
        return Counts(
            np.concatenate([part.true_positives for part in parts]),
            np.concatenate([part.predicted for part in parts]),
        )

    changed = np.concatenate([image.changed for image in tallies])
    return ImageTally(
        name="all",
        group="all",
        shape=(1, len(changed)),
        pixels=sum(image.pixels for image in tallies),
        truth=sum(image.truth for image in tallies),
        coarse=joined("coarse"),
        refined=joined("refined"),
        changed=changed,
    )


def best_sets(image: ImageTally) -> NDArray[np.float64]:
    """Highest Dice that refining 0, 1, ... n tiles of an image can reach.

    Dice is a ratio of sums over tiles. Of all sets of at most k tiles, the best one for a trial
    value d of Dice takes the k largest positive 2·TP − d·predicted, with TP the true positives;
    its own Dice is the next trial value, until it no longer changes (Dinkelbach, Management
    Science 1967).
    """
    gained, predicted = (
        image.gained_true_positives.astype(float),
        image.gained_predicted.astype(float),
    )
    first_shared = 2 * float(image.coarse.true_positives.sum()) + SMOOTH
    first_total = float(image.coarse.predicted.sum()) + image.truth + SMOOTH
    best = [first_shared / first_total]
    for count in range(1, len(gained) + 1):
        dice = best[-1]
        while True:
            worth = 2 * gained - dice * predicted
            taken = np.argsort(-worth, kind="stable")[:count]
            taken = taken[worth[taken] > 0]
            found = (first_shared + 2 * gained[taken].sum()) / (
                first_total + predicted[taken].sum()
            )
            if found <= dice + 1e-12:
                break
            dice = found
        best.append(dice)
        if count > len(taken):  # no further tile helps
            best += [dice] * (len(gained) - count)
            break
    return np.array(best)


def _concave(values: NDArray[np.float64]) -> list[int]:
    """Corners of the upper convex hull of points (0, values[0]), (1, values[1]), ..."""
    hull: list[int] = []
    for place in range(len(values)):
        while len(hull) > 1:
            a, b = hull[-2:]
            if (values[b] - values[a]) * (place - a) > (values[place] - values[a]) * (b - a):
                break
            hull.pop()
        hull.append(place)
    return hull
