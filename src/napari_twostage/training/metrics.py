"""How good a segmentation is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def dice(predicted: NDArray[np.generic], truth: NDArray[np.generic], smooth: float = 1.0) -> float:
    """Dice coefficient of two masks, in (0, 1].

    Parameters
    ----------
    predicted, truth : (H, W) array
        Nonzero is foreground.
    smooth : float
        As the paper has it; 1 makes two empty masks agree.
    """
    a, b = predicted.astype(bool), truth.astype(bool)
    return float((2 * (a & b).sum() + smooth) / (a.sum() + b.sum() + smooth))


def iou(predicted: NDArray[np.generic], truth: NDArray[np.generic], smooth: float = 1.0) -> float:
    """Intersection over union of two masks, in (0, 1]; parameters are those of `dice`."""
    a, b = predicted.astype(bool), truth.astype(bool)
    return float(((a & b).sum() + smooth) / ((a | b).sum() + smooth))


def class_dice(
    predicted: NDArray[np.generic], truth: NDArray[np.generic], classes: int
) -> tuple[float, ...]:
    """Dice of each class against all others, the background left out.

    Parameters
    ----------
    predicted, truth : (H, W) integer array
        0 is the background, 1 to `classes` are the classes.
    classes : int
        Classes beside the background.
    """
    return tuple(dice(predicted == value, truth == value) for value in range(1, classes + 1))


def class_iou(
    predicted: NDArray[np.generic], truth: NDArray[np.generic], classes: int
) -> tuple[float, ...]:
    """Intersection over union of each class; parameters are those of `class_dice`."""
    return tuple(iou(predicted == value, truth == value) for value in range(1, classes + 1))


def pooled_dice(pairs: Sequence[tuple[NDArray[np.generic], NDArray[np.generic]]]) -> float:
    """Dice over the pixels of all images together."""
    shared = sum(int((a.astype(bool) & b.astype(bool)).sum()) for a, b in pairs)
    total = sum(int(a.astype(bool).sum() + b.astype(bool).sum()) for a, b in pairs)
    return 2 * shared / total if total else 1.0


def bootstrap_interval(
    values: Sequence[float], *, rounds: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """95 % interval of the mean, by resampling images."""
    data = np.asarray(values)
    draws = np.random.default_rng(seed).integers(0, len(data), size=(rounds, len(data)))
    low, high = np.percentile(data[draws].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)
