"""Calibration: the error against values worked out by hand, and the picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from training.reliability import BINS, Reliability

if TYPE_CHECKING:
    from pathlib import Path


def binary(foreground: np.ndarray) -> np.ndarray:
    return np.stack([1 - foreground, foreground])


def test_the_error_by_hand() -> None:
    """Two pixels at 0.9 of which one is foreground, two at 0.1 of which none is."""
    reliability = Reliability()
    reliability.add(binary(np.array([[0.9, 0.9, 0.1, 0.1]])), np.array([[1, 0, 0, 0]]))
    assert reliability.error == pytest.approx((2 * 0.4 + 2 * 0.1) / 4)
    assert reliability.pixels.sum() == 4
    assert np.nanmax(reliability.observed) == 0.5


def test_images_add_up() -> None:
    rng = np.random.default_rng(0)
    probability, truth = rng.random((40, 50)), rng.integers(0, 2, (40, 50))
    whole, parts = Reliability(), Reliability()
    whole.add(binary(probability), truth)
    for rows in (slice(0, 11), slice(11, 40)):
        parts.add(binary(probability[rows]), truth[rows])
    assert whole.error == pytest.approx(parts.error)


def test_what_is_drawn_as_promised_is_calibrated() -> None:
    rng = np.random.default_rng(0)
    probability = rng.random((500, 500))
    reliability = Reliability()
    reliability.add(binary(probability), (rng.random((500, 500)) < probability).astype(int))
    assert reliability.error < 0.01
    reliability.add(binary(probability), np.zeros((500, 500), int))
    assert reliability.error > 0.2


def test_the_ends_belong_to_the_outer_bins() -> None:
    reliability = Reliability()
    reliability.add(binary(np.array([[0.0, 1.0]])), np.array([[0, 1]]))
    assert reliability.pixels[0] == reliability.pixels[BINS - 1] == 1
    assert reliability.error == 0


def test_of_many_classes_the_likeliest_counts() -> None:
    reliability = Reliability()
    probability = np.array([0.2, 0.7, 0.1])[:, None, None].repeat(2, axis=2)
    reliability.add(probability, np.array([[1, 2]]))
    assert reliability.error == pytest.approx(0.7 - 0.5)


def test_the_picture_is_a_png(tmp_path: Path) -> None:
    reliability = Reliability()
    reliability.add(binary(np.array([[0.2, 0.7]])), np.array([[0, 1]]))
    reliability.plot(tmp_path / "reliability.png", "a run")
    with Image.open(tmp_path / "reliability.png") as picture:
        assert picture.format == "PNG"
        assert len(np.unique(np.asarray(picture.convert("L")))) > 2
