"""Labels of both stages compared, tile by tile, where there is no truth to compare with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Labels = NDArray[np.uint8]

STEPS = 1000
"""Thresholds from 0 to 1 that are chosen from, unless a caller states more."""


@dataclass(frozen=True)
class TileChanges:
    """What stage 2 changes in each of n tiles, and their scores."""

    scores: NDArray[np.float32]
    """(n,) score of stage 1."""
    changed: NDArray[np.int64]
    """(n,) pixels whose label changes."""
    pixels: NDArray[np.int64]
    """(n,) all pixels."""
    same: NDArray[np.int64]
    """(n,) pixels that both stages give the same class."""
    coarse: NDArray[np.int64]
    """(n,) pixels that stage 1 gives a class."""
    refined: NDArray[np.int64]
    """(n,) pixels that stage 2 gives a class."""

    @classmethod
    def count(
        cls, scores: NDArray[np.float32], coarse: Sequence[Labels], refined: Sequence[Labels]
    ) -> TileChanges:
        """Compare the labels of tiles, each (height, width) by each stage."""
        counts = [
            ((a != b).sum(), a.size, ((a == b) & (a > 0)).sum(), (a > 0).sum(), (b > 0).sum())
            for a, b in zip(coarse, refined, strict=True)
        ]
        columns = np.array(counts, np.int64).reshape(-1, 5).T
        return cls(np.asarray(scores, np.float32), *columns)

    def __len__(self) -> int:
        return len(self.scores)

    @cached_property
    def order(self) -> NDArray[np.intp]:
        """Tiles, the highest score first."""
        return np.argsort(-self.scores, kind="stable")

    def dice(self) -> NDArray[np.float64]:
        """Agreement with stage 2 once the first 0, 1, ... n tiles in order are refined: (n + 1,).

        All classes together; NaN if neither stage finds any.
        """
        order = self.order
        same = self._along(self.refined[order] - self.same[order], self.same.sum())
        found = self._along(self.refined[order] - self.coarse[order], self.coarse.sum())
        either = (found + self.refined.sum()).astype(np.float64)
        with np.errstate(invalid="ignore"):
            agreement: NDArray[np.float64] = np.where(either > 0, 2 * same / either, np.nan)
        return agreement

    def threshold(self, count: int, steps: int = STEPS) -> float:
        """Highest threshold, in whole steps of 1 / `steps`, that the first `count` tiles exceed."""
        falling = self.scores[self.order]
        if not count:
            return float(np.ceil(falling[0] * steps) / steps)
        below = np.ceil(float(falling[count - 1]) * steps) - 1
        return max(0.0, float(below / steps))

    @staticmethod
    def _along(gains: NDArray[np.int64], start: np.int64) -> NDArray[np.int64]:
        return np.concatenate([[0], np.cumsum(gains)]) + start


class ChangeKinds(NamedTuple):
    """Pixels that stage 2 changes, by what it changes."""

    found: int
    """In objects that stage 1 has nothing of."""
    dropped: int
    """In objects of stage 1 that stage 2 has nothing of."""
    edges: int
    """The rest: outlines, and classes of objects that both find."""


def kinds_of_change(coarse: Labels, refined: Labels) -> ChangeKinds:
    """Sort the pixels that differ between two (H, W) label images."""
    found = _alone(refined, coarse)
    dropped = _alone(coarse, refined)
    return ChangeKinds(found, dropped, int((coarse != refined).sum()) - found - dropped)


def _alone(labels: Labels, other: Labels) -> int:
    """Pixels of connected regions of `labels` in which `other` labels nothing."""
    numbers, count = ndimage.label(labels > 0, np.ones((3, 3)))
    sizes = np.bincount(numbers.ravel(), minlength=count + 1)
    touched = np.bincount(numbers[other > 0], minlength=count + 1) > 0
    return int(sizes[1:][~touched[1:]].sum())
