"""Views: 8-bit RGB for models, with one intensity range per slide."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_twostage.geometry import Box, Grid
from napari_twostage.slides import open_slide
from napari_twostage.slides.view import View, on_white

if TYPE_CHECKING:
    from collections.abc import Callable


def grid(shape: tuple[int, int], downsample: float = 1.0) -> Grid:
    return Grid(shape, (downsample, downsample), (downsample, downsample))


def test_rgb_passes_through(picture: Callable[..., np.ndarray]) -> None:
    pixels = picture(60, 50)
    view = View(open_slide(pixels, mpp=1.0), grid((60, 50)))
    np.testing.assert_array_equal(view.read(Box(5, 6, 40, 50)), pixels[5:40, 6:50])


def test_grey_is_repeated(picture: Callable[..., np.ndarray]) -> None:
    pixels = picture(60, 50, channels=1)
    seen = View(open_slide(pixels[..., 0], mpp=1.0), grid((60, 50))).read(Box(0, 0, 60, 50))
    np.testing.assert_array_equal(seen, np.repeat(pixels, 3, axis=2))


def test_clear_pixels_are_white_and_opaque_ones_keep_their_colour() -> None:
    pixels = np.full((4, 6, 4), 40, np.uint8)
    pixels[:, :2, 3], pixels[:, 2:4, 3], pixels[:, 4:, 3] = 0, 255, 51
    seen = View(open_slide(pixels, mpp=1.0), grid((4, 6))).read(Box(0, 0, 4, 6))
    assert seen.shape == (4, 6, 3)
    assert (seen[:, :2] == 255).all()
    assert (seen[:, 2:4] == 40).all()
    assert (seen[:, 4:] == 255 - 43).all()  # a fifth of the way from white to 40


@pytest.mark.parametrize(
    ("dtype", "pixel", "laid"),
    [
        (np.uint8, [100, 0, 255, 128], [177, 127, 255]),
        (np.uint8, [100, 0, 255, 255], [100, 0, 255]),
        (np.uint16, [5, 0, 65535, 13107], [52429, 52428, 65535]),  # a fifth opaque
    ],
)
def test_half_transparent_pixels_are_half_white(
    dtype: type[np.unsignedinteger], pixel: list[int], laid: list[int]
) -> None:
    pixels = np.array([[pixel]], dtype)
    assert on_white(pixels).tolist() == [[laid]]
    assert on_white(pixels).dtype == dtype


def test_every_colour_at_every_transparency_is_rounded_to_nearest() -> None:
    alpha, colour = np.mgrid[:256, :256].astype(np.uint8)
    pixels = np.stack([colour, colour, colour, alpha], axis=-1)
    exact = 255 + (colour.astype(float) - 255) * (alpha / 255)
    assert np.array_equal(on_white(pixels)[..., 0], np.rint(exact))


def test_a_16_bit_slide_has_one_range_from_its_coarsest_level() -> None:
    rng = np.random.default_rng(0)
    full = rng.integers(1000, 3000, (512, 512)).astype(np.uint16)
    coarse = rng.integers(1000, 3000, (128, 128)).astype(np.uint16)
    coarse[0, :3] = 65535  # a few hot pixels must not darken everything
    slide = open_slide([full, coarse], mpp=1.0)
    assert slide.intensity_range == pytest.approx(np.percentile(coarse, [0.1, 99.9]))
    view = View(slide, grid((512, 512)))
    whole = view.read(Box(0, 0, 512, 512))
    np.testing.assert_array_equal(view.read(Box(37, 41, 90, 80)), whole[37:90, 41:80])
    assert whole.min() <= 2
    assert whole.max() >= 253


def test_a_large_plane_is_sampled() -> None:
    row = (np.arange(4200) * 10).astype(np.uint16)
    slide = open_slide(np.broadcast_to(row, (4200, 4200)), mpp=1.0)
    low, high = slide.intensity_range
    assert low < 1000
    assert high > 41000


def test_an_empty_16_bit_slide_can_be_seen() -> None:
    slide = open_slide(np.full((9, 9), 500, np.uint16), mpp=1.0)
    assert (View(slide, grid((9, 9))).read(Box(0, 0, 9, 9)) == 0).all()


def test_a_coarse_view_averages_what_it_covers(picture: Callable[..., np.ndarray]) -> None:
    pixels = picture(64, 48)
    seen = View(open_slide(pixels, mpp=1.0), grid((16, 12), 4)).read(Box(0, 0, 16, 12))
    means = pixels.reshape(16, 4, 12, 4, 3).mean(axis=(1, 3))
    assert np.abs(seen - means).max() <= 0.5
