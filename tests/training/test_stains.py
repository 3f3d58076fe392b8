"""Stains against images painted from known ones, by the Beer-Lambert law."""

from __future__ import annotations

import numpy as np
import pytest

from napari_twostage.training.config import Augmentation
from napari_twostage.training.datasets.stains import estimate_stains, transfer_matrix
from napari_twostage.training.loop.colours import recolour

HAEMATOXYLIN = np.array([0.65, 0.70, 0.29])
EOSIN = np.array([0.07, 0.99, 0.11])
BLUER = np.array([0.80, 0.55, 0.24])
"""Haematoxylin of another laboratory."""
STILL = Augmentation(
    brightness=0.0, contrast=0.0, gamma=0.0, stain=0.0, grey=0.0, blur=0.0, stain_transfer=1.0
)


def amounts(seed: int = 0) -> np.ndarray:
    """(64, 64, 2) amounts of haematoxylin and eosin; nuclei on tissue on glass."""
    rng = np.random.default_rng(seed)
    given = np.zeros((64, 64, 2))
    given[:48, :, 1] = 0.5 + 0.2 * rng.random((48, 64))
    given[10:30, 10:40] = np.stack([0.8 + 0.2 * rng.random((20, 30)), np.zeros((20, 30))], -1)
    return given


def paint(given: np.ndarray, stains: list[np.ndarray], white: float = 1.0) -> np.ndarray:
    """8-bit image of these amounts of stain: white * exp(-amounts @ stains)."""
    vectors = np.array([stain / np.linalg.norm(stain) for stain in stains])
    return np.rint(255 * white * np.exp(-given @ vectors)).astype(np.uint8)


@pytest.mark.parametrize("white", [1.0, 0.6])
def test_stains_and_white_are_found_in_what_was_painted(white: float) -> None:
    profile = estimate_stains(paint(amounts(), [HAEMATOXYLIN, EOSIN], white))
    assert profile is not None
    for found, truth in zip(profile.vectors, (HAEMATOXYLIN, EOSIN), strict=False):
        assert found @ truth / np.linalg.norm(truth) > 0.995
    np.testing.assert_allclose(profile.white, white, atol=0.01)
    np.testing.assert_allclose(profile.densities, (1.0, 0.7, 1.0), atol=0.05)


def test_images_without_two_stains_have_no_profile() -> None:
    grey = np.repeat(np.linspace(0, 255, 4096).astype(np.uint8).reshape(64, 64, 1), 3, axis=2)
    assert estimate_stains(grey) is None
    assert estimate_stains(np.full((64, 64, 3), 240, np.uint8)) is None


def test_an_image_takes_on_the_stains_and_the_white_of_another() -> None:
    """The result is what painting the same amounts with the other stains gives."""
    image = paint(amounts(), [HAEMATOXYLIN, EOSIN], 0.6)
    wanted = paint(amounts(), [BLUER, EOSIN], 0.95)
    own = estimate_stains(image)
    other = estimate_stains(paint(amounts(seed=1), [BLUER, EOSIN], 0.95))
    assert own is not None
    assert other is not None
    changed = recolour(
        image, STILL, np.random.default_rng(0), bright_field=True, own=own, other=other
    )
    assert np.abs(changed.astype(int) - wanted).mean() < 4
    assert np.abs(image.astype(int) - wanted).mean() > 40
    np.testing.assert_allclose(transfer_matrix(own, own), np.eye(3), atol=1e-4)


def test_nothing_changes_where_nothing_is_to_change() -> None:
    still = Augmentation(brightness=0, contrast=0, gamma=0, stain=0, grey=0, blur=0)
    image = paint(amounts(), [HAEMATOXYLIN, EOSIN], 0.8)
    for bright_field in (True, False):
        same = recolour(image, still, np.random.default_rng(0), bright_field=bright_field)
        assert np.abs(same.astype(int) - image).max() <= 1


def test_the_white_of_a_dim_slide_is_raised() -> None:
    """Glass at 150 of 255 comes to lie within the range that is asked for."""
    image = paint(amounts(), [HAEMATOXYLIN, EOSIN], 0.6)
    raised = Augmentation(
        brightness=0, contrast=0, gamma=0, stain=0, grey=0, blur=0, white=(0.9, 1.0)
    )
    own = estimate_stains(image)
    rng = np.random.default_rng(0)
    glass = [
        int(recolour(image, raised, rng, bright_field=True, own=own)[60, 30].mean())
        for _ in range(40)
    ]
    assert max(glass) <= 255
    assert min(glass) == pytest.approx(0.6 * 255, abs=3), "some keep their white"
    assert np.mean(np.array(glass) > 0.76 * 255) == pytest.approx(0.7, abs=0.2)


def test_degraded_crops_stay_near_the_image() -> None:
    image = paint(amounts(), [HAEMATOXYLIN, EOSIN])
    worn = Augmentation(
        brightness=0, contrast=0, gamma=0, stain=0, grey=0,
        blur=1, blur_px=1.2, jpeg=1, noise=0.03,
    )  # fmt: skip
    changed = recolour(image, worn, np.random.default_rng(0), bright_field=True)
    difference = np.abs(changed.astype(int) - image).mean()
    assert 1 < difference < 15
