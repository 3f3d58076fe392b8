"""The figure: four panels over one extent, at screen size, read in bounded pieces."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.image import imread
from tests.export.fakes import FakeSegmentation

from napari_twostage.export import export, figure_rasters
from napari_twostage.export.figure import MAX_SIDE_IN, choose_layout
from napari_twostage.method.tiling import TileState


def seg_of(shape, **given):
    random = np.random.default_rng(0)
    plane = (random.random(shape) < 0.2).astype(np.uint8)
    picture = random.integers(0, 256, (*shape, 3), dtype=np.uint8)
    return FakeSegmentation(plane, **{"picture": picture, "tile_px": 32, **given})


@pytest.mark.parametrize(("aspect", "columns"), [(0.2, 1), (0.75, 2), (1.0, 2), (4.0, 4)])
def test_layout_follows_the_slide(aspect, columns):
    layout = choose_layout(aspect, 4)
    assert layout.columns == columns
    assert layout.height / layout.width == pytest.approx(aspect)
    assert max(layout.size) <= MAX_SIDE_IN + 1e-6


@pytest.mark.parametrize("aspect", [0.001, 0.05, 1.3, 20, 1000])
@pytest.mark.parametrize("entries", [1, 4, 12])
def test_panels_stay_on_the_page_and_apart(aspect, entries):
    layout = choose_layout(aspect, entries)
    panels = [layout.panel(index) for index in range(4)]
    for left, bottom, width, height in panels:
        assert left >= 0
        assert bottom >= layout.footer / layout.size[1] * 0.99
        assert left + width <= 1 + 1e-6
        assert bottom + height < 1
    for index, (left, bottom, width, height) in enumerate(panels):
        for other_left, other_bottom, other_width, other_height in panels[index + 1 :]:
            assert (
                left + width < other_left
                or other_left + other_width < left
                or bottom >= other_bottom + other_height
                or other_bottom >= bottom + height
            )


@pytest.mark.parametrize("shape", [(97, 131), (400, 61), (33, 500), (1, 1)])
def test_any_shape_gives_a_picture(tmp_path, shape):
    picture = imread(export(seg_of(shape), tmp_path / "overview.png"))
    assert max(picture.shape) <= 2400
    assert picture.shape[2] >= 3


def test_a_slide_that_is_gone_leaves_the_other_panels(tmp_path):
    whole = imread(export(seg_of((200, 200)), tmp_path / "whole.png"))
    gone = imread(export(seg_of((200, 200), picture=None), tmp_path / "gone.png"))
    assert whole.shape == gone.shape
    right = whole.shape[1] // 2
    top = whole.shape[0] // 2
    np.testing.assert_array_equal(whole[:top, right:], gone[:top, right:])  # uncertainty
    assert (whole[:top, :right] != gone[:top, :right]).any()


def test_rasters_are_bounded_and_read_in_bounded_pieces(monkeypatch):
    monkeypatch.setattr(figure_rasters, "RASTER_PX", 64)
    monkeypatch.setattr(figure_rasters, "READ_PX", 128)
    seg = seg_of((600, 333))  # 16 times the picture: coarser than the labels' last level
    labels = figure_rasters.labels_raster(seg)
    assert labels.shape == (38, 21, 4)
    np.testing.assert_array_equal(labels[..., 3] > 0, seg.plane[::16, ::16] > 0)
    assert {level for level, _ in seg.read} == {2}
    assert max(box.area for _, box in seg.read) <= 128**2
    np.testing.assert_array_equal(figure_rasters.slide_raster(seg), seg.picture[::16, ::16])


def test_uncertainty_is_averaged_over_the_tissue(monkeypatch):
    monkeypatch.setattr(figure_rasters, "RASTER_PX", 16)
    monkeypatch.setattr(figure_rasters, "READ_PX", 32)
    uncertainty = np.random.default_rng(0).random((50, 41), np.float32)
    states = np.full((7, 6), TileState.COARSE, np.uint8)
    states[:, 3:] = TileState.OUTSIDE
    picture = figure_rasters.uncertainty_raster(
        seg_of((200, 164), uncertainty=uncertainty, states=states)
    )
    assert picture.shape == (13, 11)
    np.testing.assert_allclose(picture[2, 3], uncertainty[8:12, 12:16].mean(), rtol=1e-5)
    np.testing.assert_allclose(picture[12, 0], uncertainty[48:50, 0:4].mean(), rtol=1e-5)
    # A pixel is 16 fine pixels wide, a tile 32: six pixels of tissue, then none.
    assert np.isfinite(picture[:, :6]).all()
    assert np.isnan(picture[:, 6:]).all()
