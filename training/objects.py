"""Objects found and missed, in the open and on the borders of tiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

OVERLAP = 0.5
"""Intersection over union above which an object counts as found; above a half, at most one can."""
SMALLEST_PX = 16
"""Specks of fewer pixels are no objects."""


class Found(NamedTuple):
    """Counts of objects; counts of several images add up."""

    matched: int
    missed: int
    """In the truth only."""
    invented: int
    """In the prediction only."""

    @property
    def f1(self) -> float:
        """2 matched / (2 matched + missed + invented); 1 where there is nothing to find."""
        total = 2 * self.matched + self.missed + self.invented
        return 2 * self.matched / total if total else 1.0

    def plus(self, other: Found) -> Found:
        """Counts of both."""
        return Found(*(a + b for a, b in zip(self, other, strict=True)))


def match_objects(
    predicted: NDArray[np.generic], truth: NDArray[np.generic], tile_px: int
) -> tuple[Found, Found]:
    """Match connected regions of two masks, apart for those that tiles cut.

    Parameters
    ----------
    predicted, truth : (H, W) arrays
        Nonzero is foreground.
    tile_px : int
        Side of the tiles of a grid that starts at the corner.

    Returns
    -------
    Found, Found
        All objects, and those that lie in several tiles.
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
) -> Found:
    """Count objects that are listed; a partner may be one that is not."""
    missed, invented = listed_b.copy(), listed_a.copy()
    missed[pairs[:, 1]] = False
    invented[pairs[:, 0]] = False
    return Found(len(pairs), int(missed.sum()), int(invented.sum()))


def _label(mask: NDArray[np.generic]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Numbered regions, and how large each is; 0 is the ground."""
    numbered, count = ndimage.label(mask.astype(bool))
    return numbered, np.bincount(numbered.ravel(), minlength=count + 1)


def _cut(numbered: NDArray[np.int32], count: int, tile_px: int) -> NDArray[np.bool_]:
    """Which regions have pixels on both sides of a border between tiles."""
    cut = np.zeros(count, bool)
    for plane in (numbered, numbered.T):
        lines = np.arange(tile_px, plane.shape[0], tile_px)
        before, after = plane[lines - 1], plane[lines]
        cut[np.unique(before[before == after])] = True
    return cut
