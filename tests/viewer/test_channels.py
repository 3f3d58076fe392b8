"""A file of channels is one slide: they have names and colours, and nuclei are sought in one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
from qtpy.QtWidgets import QWidget
from tests.fakes import FakeModel
from tests.slide_writers import write_ngff

from napari_twostage.viewer.channel_layers import contrast_limits, group_channels

if TYPE_CHECKING:
    from pathlib import Path

    from tests.viewer.conftest import Window

UM = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
SIDE = 128
BLUE, GREEN, RED = (0, 0, 255), (0, 200, 0), (200, 30, 0)


def squares(*corners: tuple[int, int], value: int = 250) -> np.ndarray:
    """Dark field with bright squares of 24 pixels."""
    pixels = np.zeros((SIDE, SIDE), np.uint8)
    for top, left in corners:
        pixels[top : top + 24, left : left + 24] = value
    return pixels


CD3 = squares((8, 8))
DAPI = squares((8, 8), (64, 16), (80, 80))
CHANNELS = np.stack([CD3, DAPI, squares()])
NAMES = ["CD3", "DAPI", "PanCK"]


@pytest.fixture
def ome_tiff(tmp_path: Path) -> Path:
    """Three channels with names and colours; DAPI is not the first."""
    path = tmp_path / "cells.ome.tif"
    colours = [int.from_bytes((*one, 255), signed=True) for one in (GREEN, BLUE, RED)]
    about = {"axes": "CYX", **UM, "Channel": {"Name": NAMES, "Color": colours}}
    tifffile.imwrite(path, CHANNELS, ome=True, photometric="minisblack", metadata=about)
    return path


@pytest.fixture
def ome_zarr(tmp_path: Path) -> Path:
    """The same as OME-Zarr."""
    shown = [
        {"label": name, "color": bytes(colour).hex().upper()}
        for name, colour in zip(NAMES, (GREEN, BLUE, RED), strict=True)
    ]
    return write_ngff(tmp_path / "cells.ome.zarr", [CHANNELS], "cyx", omero={"channels": shown})


def opened(window: Window, path: Path) -> dict[str, object]:
    window.viewer.open(str(path), plugin="napari-twostage")
    return {layer.name: layer for layer in window.viewer.layers}


def texts(window: Window, name: str) -> list[str]:
    box = window.part(name)
    return [box.itemText(n) for n in range(box.count())]


@pytest.mark.parametrize("kind", ["ome_tiff", "ome_zarr"])
def test_channels_have_the_files_names_and_colours_and_are_one_slide(
    open_window, kind, request
) -> None:
    window = open_window()
    layers = opened(window, request.getfixturevalue(kind))
    assert set(layers) == {"cells CD3", "cells DAPI", "cells PanCK"}
    for name, colour in zip(NAMES, (GREEN, BLUE, RED), strict=True):
        layer = layers[f"cells {name}"]
        assert layer.blending == "additive"
        assert np.rint(layer.colormap.colors[-1, :3] * 255).tolist() == list(colour)
        assert np.array_equal(np.asarray(layer.data[0]), CHANNELS[NAMES.index(name)])
    assert texts(window, "slide_layer") == ["cells"]
    assert texts(window, "nuclear_channel") == NAMES
    assert window.part("nuclear_channel").currentText() == "DAPI"
    assert window.panel.slide_layer is layers["cells DAPI"]


def test_nuclei_are_counted_in_the_channel_that_is_chosen(open_window, ome_tiff) -> None:
    window = open_window()
    layers = opened(window, ome_tiff)

    def count() -> int:
        window.use(FakeModel())
        window.run_coarse()
        window.press("measure")
        window.until(lambda: window.panel.session.tally is not None)
        return window.panel.session.tally[0].objects

    assert count() == 3  # of DAPI
    dapi, labels = window.panel.session, window.panel.layers.labels
    assert dapi.seg.record.parameters.picture.channel == 1
    channel = window.part("nuclear_channel")
    channel.setCurrentIndex(0)
    channel.activated.emit(0)
    assert window.panel.slide_layer is layers["cells CD3"]
    assert window.panel.session.seg is None
    assert not labels.visible
    assert all(layer.visible for layer in layers.values())
    assert count() == 1
    assert window.panel.session.out != dapi.out
    channel.setCurrentIndex(1)
    channel.activated.emit(1)
    assert window.panel.session is dapi
    assert labels.visible


def test_a_result_of_a_channel_is_shown_with_all_channels(open_window, ome_tiff) -> None:
    window = open_window()
    opened(window, ome_tiff)
    window.use(FakeModel())
    window.part("nuclear_channel").activated.emit(2)  # not the one that the name would choose
    window.use(FakeModel())
    window.run_coarse()
    out = window.panel.session.out
    window.viewer.layers.clear()
    window.viewer.open(str(out), plugin="napari-twostage")
    assert window.part("nuclear_channel").currentText() == "PanCK"
    assert texts(window, "nuclear_channel") == NAMES
    assert window.panel.session.slide.mpp_source == "OME PhysicalSize"  # not the user


def test_what_was_typed_for_one_channel_holds_for_the_next(open_window, ome_tiff) -> None:
    window = open_window()
    opened(window, ome_tiff)
    window.part("mpp").setValue(0.25)
    window.part("nuclear_channel").activated.emit(0)
    assert window.panel.session.slide.mpp == (0.25, 0.25)
    window.part("file_mpp").click()
    assert window.panel.session.slide.mpp == pytest.approx((0.5, 0.5))
    assert window.panel.session.slide.mpp_source == "OME PhysicalSize"


def test_many_channels_do_not_add_up_to_white(open_window, tmp_path) -> None:
    path = tmp_path / "many.ome.tif"
    names = [f"CD{n}" for n in range(8)] + ["Hoechst"]
    pixels = np.stack([DAPI] * 9)
    about = {"axes": "CYX", **UM, "Channel": {"Name": names}}
    tifffile.imwrite(path, pixels, ome=True, photometric="minisblack", metadata=about)
    layers = opened(open_window(), path)
    shown = [name for name, layer in layers.items() if layer.visible]
    assert len(shown) == 6
    assert "many Hoechst" in shown
    colours = {tuple(layers[name].colormap.colors[-1]) for name in shown}
    assert len(colours) == 6


def test_channels_that_others_opened_are_one_slide(open_window) -> None:
    window = open_window()
    window.viewer.add_image(
        CHANNELS, channel_axis=0, name=NAMES, scale=(0.5, 0.5), units=("um", "um")
    )
    assert texts(window, "slide_layer") == ["CD3"]
    assert texts(window, "nuclear_channel") == NAMES
    assert window.panel.slide_layer.name == "DAPI"
    window.viewer.layers.remove("DAPI")
    assert texts(window, "nuclear_channel") == ["CD3", "PanCK"]
    assert window.panel.slide_layer.name == "CD3"


def test_images_of_their_own_are_no_channels(open_window) -> None:
    window = open_window()
    for name in ("left", "right"):
        window.viewer.add_image(DAPI, name=name, scale=(0.5, 0.5), units=("um", "um"))
    assert texts(window, "slide_layer") == ["left", "right"]
    assert not window.panel.findChild(QWidget, "nuclear_channel").isVisible()
    assert [len(group.layers) for group in group_channels(window.viewer.layers)] == [1, 1]


# -- focal planes ------------------------------------------------------------------------------

STACK = np.stack([squares((8, 8)), squares((64, 16)), squares((80, 80))])


def test_a_dropped_stack_is_a_slide_of_focal_planes(open_window, tmp_path) -> None:
    path = tmp_path / "stack.ome.tif"
    about = {"axes": "CZYX", **UM, "Channel": {"Name": ["GFP", "DAPI"]}}
    pixels = np.stack([STACK // 2, STACK])
    tifffile.imwrite(path, pixels, ome=True, photometric="minisblack", metadata=about)
    window = open_window()
    layers = opened(window, path)
    dapi, focus = layers["stack DAPI"], window.part("focus")
    window.panel.accordion.show_only([window.panel.slide_section])
    assert focus.isVisibleTo(window.panel)
    assert focus.text() == "maximum of all planes"
    assert np.array_equal(np.asarray(dapi.data[0]), STACK.max(axis=0))
    session = window.panel.session
    window.use(FakeModel())
    focus.setValue(2)
    assert focus.text() == "plane 2 of 3"
    assert session.slide.picture.z == 1
    assert np.array_equal(np.asarray(dapi.data[0]), STACK[1])
    assert np.array_equal(np.asarray(layers["stack GFP"].data[0]), STACK[1] // 2)
    window.settle()
    window.run_coarse()
    assert session.seg.record.parameters.picture.z == 1
    plane = session.out
    focus.setValue(0)
    window.settle()
    assert session.seg is None
    assert session.out != plane


def test_a_stack_that_others_opened_is_a_slide(open_window) -> None:
    window = open_window()
    window.viewer.add_image(STACK, name="stack", scale=(1, 0.5, 0.5), units=("um",) * 3)
    session, focus = window.panel.session, window.part("focus")
    assert np.array_equal(np.asarray(session.slide.levels[0])[..., 0], STACK.max(axis=0))
    focus.setValue(3)
    assert np.array_equal(np.asarray(session.slide.levels[0])[..., 0], STACK[2])
    assert window.viewer.dims.current_step[0] == 2
    window.use(FakeModel())
    window.run_coarse()
    labels = window.panel.layers.labels
    first, last = labels.extent.world  # of pixels that are finer than the slide's
    assert first == pytest.approx([-0.25, -0.25], abs=0.05)
    assert last == pytest.approx([63.75, 63.75], abs=0.05)


@pytest.mark.parametrize(
    ("axes", "pixels"),
    [
        ("ZYX", STACK), ("TYX", STACK), ("YX", np.full((40, 40), 0.5, np.float32)),
    ],
)  # fmt: skip
def test_stacks_series_and_measured_values_are_opened_where_ours_is_asked(
    open_window, tmp_path, axes, pixels
) -> None:
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, pixels, photometric="minisblack", metadata={"axes": axes})
    window = open_window()
    (layer,) = opened(window, path).values()
    assert layer.ndim == 2
    assert window.part("slide_layer").currentText() == "image"


# -- contrast ----------------------------------------------------------------------------------


def test_contrast_follows_percentiles_and_leaves_noise_dark() -> None:
    noise = np.random.default_rng(0).normal(200, 10, (300, 300)).astype(np.float32)
    low, high = contrast_limits(noise)
    assert low > 190
    assert high - low > 140
    noise[:30, :30] = 2000
    assert contrast_limits(noise)[1] == pytest.approx(2000)
    assert contrast_limits(np.zeros((9, 9), np.uint16)) == (0, 1)
