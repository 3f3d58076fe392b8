"""A slide opens as one lazy layer, a result as slide and labels, everything else is refused."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
import zarr
from napari.components import ViewerModel
from tests.fakes import damage, noise
from tests.servers import web_server

import napari_twostage as ts
from napari_twostage.errors import SlideError
from napari_twostage.geometry import Box
from napari_twostage.slides import formats, open_slide
from napari_twostage.viewer import reader
from napari_twostage.viewer.channel_layers import contrast_limits
from napari_twostage.viewer.lazy_levels import LazyLevel, slide_levels
from napari_twostage.viewer.preview_slide import PreviewSlide


def facts(layer) -> dict:
    return layer.metadata["napari_twostage"]


def read(path) -> list:
    function = reader.get_reader(str(path))
    assert function is not None
    viewer = ViewerModel()
    for data in function(str(path)):
        viewer._add_layer_from_data(*data)
    return list(viewer.layers)


@pytest.fixture
def warnings(monkeypatch) -> list[str]:
    """Texts of napari's warnings."""
    messages: list[str] = []
    monkeypatch.setattr("napari.utils.notifications.show_warning", messages.append)
    return messages


def test_a_slide_is_one_layer_in_micrometres(write_pyramid) -> None:
    pixels = noise(300, 400)
    (layer,) = read(write_pyramid(pixels, name="skin.ome.tif"))
    assert (layer.name, layer.rgb, layer.multiscale) == ("skin", True, True)
    assert layer.scale == pytest.approx((0.5, 0.5))
    assert [str(unit) for unit in layer.units] == ["micrometer"] * 2
    assert layer.data[0].shape == pixels.shape
    assert np.array_equal(layer.data[0], pixels)
    assert facts(layer)["role"] == "slide"
    assert facts(layer)["slide"].level_shapes[0] == (300, 400)
    assert facts(layer)["mpp_known"]
    assert facts(layer)["result"] is None


def test_a_slide_by_url_is_one_layer_too(write_pyramid) -> None:
    pixels = noise(300, 400)
    path = write_pyramid(pixels, name="skin.ome.tif")
    with web_server(path.parent) as server:
        (layer,) = read(f"{server.url}/{path.name}")
        assert np.array_equal(layer.data[0], pixels)
        assert reader.get_reader(f"{server.url}/none.ome.zarr") is None
        assert reader.get_reader(f"{server.url}/letter.txt") is None


def test_napari_caches_the_coarsest_level_so_it_is_in_memory(write_pyramid) -> None:
    (layer,) = read(write_pyramid(noise(300, 400)))
    assert [type(level) for level in layer.data[:-1]] == [LazyLevel] * (len(layer.data) - 1)
    assert isinstance(layer.data[-1], np.ndarray)


def test_no_level_is_more_than_three_times_as_fine_as_the_next(write_pyramid) -> None:
    (layer,) = read(write_pyramid(noise(640, 640)))
    rows = [level.shape[0] for level in layer.data]
    assert rows == [640, 320, 160, 80, 40]
    between = np.asarray(layer.data[1]).astype(int)
    exact = noise(640, 640).reshape(320, 2, 320, 2, 3).mean(axis=(1, 3))
    assert np.abs(between - exact).max() <= 1


def test_a_slide_without_a_pixel_size_is_shown_in_pixels_and_says_so(write_pyramid) -> None:
    (layer,) = read(write_pyramid(noise(90, 90), levels=1, mpp=None))
    assert tuple(layer.scale) == (1, 1)
    assert [str(unit) for unit in layer.units] == ["pixel"] * 2
    assert not facts(layer)["mpp_known"]


