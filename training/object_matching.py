"""Object-level F1: all objects, and those cut by tile borders."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

OVERLAP = 0.5
"""Intersection over union above which objects match; above 0.5 at most one object can."""
SMALLEST_PX = 16
"""Regions with fewer pixels are ignored."""


class ObjectCounts(NamedTuple):
    """Numbers of objects; counts of several images can be added."""

    true_positives: int
    """Objects of the truth that the prediction matches."""
    false_negatives: int
    """Objects in the truth only."""
    false_positives: int
    """Objects in the prediction only."""

    @property
    def f1(self) -> float:
        """F1 score, 2 TP / (2 TP + FN + FP); 1 if there are no objects."""
        total = 2 * self.true_positives + self.false_negatives + self.false_positives
        return 2 * self.true_positives / total if total else 1.0

    def plus(self, other: ObjectCounts) -> ObjectCounts:
        """Sum of both counts."""
        return ObjectCounts(*(a + b for a, b in zip(self, other, strict=True)))


def match_objects(
    predicted: NDArray[np.generic], truth: NDArray[np.generic], tile_px: int
) -> tuple[ObjectCounts, ObjectCounts]:
    """Match connected regions of two masks, and separately those that tile borders cut.

    Parameters
    ----------
    predicted, truth : (H, W) arrays
        Nonzero is foreground.
    tile_px : int
        Side of the tiles; the grid starts at the top left corner.

    Returns
    -------
    ObjectCounts, ObjectCounts
        Counts of all objects, and of those that lie in several tiles.
    """
    (a, sizes_a), (b, sizes_b) = _label(predicted), _label(truth)
    shared = np.zeros((len(sizes_a), len(sizes_b)), np.int64)
    np.add.at(shared, (a.ravel(), b.ravel()), 1)
    union = sizes_a[:, None] + sizes_b[None] - shared
    matches = np.argwhere(shared[1:, 1:] > OVERLAP * union[1:, 1:]) + 1
    real_a, real_b = sizes_a >= SMALLEST_PX, sizes_b >= SMALLEST_PX
    real_a[0] = real_b[0] = False
    cut_a, cut_b = _cut(a, len(sizes_a), tile_px), _cut(b, len(sizes_b), tile_px)
    pairs = matches[real_b[matches[:, 1]]]
    return (
        _count(pairs, real_a, real_b),
        _count(pairs[cut_b[pairs[:, 1]]], real_a & cut_a, real_b & cut_b),
    )


def _count(
    pairs: NDArray[np.intp], listed_a: NDArray[np.bool_], listed_b: NDArray[np.bool_]
) -> ObjectCounts:
    """Count the listed objects; their matches need not be listed."""
    negatives, positives = listed_b.copy(), listed_a.copy()
    negatives[pairs[:, 1]] = False
    positives[pairs[:, 0]] = False
    return ObjectCounts(len(pairs), int(negatives.sum()), int(positives.sum()))


def _label(mask: NDArray[np.generic]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Numbered regions and their sizes in pixels; 0 is the background."""
    numbered, count = ndimage.label(mask.astype(bool))
    return numbered, np.bincount(numbered.ravel(), minlength=count + 1)


def _cut(numbered: NDArray[np.int32], count: int, tile_px: int) -> NDArray[np.bool_]:
    """Whether each region has pixels on both sides of a tile border."""
    cut = np.zeros(count, bool)
    for plane in (numbered, numbered.T):
        lines = np.arange(tile_px, plane.shape[0], tile_px)
        before, after = plane[lines - 1], plane[lines]
        cut[np.unique(before[before == after])] = True
    return cut
