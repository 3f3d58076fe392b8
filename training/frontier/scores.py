"""Dice of a set of images from their pixel counts, averaged in one of three ways."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from training.frontier.tallies import SMOOTH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Values = NDArray[np.float64]

Average = Literal["images", "foreground", "pooled"]
"""Dice averaged over all images, over images with foreground, or of all pixels together.

An image without foreground has a Dice of nearly 0 as soon as a pixel of it is labelled, so where
many are empty the first says more about false positives than about outlines."""
AVERAGES: tuple[Average, ...] = ("images", "foreground", "pooled")
TITLES: dict[Average, str] = {
    "images": "Dice per image (%)",
    "foreground": "Dice of images with foreground (%)",
    "pooled": "pooled Dice (%)",
}
LEAST_FOREGROUND = 0.001
"""Share of foreground above which an image counts as one with foreground."""


@dataclass(frozen=True)
class ImageCounts:
    """Foreground pixels of images as they are labelled: (seeds, ..., images) arrays."""

    true_positives: Values
    predicted: Values
    truth: Values
    """(images,) true foreground pixels."""
    pixels: Values
    """(images,) all pixels."""

    @property
    def dice(self) -> Values:
        """(seeds, ..., images) Dice of each image."""
        return (2 * self.true_positives + SMOOTH) / (self.predicted + self.truth + SMOOTH)

    def at(self, place: int) -> ImageCounts:
        """Counts at one point of a curve."""
        shared, found = self.true_positives[:, place], self.predicted[:, place]
        return ImageCounts(shared, found, self.truth, self.pixels)

    def false_share(self) -> float:
        """Share of labelled pixels in images without any foreground; NaN if there are none."""
        empty = self.truth == 0
        pixels = self.pixels[empty].sum()
        found = self.predicted[..., empty].sum(axis=-1).mean()
        return float(found / pixels) if pixels else float("nan")


def stack_seeds(seeds: Sequence[ImageCounts]) -> ImageCounts:
    """Counts of several seeds, whose arrays have no axis of seeds yet."""
    first = seeds[0]
    shared, found = (
        np.stack([getattr(each, name) for each in seeds])
        for name in ("true_positives", "predicted")
    )
    return ImageCounts(shared, found, first.truth, first.pixels)


def score(counts: ImageCounts, average: Average, weights: Values | None = None) -> Values:
    """Dice of a set of images, averaged over seeds.

    Parameters
    ----------
    counts : ImageCounts
        (seeds, ..., images).
    average : str
    weights : (rounds, images) array, optional
        How often each image counts in each round of a bootstrap.

    Returns
    -------
    (..., rounds) array
        (...) without weights.
    """
    times = np.ones((1, len(counts.truth))) if weights is None else weights
    if average == "foreground":
        times = times * (counts.truth > LEAST_FOREGROUND * counts.pixels)
    if average == "pooled":
        total = counts.predicted @ times.T + counts.truth @ times.T
        values = 2 * (counts.true_positives @ times.T) / np.maximum(total, 1)
    else:
        values = counts.dice @ times.T / np.maximum(times.sum(axis=1), 1)
    mean: Values = values.mean(axis=0)
    return mean[..., 0] if weights is None else mean