def test_grey_slides_are_shown_between_percentiles_of_a_coarse_level(write_pyramid) -> None:
    pixels = noise(200, 200)[..., 0].astype(np.uint16) * 10
    (layer,) = read(write_pyramid(pixels, levels=2))
    assert not layer.rgb
    assert layer.ndim == 2
    assert layer.colormap.name == "gray"
    assert tuple(layer.contrast_limits) == contrast_limits(layer.data[-1])
    assert np.array_equal(layer.data[0][5:20, ::3], pixels[5:20, ::3])


def test_each_channel_is_a_layer(tmp_path) -> None:
    path = tmp_path / "cells.tif"
    pixels = np.stack([noise(80, 70, seed=n)[..., 0] for n in range(5)])
    tifffile.imwrite(
        path, pixels, ome=True, photometric="minisblack",
        metadata={"axes": "CYX", "PhysicalSizeX": 0.3, "PhysicalSizeY": 0.3},
    )  # fmt: skip
    layers = read(path)
    assert [layer.name for layer in layers] == [f"cells channel {n}" for n in range(5)]
    for layer, plane in zip(layers, pixels, strict=True):
        assert np.array_equal(layer.data[0], plane)


def test_an_ome_zarr_image_opens(tmp_path) -> None:
    path = tmp_path / "image.zarr"
    group = zarr.create_group(path, attributes={"ome": {"version": "0.5", "multiscales": [{
        "axes": [{"name": n, "type": "space", "unit": "micrometer"} for n in "yx"],
        "datasets": [{"path": "0", "coordinateTransformations": [
            {"type": "scale", "scale": [0.25, 0.25]}]}],
    }]}})  # fmt: skip
    pixels = noise(60, 50)[..., 0]
    group.create_array("0", data=pixels)
    (layer,) = read(path)
    assert layer.name == "image"
    assert layer.scale == pytest.approx((0.25, 0.25))
    assert np.array_equal(layer.data[0], pixels)


def test_what_is_no_slide_is_left_to_other_readers(tmp_path) -> None:
    (tmp_path / "folder").mkdir()
    assert reader.get_reader(str(tmp_path / "folder")) is None
    assert reader.get_reader("notes.txt") is None
    assert reader.get_reader(["a.svs", "b.svs"]) is None


@pytest.mark.parametrize("version", [2, 3])
def test_a_bare_zarr_array_is_left_to_other_readers(tmp_path, version) -> None:
    path = tmp_path / "array.zarr"
    zarr.create_array(path, shape=(3, 4), dtype="uint8", attributes={"a": 1}, zarr_format=version)
    assert reader.get_reader(str(path)) is None


@pytest.mark.parametrize("pattern", formats.viewer_patterns())
def test_every_name_of_the_manifest_is_read(pattern, monkeypatch) -> None:
    name = pattern.replace("*", "slide").upper()
    assert reader.get_reader(name) is reader.read_slide
    monkeypatch.setattr("napari_twostage.slides.formats.find_spec", lambda _: None)
    needs_more = formats.by_ending(name).extra is not None
    assert reader.get_reader(name) is (None if needs_more else reader.read_slide)


@pytest.mark.parametrize("name", ["cut.tif", "cut.svs"])
def test_a_damaged_file_is_refused_in_one_line(write_pyramid, name) -> None:
    path = write_pyramid(noise(200, 200), name=name)
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(SlideError) as refused:
        read(path)
    assert "\n" not in str(refused.value)
    assert name in str(refused.value)


def test_a_damaged_tile_is_blank_and_told_once() -> None:
    slide = open_slide(noise(300, 300), mpp=0.5)
    slide.tile_shape = lambda _level: (64, 64)
    damaged = Box(100, 100, 110, 110)
    damage(slide, damaged)
    warned = []
    reading = slide_levels(PreviewSlide(slide), warned.append)[0]
    shown, warned_before = np.asarray(reading), len(warned)
    np.asarray(reading)
    assert warned_before == len(warned) == 1
    assert (shown[64:128, 64:128] == 255).all()
    shown[64:128, 64:128] = noise(300, 300)[64:128, 64:128]
    assert np.array_equal(shown, noise(300, 300))


