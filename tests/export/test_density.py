"""Density maps count each object once, in the cell of its centre."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
from matplotlib.image import imread
from tests.export.fakes import FakeSegmentation

from napari_twostage.errors import SelectionError
from napari_twostage.export import export
from napari_twostage.measure.density import map_density


def dots():
    """Single pixels: nine in the first cell of 32 pixels, one in the cut one at the corner."""
    plane = np.zeros((80, 72), np.uint8)
    plane[2:20:8, 2:20:8] = 1
    plane[79, 71] = 2
    return FakeSegmentation(plane, tile_px=16)


def test_objects_are_counted_in_cells():
    density = map_density(dots(), cell_um=8)  # 32 pixels of 0.25 µm
    assert density.values.shape == (3, 3)
    assert density.grid.mpp == (8, 8)
    expected = np.zeros((3, 3))
    expected[0, 0] = 9 / (64 / 1e6)
    expected[2, 2] = 1 / (16 * 8 * 0.0625 / 1e6)  # only what lies on the slide
    np.testing.assert_allclose(density.values, expected, rtol=1e-6)


def test_a_least_area_counts_here_as_well():
    assert not map_density(dots(), cell_um=8, least_object_um2=1).values.any()


def test_numbers_come_with_their_pixel_size(tmp_path):
    path = export(dots(), tmp_path / "a.density.tif", cell_um=8)
    np.testing.assert_array_equal(tifffile.imread(path), map_density(dots(), cell_um=8).values)
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        assert page.dtype == np.float32
        across, by = page.tags["XResolution"].value
        assert across / by == pytest.approx(1250)  # cells of 8 µm in a centimetre
        assert json.loads(page.description)["unit"] == "objects per mm^2"


def test_the_picture_has_a_colour_bar_and_a_scale(tmp_path):
    picture = imread(export(dots(), tmp_path / "a.density.png", cell_um=8))
    height, width, _ = picture.shape
    assert width <= 2400
    assert height <= 2400
    bar = picture[height // 2, int(0.9 * width) :, :3]
    assert len(np.unique(bar.round(2), axis=0)) > 2
    below = picture[int(0.965 * height) :, : width // 2, :3]
    assert below.min() < 0.2  # the bar is black


@pytest.mark.parametrize("asked", [0, 5000, "64", True, float("nan")])
def test_impossible_cells_are_refused_in_one_line(tmp_path, asked):
    with pytest.raises(SelectionError, match="8 to 4096 µm wide") as error:
        export(dots(), tmp_path / "a.density.tif", cell_um=asked)
    assert "\n" not in str(error.value)
