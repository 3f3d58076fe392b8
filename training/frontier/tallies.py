"""Pixel counts per tile, from which the Dice of any selection of tiles follows."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

SMOOTH = 1.0
"""Smoothing of Dice, as in `napari_twostage.training.evaluation.metrics.dice`."""


class Counts(NamedTuple):
    """Foreground pixels of each tile, (n,)."""

    true_positives: NDArray[np.int64]
    """Pixels that are both predicted and true foreground."""
    predicted: NDArray[np.int64]
    """Pixels predicted as foreground."""


@dataclass(frozen=True)
class ImageTally:
    """Counts of an image with every tile refined; foreground against background."""

    name: str
    group: str
    """Group that resampling keeps together, such as the patient."""
    shape: tuple[int, int]
    """Rows and columns of tiles."""
    pixels: int
    """Pixels of the image."""
    truth: int
    """Foreground pixels."""
    coarse: Counts
    refined: Counts
    changed: NDArray[np.int64]
    """(n,) pixels whose label refinement changes."""
    expected: tuple[float, float] = (math.nan, math.nan)
    """Dice that the engine predicts: for stage 1, and with every tile refined."""
    scores: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    """(n,) tile scores of each selector."""

    @property
    def gained_true_positives(self) -> NDArray[np.int64]:
        """(n,) true positives that refining a tile adds."""
        return self.refined.true_positives - self.coarse.true_positives

    @property
    def gained_predicted(self) -> NDArray[np.int64]:
        """(n,) predicted pixels that refining a tile adds."""
        return self.refined.predicted - self.coarse.predicted

    def dice(self, selected: NDArray[np.bool_]) -> float:
        """Dice of the image with the tiles of the mask `selected` (n,) refined."""
        shared = self.coarse.true_positives.sum() + self.gained_true_positives[selected].sum()
        predicted = self.coarse.predicted.sum() + self.gained_predicted[selected].sum()
        return dice_of(int(shared), int(predicted), self.truth)


def count_pixels(
    predicted: NDArray[np.generic], truth: NDArray[np.generic]
) -> tuple[int, int, int]:
    """True positives, predicted and true foreground pixels of two (H, W) masks, for `dice_of`."""
    found, real = predicted.astype(bool), truth.astype(bool)
    return int((found & real).sum()), int(found.sum()), int(real.sum())


def dice_of(true_positives: int, predicted: int, truth: int) -> float:
    """Dice from counts of pixels."""
    return (2 * true_positives + SMOOTH) / (predicted + truth + SMOOTH)


def count_tiles(
    coarse: NDArray[np.uint8],
    refined: NDArray[np.uint8],
    mask: NDArray[np.uint8],
    tile_px: int,
) -> tuple[Counts, Counts, NDArray[np.int64]]:
    """Count the foreground of an image, tile by tile.

    Parameters
    ----------
    coarse, refined, mask : (H, W) arrays
        Labels of stage 1, of stage 2 everywhere, and the ground truth; nonzero is foreground.
    tile_px : int
        Side of a tile; tiles of the last row and column may be smaller.

    Returns
    -------
    Counts, Counts, (n,) int array
        Counts before and after refinement, and changed pixels; tiles row by row.
    """
    before, after, truth = (plane > 0 for plane in (coarse, refined, mask))
    return (
        Counts(sum_tiles(before & truth, tile_px), sum_tiles(before, tile_px)),
        Counts(sum_tiles(after & truth, tile_px), sum_tiles(after, tile_px)),
        sum_tiles(before != after, tile_px),
    )


def sum_tiles(plane: NDArray[np.generic], tile_px: int) -> NDArray[np.int64]:
    """Sums of (H, W) values over each tile: (n,), row by row."""
    rows, columns = (np.arange(0, length, tile_px) for length in plane.shape)
    values = plane.astype(np.int64)
    return np.add.reduceat(np.add.reduceat(values, rows, axis=0), columns, axis=1).ravel()