@pytest.mark.parametrize(
    "index",
    [
        np.s_[3], np.s_[-1, 2:9], np.s_[2:30, 5:9, 0], np.s_[..., 1], np.s_[::-2, 8:3:-1],
        np.s_[5:5, :], np.s_[:, 100:], np.s_[...],
    ],
)  # fmt: skip
def test_a_lazy_level_is_indexed_as_an_array(index) -> None:
    pixels = noise(40, 50)
    lazy = LazyLevel(lambda box: pixels[box.slices], pixels.shape, pixels.dtype, (16, 16))
    assert np.array_equal(lazy[index], pixels[index])


def test_a_huge_slide_without_levels_is_read_in_small_parts(monkeypatch) -> None:
    down, across = np.mgrid[:1024, :2048]
    pixels = np.stack([down / 4, across / 8, down * 0], axis=-1).astype(np.uint8)
    slide = open_slide(pixels, mpp=0.5)
    slide.tile_shape = lambda _level: (64, 64)
    read_px = []
    inner = slide._read_inside
    monkeypatch.setattr(
        slide, "_read_inside", lambda box, level: read_px.append(box.area) or inner(box, level)
    )
    seen = PreviewSlide(slide)
    assert sum(read_px) <= 256 << 20
    assert max(read_px) <= 64 * 64
    assert max(seen.level_shapes[-1]) <= 64
    grey_per_cell = 2 ** (len(seen.level_shapes) - 1) / 4
    for level, shape in enumerate(seen.level_shapes):
        step = 2**level
        shown = seen.read(Box(0, 0, *shape), level).astype(int)
        middles = pixels[step // 2 :: step, step // 2 :: step].astype(int)
        allowed = 1 if level <= 2 else grey_per_cell
        assert np.abs(shown - middles).max() <= allowed


def test_a_result_is_its_slide_with_the_labels_above(result) -> None:
    slide, labels = read(result.path)
    assert (slide.name, labels.name) == ("cells", "cells.tif labels")
    assert facts(slide)["result"] == facts(labels)["result"] == result.path
    assert facts(labels)["role"] == "labels"
    assert np.array_equal(labels.data[0], result.read_labels(result.grid.box))
    assert np.array_equal(labels.data[-1], np.asarray(result.labels[-1]))
    assert not labels.editable
    colour = labels.colormap.map(np.array([1]))[0]
    assert colour[:3] == pytest.approx([1, 0.8, 0])
    for edge in (0, 1):
        assert labels.extent.world[edge] == pytest.approx(slide.extent.world[edge])


def test_labels_are_shown_where_the_slide_is_gone(result, warnings) -> None:
    (result.path.parent / "cells.tif").unlink()
    (labels,) = read(result.path)
    (message,) = warnings
    assert "without their slide: cells.tif is neither beside" in message
    assert "\n" not in message
    assert labels.scale == pytest.approx((0.5, 0.5))


def test_a_result_of_an_array_shows_its_labels(array_result, warnings) -> None:
    (labels,) = read(array_result.path)
    assert "was an array" in warnings[0]
    assert labels.data[0].shape == ts.Segmentation.open(array_result.path).grid.shape


def test_a_folder_that_only_looks_like_a_result_is_refused_in_one_line(tmp_path) -> None:
    (tmp_path / "record.json").write_text("{}")
    with pytest.raises(ts.errors.SegmentationError, match=r"record\.json is damaged"):
        read(tmp_path)


@pytest.mark.usefixtures("plugin")
def test_the_sample_slide_opens() -> None:
    viewer = ViewerModel()
    (layer,) = viewer.open_sample("napari-twostage", "skin")
    assert layer.name == "CMU-1-Small-Region"
    assert layer.data[0].shape[:2] == (2967, 2220)
    assert layer.scale == pytest.approx((0.499, 0.499))
