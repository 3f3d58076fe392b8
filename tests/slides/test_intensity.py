"""One range of values a slide, also where signal is rare."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile

from napari_twostage.slides import open_slide
from napari_twostage.slides.view import to_8_bit

if TYPE_CHECKING:
    from pathlib import Path

GROUND, NOISE = 100, 4


def cells(
    side: int, count: int, *, brightness: int = 3500, radius: int = 12, noise: float = NOISE
) -> tuple[np.ndarray, np.ndarray]:
    """Round cells on a noisy ground, and the mask of their pixels."""
    rng = np.random.default_rng(0)
    plane = rng.normal(GROUND, noise, (side, side))
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    mask = np.zeros((side, side), bool)
    for _ in range(count):
        top, left = rng.integers(radius, side - radius, 2) - radius
        place = slice(top, top + len(y)), slice(left, left + len(x))
        mask[place] |= y**2 + x**2 < radius**2
    plane[mask] = rng.uniform(0.5 * brightness, brightness, mask.sum())
    return np.rint(plane).astype(np.uint16), mask


def pyramid(plane: np.ndarray, *factors: int) -> list[np.ndarray]:
    """Levels by averages of squares."""
    side = len(plane)
    coarser = (
        plane.reshape(side // f, f, side // f, f).mean((1, 3)).astype(np.uint16) for f in factors
    )
    return [plane, *coarser]


@pytest.mark.parametrize("count", [1, 2, 10, 100])
@pytest.mark.parametrize("factors", [(), (4, 16), (64,)], ids=str)
def test_cells_are_not_saturated_however_rare(count: int, factors: tuple[int, ...]) -> None:
    plane, mask = cells(1024, count)
    slide = open_slide(pyramid(plane, *factors), mpp=0.5)
    low, high = slide.intensity_range
    assert GROUND - 4 * NOISE <= low <= GROUND
    assert 0.75 * plane.max() <= high <= plane.max()
    shown = to_8_bit(plane, (low, high))
    assert (shown[mask] == 255).mean() < 0.35
    assert np.median(shown[~mask]) <= 2


def test_a_patch_on_a_ground_without_noise_is_seen() -> None:
    plane = np.full((3000, 3000), 100, np.uint16)
    patch = np.random.default_rng(0).integers(500, 3600, (30, 30))
    plane[1500:1530, 1500:1530] = patch
    low, high = open_slide(plane, mpp=0.5).intensity_range
    assert low == 100
    assert 3300 < high <= 3600


def test_rare_cells_are_found_on_uneven_ground() -> None:
    plane, mask = cells(2048, 3)
    plane = plane + np.linspace(0, 400, 2048).astype(np.uint16)
    low, high = open_slide(plane, mpp=0.5).intensity_range
    assert high > 0.75 * plane[mask].max()
    assert low < 120


def test_hot_pixels_and_plain_noise_widen_nothing() -> None:
    plane, _ = cells(1024, 0)
    percentiles = np.percentile(plane, [0.1, 99.9])
    assert open_slide(plane, mpp=0.5).intensity_range == pytest.approx(percentiles)
    rng = np.random.default_rng(1)
    plane[rng.integers(0, 1024, 200), rng.integers(0, 1024, 200)] = 65535
    assert open_slide(plane, mpp=0.5).intensity_range == pytest.approx(percentiles, abs=2)


def test_dense_signal_keeps_its_percentiles() -> None:
    plane, mask = cells(1024, 400)
    assert mask.mean() > 0.1
    percentiles = np.percentile(plane, [0.1, 99.9])
    assert open_slide(plane, mpp=0.5).intensity_range == pytest.approx(percentiles)


def test_a_dark_speck_on_bright_glass_is_not_black_as_a_whole() -> None:
    plane, _mask = cells(2048, 2)
    bright = (60000 - plane).astype(np.uint16)
    low, high = open_slide(bright, mpp=0.5).intensity_range
    assert low < 60000 - 0.7 * plane.max()
    assert high > 59000


@pytest.mark.parametrize("values", [np.zeros((9, 9)), np.full((40, 1), 7), np.arange(5)[None]])
def test_tiny_and_empty_planes_have_a_range(values: np.ndarray) -> None:
    low, high = open_slide(values.astype(np.uint16), mpp=0.5).intensity_range
    assert 0 <= low < high


def test_percentiles_are_those_of_numpy() -> None:
    rng = np.random.default_rng(3)
    for size in (1, 7, 1000):
        plane = rng.integers(0, 1 << 16, (size, 3)).astype(np.uint16)
        low, high = open_slide(plane, mpp=0.5).intensity_range
        expected = np.percentile(plane, [0.1, 99.9])
        assert (low, high) == pytest.approx((expected[0], max(expected[1], expected[0] + 1)))


def test_floats_are_measured_alike_and_nan_does_not_count(tmp_path: Path) -> None:
    plane, _ = cells(1024, 3)
    values = (plane / 65535).astype(np.float32)
    values[:100, :200] = np.nan
    values[200, 300] = np.inf
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack", tile=(256, 256))
    low, high = open_slide(tmp_path / "a.tif", mpp=0.5).intensity_range
    expected = open_slide(plane, mpp=0.5).intensity_range
    assert (low, high) == pytest.approx(tuple(value / 65535 for value in expected), rel=0.1)


def test_a_range_that_the_user_gives_is_taken() -> None:
    plane, _ = cells(256, 1)
    assert open_slide(plane, mpp=0.5, intensity=(10, 2000)).intensity_range == (10, 2000)
