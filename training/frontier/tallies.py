"""What each tile would change, image by image: from it the Dice of any selection follows."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

SMOOTH = 1.0
"""Of Dice, as in `napari_twostage.training.metrics.dice`."""


class Counts(NamedTuple):
    """Foreground pixels of each tile (n,), or of whole images."""

    hits: NDArray[np.int64]
    """Predicted and true."""
    predicted: NDArray[np.int64]


@dataclass(frozen=True)
class ImageTally:
    """An image through both stages, every tile refined; foreground against background."""

    name: str
    group: str
    """Images that resampling keeps together: the patient's."""
    shape: tuple[int, int]
    """Rows and columns of tiles."""
    pixels: int
    """Of the image."""
    truth: int
    """Foreground pixels."""
    coarse: Counts
    refined: Counts
    changed: NDArray[np.int64]
    """(n,) pixels that refinement labels otherwise."""
    expected: tuple[float, float] = (math.nan, math.nan)
    """The Dice that the engine predicts: of stage 1, and with every tile refined."""
    scores: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    """(n,) of each selector."""

    @property
    def gained_hits(self) -> NDArray[np.int64]:
        """(n,) hits that refining a tile adds."""
        return self.refined.hits - self.coarse.hits

    @property
    def gained_predicted(self) -> NDArray[np.int64]:
        """(n,) predicted pixels that refining a tile adds."""
        return self.refined.predicted - self.coarse.predicted

    def dice(self, selected: NDArray[np.bool_]) -> float:
        """Dice of the image with these of its tiles (n,) refined."""
        hits = self.coarse.hits.sum() + self.gained_hits[selected].sum()
        predicted = self.coarse.predicted.sum() + self.gained_predicted[selected].sum()
        return dice_of(int(hits), int(predicted), self.truth)


def count_pixels(
    predicted: NDArray[np.generic], truth: NDArray[np.generic]
) -> tuple[int, int, int]:
    """What `dice_of` takes: hits, predicted and true foreground of two (H, W) masks."""
    found, real = predicted.astype(bool), truth.astype(bool)
    return int((found & real).sum()), int(found.sum()), int(real.sum())


def dice_of(hits: int, predicted: int, truth: int) -> float:
    """Dice from counts of pixels."""
    return (2 * hits + SMOOTH) / (predicted + truth + SMOOTH)


def tally(
    coarse: NDArray[np.uint8],
    refined: NDArray[np.uint8],
    mask: NDArray[np.uint8],
    tile_px: int,
) -> tuple[Counts, Counts, NDArray[np.int64]]:
    """Count an image's foreground, tile by tile.

    Parameters
    ----------
    coarse, refined, mask : (H, W) arrays
        Labels of stage 1, of stage 2 everywhere, and the truth; nonzero is foreground.
    tile_px : int
        Side of a tile; those of the last row and column may be cut.

    Returns
    -------
    Counts, Counts, (n,) int array
        Before, after, and what changes between them; tiles row by row.
    """
    before, after, truth = (plane > 0 for plane in (coarse, refined, mask))
    return (
        Counts(sum_tiles(before & truth, tile_px), sum_tiles(before, tile_px)),
        Counts(sum_tiles(after & truth, tile_px), sum_tiles(after, tile_px)),
        sum_tiles(before != after, tile_px),
    )


def sum_tiles(plane: NDArray[np.generic], tile_px: int) -> NDArray[np.int64]:
    """Sum (H, W) values over each tile: (n,), row by row."""
    rows, columns = (np.arange(0, length, tile_px) for length in plane.shape)
    values = plane.astype(np.int64)
    return np.add.reduceat(np.add.reduceat(values, rows, axis=0), columns, axis=1).ravel()
