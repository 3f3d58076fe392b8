"""Laws of every slide: edges, alignment between levels, lazy levels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_twostage.geometry import Box
from napari_twostage.slides import open_slide
from napari_twostage.slides.lazy import LevelArray, chunk_shape

if TYPE_CHECKING:
    from collections.abc import Callable

boxes = st.builds(
    Box.at, st.integers(-50, 60), st.integers(-50, 60), st.integers(0, 50), st.integers(0, 50)
)


@given(shape=st.tuples(st.integers(1, 23), st.integers(1, 23)), box=boxes)
@settings(max_examples=200, deadline=None)
def test_beyond_the_edges_the_slide_is_reflected(shape: tuple[int, int], box: Box) -> None:
    pixels = np.arange(shape[0] * shape[1], dtype=np.uint16).reshape(shape)
    margin = 130
    expected = np.pad(pixels, margin, mode="reflect")[box.shift(margin, margin).slices]
    got = open_slide(pixels, mpp=1.0).read(box)
    np.testing.assert_array_equal(got, expected[..., None])


def blob(shape: tuple[int, int], at: tuple[float, float]) -> np.ndarray:
    y, x = (np.arange(length) + 0.5 for length in shape)
    distance = (y[:, None] - at[0]) ** 2 + (x[None, :] - at[1]) ** 2
    return np.rint(60000 * np.exp(-distance / (2 * 40**2))).astype(np.uint16)


def centroid(pixels: np.ndarray, downsample: float, box: Box) -> tuple[float, float]:
    """Position of the blob, in level-0 pixels."""
    weights = pixels[..., 0].astype(float)
    y = ((np.arange(box.top, box.bottom) + 0.5) * downsample)[:, None]
    x = ((np.arange(box.left, box.right) + 0.5) * downsample)[None, :]
    return (weights * y).sum() / weights.sum(), (weights * x).sum() / weights.sum()


def reduced(pixels: np.ndarray, factor: int) -> np.ndarray:
    """As scanners do: rows and columns that do not fill a pixel are dropped."""
    height, width = (length // factor for length in pixels.shape)
    blocks = pixels[: height * factor, : width * factor].reshape(height, factor, width, factor)
    return np.floor(blocks.mean(axis=(1, 3)) + 0.5).astype(np.uint16)


@pytest.mark.parametrize("downsample", [0.5, 1, 1.7, 2, 3, 4, 4.5, 8, 11.3, 16, 23])
def test_levels_whose_sizes_do_not_divide_show_things_at_the_same_place(downsample: float) -> None:
    shape, place = (1031, 777), (803.3, 517.8)
    full = blob(shape, place)
    slide = open_slide([full, *(reduced(full, n) for n in (2, 4, 16))], mpp=0.25)
    assert slide.factors == ((1, 1), (2, 2), (4, 4), (16, 16))
    box = Box(
        int(580 / downsample), int(290 / downsample), int(1020 / downsample), int(745 / downsample)
    )
    found = centroid(slide.read_at(box, (downsample, downsample)), downsample, box)
    # the window cuts the blob's tails at other places for other grids: a tenth of a pixel
    assert np.abs(np.subtract(found, place)).max() < 0.1 + 0.02 * downsample


def test_a_level_gives_the_same_pixels_as_averaging_the_finest() -> None:
    full = blob((1031, 777), (500, 400))
    flat = open_slide(full, mpp=0.25)
    pyramid = open_slide([full, reduced(full, 4)], mpp=0.25)
    box = Box(60, 50, 180, 150)
    np.testing.assert_array_equal(flat.read_at(box, (4, 4)), pyramid.read_at(box, (4, 4)))
    coarse = [slide.read_at(Box(9, 9, 40, 30), (12, 12)).astype(int) for slide in (flat, pyramid)]
    assert np.abs(coarse[0] - coarse[1]).max() <= 1  # rounded twice


def test_the_nearest_level_that_is_fine_enough_is_read() -> None:
    full = np.zeros((1000, 800), np.uint8)
    slide = open_slide([full, full[::2, ::2], full[::8, ::8]], mpp=1.0)
    asked = [0.5, 1, 1.98, 1.995, 2, 7, 8, 100]
    assert [slide.level_for((d, d)) for d in asked] == [0, 0, 0, 1, 1, 1, 2, 2]
    assert slide.level_for((8, 2)) == 1


def test_strong_reductions_read_in_bands_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    slide = open_slide(blob((500, 400), (250, 200)), mpp=1.0)
    whole = slide.read_at(Box(-3, -2, 40, 31), (13.7, 12.9))
    monkeypatch.setattr("napari_twostage.slides.base._BAND_PX", 5000)
    np.testing.assert_array_equal(slide.read_at(Box(-3, -2, 40, 31), (13.7, 12.9)), whole)


def test_lazy_levels_index_like_arrays(picture: Callable[..., np.ndarray]) -> None:
    pixels = picture(300, 200)
    slide = open_slide([pixels, pixels[::2, ::2]], mpp=1.0)
    for level, expected in zip(slide.levels, (pixels, pixels[::2, ::2]), strict=True):
        assert level.dtype == np.uint8
        np.testing.assert_array_equal(level.compute(), expected)
    array = LevelArray(slide, 0)
    for index in (
        np.s_[3],
        np.s_[-1, 5],
        np.s_[..., 1],
        np.s_[10:90:7, ::-3],
        np.s_[5:5, :, 0],
        np.s_[[1, 5, 2]],
        np.s_[:, 4, ...],
        np.s_[250:999, -30:, ::2],
    ):
        np.testing.assert_array_equal(array[index], pixels[index])
        np.testing.assert_array_equal(slide.levels[0][index].compute(), pixels[index])


def test_a_level_is_an_array_to_numpy_and_napari(picture: Callable[..., np.ndarray]) -> None:
    multiscale = pytest.importorskip("napari.layers._multiscale_data")
    pixels = picture(300, 200)
    slide = open_slide([pixels, pixels[::2, ::2]], mpp=1.0)
    levels = [LevelArray(slide, level) for level in (0, 1)]
    np.testing.assert_array_equal(np.asarray(levels[0]), pixels)
    np.testing.assert_array_equal(np.asarray(levels[0], dtype=np.float32), pixels)
    assert np.asarray(levels[0], dtype=np.float32).dtype == np.float32
    with pytest.raises(ValueError, match="copy"):
        np.array(levels[0], copy=False)
    assert len(levels[0]) == 300
    data = multiscale.MultiScaleData(levels)
    assert data.shapes == ((300, 200, 3), (150, 100, 3))
    assert data.size == pixels.size
    np.testing.assert_array_equal(np.asarray(data), pixels[::2, ::2])


@pytest.mark.parametrize("tile", [(240, 240), (512, 256), (8, 40000), (4096, 4096), (1, 77)])
def test_chunks_are_whole_tiles(tile: tuple[int, int]) -> None:
    rows, columns = chunk_shape(tile, (30000, 40000))
    assert rows % tile[0] == 0
    assert columns % tile[1] == 0
    assert rows * columns <= max(2 * 2048**2, tile[0] * tile[1])
