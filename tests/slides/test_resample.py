"""Resampling: exact averages, aligned centres, values that do not depend on the box."""

from __future__ import annotations

import math
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_twostage.geometry import Box
from napari_twostage.slides.resample import halved, resample, source_box

steps = st.one_of(st.integers(1, 5).map(float), st.floats(0.2, 6))


def plane(box: Box, *, dtype: type = np.uint8) -> np.ndarray:
    """An endless picture: what stands at a position depends on the position alone."""
    rows = np.arange(box.top, box.bottom)[:, None, None]
    columns = np.arange(box.left, box.right)[None, :, None]
    mixed = (rows * 7919 + columns * 104729 + np.arange(3) * 31) % 65521
    return (mixed % (int(np.iinfo(dtype).max) + 1)).astype(dtype)


def taken(box: Box, step: tuple[float, float], dtype: type = np.uint8) -> np.ndarray:
    return resample(plane(source_box(box, step), dtype=dtype), box, step)


def brute_force_average(box: Box, step: tuple[float, float], dtype: type) -> np.ndarray:
    """Add every source pixel's overlap, one by one."""
    out = np.zeros((*box.shape, 3))
    for i in range(box.height):
        low, high = (box.top + i) * step[0], (box.top + i + 1) * step[0]
        for j in range(box.width):
            start, stop = (box.left + j) * step[1], (box.left + j + 1) * step[1]
            for y in range(math.floor(low), math.ceil(high)):
                for x in range(math.floor(start), math.ceil(stop)):
                    overlap = min(y + 1, high) - max(y, low)
                    overlap *= min(x + 1, stop) - max(x, start)
                    out[i, j] += overlap * plane(Box.at(y, x, 1, 1), dtype=dtype)[0, 0]
    return out / (step[0] * step[1])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("step", [(1, 1), (2, 2), (4, 3), (1.5, 2.25), (2, 2.7), (1.0007, 5.1)])
def test_a_reduced_pixel_is_the_mean_of_what_it_covers(
    step: tuple[float, float], dtype: type
) -> None:
    box = Box(-2, 3, 4, 8)
    got = taken(box, step, dtype)
    assert got.dtype == dtype
    # rounding to nearest, plus float32 sums of 8 bit and float64 sums of 16 bit
    assert np.abs(got - brute_force_average(box, step, dtype)).max() <= 0.5 + 1e-3


@given(step=st.tuples(steps, steps), top=st.integers(-40, 900), left=st.integers(-40, 900))
@settings(max_examples=60, deadline=None)
def test_a_pixel_does_not_depend_on_the_box_it_was_read_in(
    step: tuple[float, float], top: int, left: int
) -> None:
    box = Box.at(top, left, 9, 7)
    inner = Box.at(top + 3, left + 2, 4, 5)
    window = inner.shift(-top, -left).slices
    np.testing.assert_array_equal(taken(box, step)[window], taken(inner, step))


@given(
    step=st.tuples(steps, steps),
    box=st.builds(Box.at, *[st.integers(-9, 99)] * 2, *[st.integers(1, 9)] * 2),
)
@settings(max_examples=60, deadline=None)
def test_a_flat_picture_stays_flat(step: tuple[float, float], box: Box) -> None:
    flat = np.full((*source_box(box, step).shape, 1), 201, np.uint8)
    assert (resample(flat, box, step) == 201).all()


@given(step=st.floats(0.1, 8))
@settings(max_examples=60, deadline=None)
def test_a_ramp_keeps_its_place_at_every_resolution(step: float) -> None:
    box = Box(1, 5, 2, 15)
    source = source_box(box, (step, step))
    ramp = 100.0 * (np.arange(source.left, source.right) + 0.5) + 1000
    ramp = np.repeat(ramp[None, :, None], source.height, axis=0).round().astype(np.uint16)
    centres = 100 * (np.arange(5, 15) + 0.5) * step + 1000
    # a pixel that is covered in part counts with its own centre: up to an eighth at each end
    partial = 0 if step < 1 or step == round(step) else 25 / step
    assert np.abs(resample(ramp, box, (step, step))[0, :, 0] - centres).max() <= 1 + partial


def test_the_brightest_block_does_not_overflow() -> None:
    white = np.full((64, 64, 1), 65535, np.uint16)
    assert (resample(white, Box(0, 0, 1, 1), (64, 64)) == 65535).all()
    assert (resample(white.astype(np.uint8), Box(0, 0, 4, 4), (16, 16)) == 255).all()


def test_averages_of_numbers_pass_over_nan() -> None:
    pixels = np.arange(64, dtype=np.float32).reshape(8, 8, 1)
    pixels[0, 0], pixels[:4, 4:] = np.nan, np.nan
    got = resample(pixels, Box(0, 0, 2, 2), (4, 4))[..., 0]
    expected = [
        [np.nanmean(pixels[:4, :4]), np.nan],
        [pixels[4:, :4].mean(), pixels[4:, 4:].mean()],
    ]
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    first, second = (next_level[..., 0] for next_level in islice(halved(pixels), 2))
    np.testing.assert_allclose(second, expected, rtol=1e-6)
    assert first[0, 0] == pytest.approx(np.nanmean(pixels[:2, :2]))
