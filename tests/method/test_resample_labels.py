"""Resampling of logits and labels: the value of a pixel depends on its position alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_twostage.geometry import Box
from napari_twostage.method.resample_labels import thin, upsample


def plane(channels: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(channels, height, width)).astype(np.float16)


def upsample_part(values: np.ndarray, box: Box, ratio: int) -> np.ndarray:
    whole = Box(0, 0, *values.shape[1:])

    def read(wanted: Box) -> np.ndarray:
        assert whole.contains(wanted)
        return values[:, *wanted.slices]

    return upsample(read, values.shape[1:], box, ratio)


@given(
    channels=st.integers(1, 3),
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    ratio=st.sampled_from([1, 2, 4, 8]),
    data=st.data(),
)
def test_any_box_is_the_crop_of_the_whole(
    channels: int, height: int, width: int, ratio: int, data: st.DataObject
) -> None:
    values = plane(channels, height, width)
    whole = upsample_part(values, Box(0, 0, height * ratio, width * ratio), ratio)
    top, left = (data.draw(st.integers(0, n * ratio - 1)) for n in (height, width))
    bottom = data.draw(st.integers(top + 1, height * ratio))
    box = Box(top, left, bottom, data.draw(st.integers(left + 1, width * ratio)))
    np.testing.assert_array_equal(upsample_part(values, box, ratio), whole[:, *box.slices])


@pytest.mark.parametrize("ratio", [1, 2, 4, 8])
def test_upsampling_is_bilinear_with_pixel_centres_aligned(ratio: int) -> None:
    values = plane(2, 7, 5)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(values.astype(np.float32))[None],
        scale_factor=float(ratio),
        mode="bilinear",
        align_corners=False,
    )[0]
    found = upsample_part(values, Box(0, 0, 7 * ratio, 5 * ratio), ratio)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 2, 4, 8]))
def test_thinning_keeps_one_pixel_of_each_square(height: int, width: int, factor: int) -> None:
    labels = np.random.default_rng(0).integers(0, 9, (height, width)).astype(np.uint8)
    thinned = thin(labels, factor)
    assert thinned.shape == (-(-height // factor), -(-width // factor))
    for row, column in np.ndindex(thinned.shape):
        y = min(row * factor + factor // 2, height - 1)
        x = min(column * factor + factor // 2, width - 1)
        assert thinned[row, column] == labels[y, x]


@given(st.integers(1, 60), st.integers(1, 60), st.sampled_from([2, 4, 8]), st.data())
def test_thinning_a_part_on_the_grid_is_a_part_of_the_thinned(
    height: int, width: int, factor: int, data: st.DataObject
) -> None:
    labels = np.random.default_rng(0).integers(0, 9, (height, width)).astype(np.uint8)
    whole = thin(labels, factor)
    row, column = (data.draw(st.integers(0, n - 1)) for n in whole.shape)
    part = labels[row * factor :, column * factor :]
    np.testing.assert_array_equal(thin(part, factor), whole[row:, column:])
