"""Objects found and missed, in the open and on borders of tiles."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from training.object_matching import ObjectCounts, match_objects

TILE = 32


def squares(*corners: tuple[int, int], side: int = 10) -> np.ndarray:
    mask = np.zeros((96, 96), np.uint8)
    for top, left in corners:
        mask[top : top + side, left : left + side] = 1
    return mask


def test_objects_are_matched_missed_and_invented() -> None:
    truth = squares((2, 2), (2, 40), (70, 70))
    predicted = squares((3, 2), (70, 71), (50, 4))
    found, at_borders = match_objects(predicted, truth, TILE)
    assert found == ObjectCounts(2, 1, 1)
    assert found.f1 == pytest.approx(2 / 3)
    assert at_borders == ObjectCounts(0, 0, 0)
    assert at_borders.f1 == 1.0


def test_objects_that_tiles_cut_are_counted_apart() -> None:
    cut, whole = (28, 4), (70, 70)
    truth = squares(cut, whole)
    broken = truth.copy()
    broken[32:, :32] = 0  # what a seam would do: four rows of ten are left
    assert match_objects(truth, truth, TILE) == (ObjectCounts(2, 0, 0), ObjectCounts(1, 0, 0))
    found, at_borders = match_objects(broken, truth, TILE)
    assert found == ObjectCounts(1, 1, 1)
    assert at_borders == ObjectCounts(0, 1, 0)  # the rest of it lies in one tile


def test_specks_and_half_overlaps_are_not_found() -> None:
    truth = squares((2, 2))
    half = squares((2, 2))
    half[7:] = 0
    assert match_objects(half, truth, TILE)[0] == ObjectCounts(0, 1, 1)  # exactly one half
    specks = squares((2, 2), side=3)
    assert match_objects(specks, np.zeros_like(truth), TILE)[0] == ObjectCounts(0, 0, 0)


def test_counts_agree_with_a_count_by_hand_on_random_masks() -> None:
    rng = np.random.default_rng(0)
    truth = ndimage.gaussian_filter(rng.random((96, 96)), 3) > 0.5
    predicted = ndimage.gaussian_filter(truth + rng.normal(0, 0.7, truth.shape), 2) > 0.5
    found, _ = match_objects(predicted, truth, TILE)
    a, n = ndimage.label(predicted)
    b, m = ndimage.label(truth)
    large_a = {i for i in range(1, n + 1) if (a == i).sum() >= 16}
    large_b = {j for j in range(1, m + 1) if (b == j).sum() >= 16}
    pairs = {
        (i, j)
        for i in range(1, n + 1)
        for j in large_b
        if ((a == i) & (b == j)).sum() / ((a == i) | (b == j)).sum() > 0.5
    }
    assert found.true_positives == len(pairs) > 0
    assert found.false_negatives == len(large_b - {j for _, j in pairs})
    assert found.false_positives == len(large_a - {i for i, _ in pairs})


def test_counts_of_images_add_up() -> None:
    assert ObjectCounts(1, 2, 3).plus(ObjectCounts(4, 5, 6)) == ObjectCounts(5, 7, 9)
