"""Quality of numbered objects against true ones: F1, average precision's parts, PQ and AJI."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

OVERLAP = 0.5
"""Intersection over union above which objects match: at most one object can."""


class ObjectQuality(NamedTuple):
    """Counts over one image or several; those of images can be summed by `total`."""

    matched: int
    """Pairs of objects that overlap by more than half."""
    predicted: int
    true: int
    overlap: float
    """Sum of the intersections over unions of matched pairs."""
    shared_px: int
    """Pixels that true objects share with the predicted object of largest overlap."""
    joint_px: int
    """Pixels of those pairs' unions, and of what is in no pair."""

    @property
    def f1(self) -> float:
        """F1 at an IoU of 0.5; 1 if there are no objects at all."""
        return (
            2 * self.matched / (self.predicted + self.true) if self.predicted + self.true else 1.0
        )

    @property
    def panoptic_quality(self) -> float:
        """Mean IoU of matched pairs times F1; Kirillov et al., CVPR 2019."""
        return self.overlap / self.matched * self.f1 if self.matched else float(not self.true)

    @property
    def aggregated_jaccard(self) -> float:
        """Aggregated Jaccard index; Kumar et al., IEEE Trans. Med. Imaging 2017."""
        return self.shared_px / self.joint_px if self.joint_px else 1.0


def total(parts: Iterable[ObjectQuality]) -> ObjectQuality:
    """Sum of counts."""
    return ObjectQuality(*map(sum, zip(*parts, strict=True)))


def compare_objects(
    predicted: NDArray[np.integer], true: NDArray[np.integer], *, least_px: int = 1
) -> ObjectQuality:
    """Compare two (H, W) images of object numbers, 0 for the background.

    Parameters
    ----------
    predicted, true : (H, W) int array
    least_px : int
        Objects with fewer pixels are ignored, on both sides.
    """
    a, sizes_a = _compact(predicted, least_px)
    b, sizes_b = _compact(true, least_px)
    pairs, shared = np.unique(
        (a.astype(np.int64) * len(sizes_b) + b)[(a > 0) & (b > 0)], return_counts=True
    )
    first, second = pairs // len(sizes_b), pairs % len(sizes_b)
    union = sizes_a[first] + sizes_b[second] - shared
    iou = shared / union
    match = iou > OVERLAP
    # the predicted object of largest overlap, for every true one
    best = np.lexsort((iou, second))
    last = np.append(second[best][1:] != second[best][:-1], True)[: len(best)]
    best = best[last]
    unused = np.setdiff1d(np.arange(1, len(sizes_a)), first[best])
    missed = np.setdiff1d(np.arange(1, len(sizes_b)), second[best])
    outside = int(sizes_a[unused].sum() + sizes_b[missed].sum())
    return ObjectQuality(
        int(match.sum()),
        len(sizes_a) - 1,
        len(sizes_b) - 1,
        float(iou[match].sum()),
        int(shared[best].sum()),
        int(union[best].sum()) + outside,
    )


def _compact(
    numbers: NDArray[np.integer], least_px: int
) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """Numbers 1, 2, ... of the objects that are large enough, and their sizes (0 first)."""
    values, inverse, sizes = np.unique(numbers, return_inverse=True, return_counts=True)
    kept = (values != 0) & (sizes >= least_px)
    new = np.where(kept, np.cumsum(kept), 0)
    return new[inverse].reshape(numbers.shape), np.concatenate([[0], sizes[kept]])
