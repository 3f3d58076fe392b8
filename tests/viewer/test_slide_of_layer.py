"""Any image layer becomes a slide, or says in one line why not."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels
from napari.layers._source import Source
from tests.fakes import noise

from napari_twostage.errors import MissingPixelSizeError, SlideError
from napari_twostage.geometry import Box
from napari_twostage.viewer import reader
from napari_twostage.viewer.slide_of_layer import mpp_of_layer, slide_of_layer

UM = ("um", "um")


def opened(path) -> Image:
    viewer = ViewerModel()
    viewer._add_layer_from_data(*reader.read_slide(str(path))[0])
    return viewer.layers[0]


def test_our_own_layer_gives_the_slide_that_is_open_already(write_pyramid) -> None:
    layer = opened(write_pyramid(noise(200, 200)))
    assert slide_of_layer(layer) is layer.metadata["napari_twostage"]["slide"]


def test_a_missing_pixel_size_is_asked_for_and_never_guessed(write_pyramid) -> None:
    layer = opened(write_pyramid(noise(80, 80), levels=1, mpp=None))
    with pytest.raises(MissingPixelSizeError):
        slide_of_layer(layer)
    slide = slide_of_layer(layer, mpp=0.25)
    assert slide.mpp == (0.25, 0.25)
    assert slide.mpp_source == "given by the user"


def test_another_plugins_layer_is_read_from_its_file(write_pyramid) -> None:
    pixels = noise(120, 130)
    path = write_pyramid(pixels, levels=1)
    layer = Image(pixels, rgb=True)
    layer._set_source(Source(path=str(path), reader_plugin="another"))
    slide = slide_of_layer(layer)
    assert slide.path == path
    assert slide.mpp == pytest.approx((0.5, 0.5))


def test_a_layer_that_shows_part_of_its_file_is_read_as_it_is(write_pyramid) -> None:
    pixels = noise(120, 130)
    layer = Image(pixels[:100], rgb=True, scale=(0.3, 0.3), units=UM)
    layer._set_source(Source(path=str(write_pyramid(pixels, levels=1))))
    slide = slide_of_layer(layer)
    assert slide.path is None
    assert slide.level_shapes == ((100, 130),)


@pytest.mark.parametrize("multiscale", [True, False])
def test_arrays_are_read_pixel_for_pixel(multiscale) -> None:
    pixels = noise(90, 110)
    data = [pixels, pixels[::2, ::2]] if multiscale else pixels
    layer = Image(data, multiscale=multiscale, rgb=True, name="mine", scale=(0.4, 0.5), units=UM)
    slide = slide_of_layer(layer)
    assert (slide.name, slide.mpp, slide.mpp_source) == ("mine", (0.4, 0.5), "the layer's scale")
    assert len(slide.level_shapes) == 1 + multiscale
    assert np.array_equal(np.asarray(slide.levels[0]), pixels)


@pytest.mark.parametrize(
    ("unit", "step", "expected"),
    [("nm", 250, 0.25), ("um", 0.5, 0.5), ("mm", 0.001, 1), ("m", 2e-6, 2)],
)
def test_every_unit_of_length_is_understood(unit, step, expected) -> None:
    layer = Image(np.zeros((9, 9)), scale=(step, step), units=(unit, unit))
    assert mpp_of_layer(layer)[0] == pytest.approx((expected, expected))


def test_pixels_are_no_length() -> None:
    layer = Image(noise(30, 30), rgb=True, scale=(2, 2), name="mine")
    assert mpp_of_layer(layer) is None
    with pytest.raises(MissingPixelSizeError, match=r"mine states no pixel size.*micrometres"):
        slide_of_layer(layer)


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (Image(np.zeros((2, 3, 20, 20), np.uint8)), "4 axes.*Split Stack"),
        (Labels(np.zeros((20, 20), int)), "labels layer; choose an image layer"),
    ],
)
def test_what_is_no_plane_is_refused_in_one_line(layer, reason) -> None:
    with pytest.raises(SlideError, match=reason) as refused:
        slide_of_layer(layer)
    assert "\n" not in str(refused.value)


def test_a_layer_of_real_numbers_is_a_slide() -> None:
    pixels = np.linspace(-1, 5, 400).reshape(20, 20)
    slide = slide_of_layer(Image(pixels, scale=(1, 1), units=UM))
    assert (slide.dtype, slide.channels) == (np.float32, 1)
    np.testing.assert_array_equal(slide.read(Box(0, 0, 20, 20))[..., 0], pixels.astype(np.float32))
