"""Metrics against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from napari_twostage.training.evaluation.metrics import (
    bootstrap_interval,
    class_dice,
    class_iou,
    dice,
    iou,
    pooled_dice,
)

FOUR = np.array([[1, 1, 1, 1, 0, 0]])
SHARES_TWO = np.array([[0, 0, 1, 1, 1, 1]])
EMPTY = np.zeros((1, 6), int)


def test_dice_by_hand() -> None:
    assert dice(FOUR, SHARES_TWO, smooth=0) == pytest.approx(2 * 2 / 8)
    assert dice(FOUR, SHARES_TWO) == pytest.approx((2 * 2 + 1) / (8 + 1))
    assert dice(FOUR, FOUR) == 1
    assert dice(EMPTY, EMPTY) == 1
    assert dice(FOUR, EMPTY) == pytest.approx(1 / 5)


def test_intersection_over_union_by_hand() -> None:
    assert iou(FOUR, SHARES_TWO, smooth=0) == pytest.approx(2 / 6)
    assert iou(FOUR, SHARES_TWO) == pytest.approx((2 + 1) / (6 + 1))
    assert iou(FOUR, FOUR) == iou(EMPTY, EMPTY) == 1


def test_without_smoothing_dice_and_intersection_over_union_say_the_same() -> None:
    shared = iou(FOUR, SHARES_TWO, smooth=0)
    assert dice(FOUR, SHARES_TWO, smooth=0) == pytest.approx(2 * shared / (1 + shared))


def test_each_class_counts_apart() -> None:
    truth = np.array([[0, 1, 1, 2, 2, 2]])
    predicted = np.array([[1, 1, 1, 2, 2, 0]])
    assert class_dice(predicted, truth, 2) == pytest.approx((5 / 6, 5 / 6))
    assert class_iou(predicted, truth, 2) == pytest.approx((3 / 4, 3 / 4))
    assert class_dice(predicted, truth, 3)[2] == 1  # nowhere, and not predicted
    assert class_dice(FOUR, SHARES_TWO, 1) == (dice(FOUR, SHARES_TWO),)


def test_any_nonzero_value_is_foreground() -> None:
    assert dice(FOUR * 255, FOUR > 0) == 1
    assert pooled_dice([(FOUR * 255, FOUR > 0)]) == 1


def test_pooled_dice_counts_pixels_not_images() -> None:
    assert pooled_dice([(FOUR, SHARES_TWO), (EMPTY, EMPTY)]) == pytest.approx(4 / 8)
    assert pooled_dice([(FOUR, FOUR), (EMPTY, SHARES_TWO)]) == pytest.approx(8 / 12)
    assert pooled_dice([(EMPTY, EMPTY)]) == 1


def test_the_interval_holds_the_mean_and_narrows_with_more_images() -> None:
    few, many = [0.2, 0.4, 0.9], [0.2, 0.4, 0.9] * 30
    for values in (few, many):
        low, high = bootstrap_interval(values)
        assert low < np.mean(values) < high
    assert np.ptp(bootstrap_interval(many)) < np.ptp(bootstrap_interval(few))
    assert bootstrap_interval([0.5, 0.5]) == (0.5, 0.5)
