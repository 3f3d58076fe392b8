"""Orders in which tiles of many images are refined, the real ones and two that know too much."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from training.frontier.tallies import SMOOTH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from training.frontier.tallies import ImageTally

CHANGE_ORACLE, LABEL_ORACLE, RANDOM = "change oracle", "label oracle", "random"


class Ranking(NamedTuple):
    """All tiles of all images, the first to be refined first."""

    owners: NDArray[np.intp]
    """(n,) image of each."""
    tiles: NDArray[np.intp]
    """(n,) its number in the image."""


def rank(tallies: Sequence[ImageTally], scores: Sequence[NDArray[np.float64]]) -> Ranking:
    """Order tiles by their scores, the highest first; of equal ones the first first.

    Parameters
    ----------
    tallies : sequence of ImageTally
    scores : sequence of (n,) arrays
        One for each image.
    """
    sizes = [len(values) for values in scores]
    order = np.argsort(-np.concatenate(scores), kind="stable")
    owners = np.repeat(np.arange(len(tallies)), sizes)
    tiles = np.concatenate([np.arange(size) for size in sizes])
    return Ranking(owners[order], tiles[order])


def rank_by(tallies: Sequence[ImageTally], selector: str) -> Ranking:
    """Order tiles as a selector does that scored them, or by how much each changes."""
    if selector == CHANGE_ORACLE:
        return rank(tallies, [image.changed.astype(np.float64) for image in tallies])
    return rank(tallies, [image.scores[selector] for image in tallies])


def rank_randomly(tallies: Sequence[ImageTally], seed: int) -> Ranking:
    """Order tiles by chance."""
    rng = np.random.default_rng(seed)
    return rank(tallies, [rng.random(len(image.changed)) for image in tallies])


class OracleCurve(NamedTuple):
    """The best that choosing tiles can do."""

    tiles: NDArray[np.intp]
    """Refined in all."""
    dice: NDArray[np.float64]
    """Mean over images."""


def label_oracle(tallies: Sequence[ImageTally]) -> OracleCurve:
    """Choose tiles with the truth at hand: no selector can be above.

    Of each image, `best_sets` gives the best Dice for every number of tiles; across images, tiles
    go where the next ones bring most. That is exact at the corners of the images' concave
    hulls, which are the points returned.
    """
    steps: list[tuple[float, int, float]] = []  # slope, tiles, gain
    start = 0.0
    for image in tallies:
        best = best_sets(image)
        start += best[0]
        corners = _concave(best)
        for first, last in pairwise(corners):
            gain = best[last] - best[first]
            steps.append((gain / (last - first), last - first, gain))
    steps.sort(key=lambda step: -step[0])
    tiles = np.cumsum([0, *(count for _, count, _ in steps)])
    gains = np.cumsum([start, *(gain for _, _, gain in steps)])
    return OracleCurve(tiles.astype(np.intp), gains / len(tallies))


def best_sets(image: ImageTally) -> NDArray[np.float64]:
    """The highest Dice that refining 0, 1, ... n tiles of an image can reach.

    Dice is a ratio of sums over tiles. Of all sets of at most k tiles, the best one for a trial
    value d of Dice takes the k largest positive 2·hits − d·predicted; its own Dice is the
    next trial, until it stays (Dinkelbach, Management Science 1967).
    """
    hits, predicted = image.gained_hits.astype(float), image.gained_predicted.astype(float)
    first_hits = 2 * float(image.coarse.hits.sum()) + SMOOTH
    first_total = float(image.coarse.predicted.sum()) + image.truth + SMOOTH
    best = [first_hits / first_total]
    for count in range(1, len(hits) + 1):
        dice = best[-1]
        while True:
            worth = 2 * hits - dice * predicted
            taken = np.argsort(-worth, kind="stable")[:count]
            taken = taken[worth[taken] > 0]
            found = (first_hits + 2 * hits[taken].sum()) / (first_total + predicted[taken].sum())
            if found <= dice + 1e-12:
                break
            dice = found
        best.append(dice)
        if count > len(taken):  # no further tile helps
            best += [dice] * (len(hits) - count)
            break
    return np.array(best)


def _concave(values: NDArray[np.float64]) -> list[int]:
    """Corners of the upper hull of points (0, values[0]), (1, values[1]), ..."""
    hull: list[int] = []
    for place in range(len(values)):
        while len(hull) > 1:
            a, b = hull[-2:]
            if (values[b] - values[a]) * (place - a) > (values[place] - values[a]) * (b - a):
                break
            hull.pop()
        hull.append(place)
    return hull
