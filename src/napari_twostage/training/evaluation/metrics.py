"""Quality of a segmentation: Dice, intersection over union, bootstrap intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

RESAMPLES = 4000
"""Bootstrap rounds over groups."""


def dice(predicted: NDArray[np.generic], truth: NDArray[np.generic], smooth: float = 1.0) -> float:
    """Dice coefficient of two masks, in (0, 1].

    Parameters
    ----------
    predicted, truth : (H, W) array
        Nonzero is foreground.
    smooth : float
        Added to numerator and denominator, 1 in the paper; two empty masks then have Dice 1.
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
    """Dice of each foreground class against everything else.

    Parameters
    ----------
    predicted, truth : (H, W) integer array
        0 is the background, 1 to `classes` are the classes.
    classes : int
        Number of foreground classes.
    """
    return tuple(dice(predicted == value, truth == value) for value in range(1, classes + 1))


def mean_dice(predicted: NDArray[np.uint8], truth: NDArray[np.uint8], classes: int) -> float:
    """Dice of an image, averaged over its foreground classes."""
    return float(np.mean(class_dice(predicted, truth, classes)))


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


class Interval(NamedTuple):
    """A mean and its 95 % interval."""

    mean: float
    low: float
    high: float


def bootstrap_groups(values: NDArray[np.float64], groups: Sequence[str], seed: int = 0) -> Interval:
    """Mean and 95 % interval, by resampling groups of images (GlaS: patients).

    Parameters
    ----------
    values : (images,) float array
        Dice of each image, or a difference of two, which makes the test a paired one.
    groups : sequence of str
        Group of each image.
    seed : int
    """
    means = resample_means(values[None], groups, seed)[:, 0]
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(float(values.mean()), float(low), float(high))


def describe_difference(values: NDArray[np.float64], groups: Sequence[str]) -> str:
    """Mean difference in Dice points with its interval, such as ``-0.47 [-0.71, -0.24]``."""
    return describe_resampled(float(values.mean()), resample_means(values[None], groups, 0)[:, 0])


def resample_means(
    values: NDArray[np.float64], groups: Sequence[str], seed: int
) -> NDArray[np.float64]:
    """Means of (k, images) values over groups drawn with replacement: (`RESAMPLES`, k)."""
    times = resample_weights(groups, seed)
    return np.asarray(times @ values.T / times.sum(axis=1)[:, None])


def resample_weights(groups: Sequence[str], seed: int) -> NDArray[np.float64]:
    """How often each image is drawn with its group, with replacement: (`RESAMPLES`, images)."""
    names, owner = np.unique(np.asarray(groups), return_inverse=True)
    drawn = np.random.default_rng(seed).integers(0, len(names), (RESAMPLES, len(names)))
    times = np.stack([np.bincount(row, minlength=len(names)) for row in drawn]).astype(float)
    return times[:, owner]


def describe_resampled(value: float, resampled: NDArray[np.float64]) -> str:
    """Difference in Dice points with its 95 % interval, such as ``-0.47 [-0.71, -0.24]``."""
    low, high = np.percentile(resampled, [2.5, 97.5])
    return f"{100 * value:+.2f} [{100 * low:+.2f}, {100 * high:+.2f}]"
