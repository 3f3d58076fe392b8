"""OME-Zarr files written by the format's own library, read back and compared with zarr itself."""

import json
import shutil
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import zarr
from ome_zarr.format import FormatV04, FormatV05

from napari_twostage.errors import MissingPixelSizeError, ReadError, SlideError
from napari_twostage.geometry import Box
from napari_twostage.slides import open_slide
from napari_twostage.slides.ome_zarr import open_ome_zarr

with warnings.catch_warnings():  # the library trips over its own deprecations when imported
    warnings.simplefilter("ignore", DeprecationWarning)
    from ome_zarr.writer import write_multiscale

FORMATS = {"0.4": FormatV04(), "0.5": FormatV05()}
SHAPE = (1, 3, 1, 302, 224)
AXES = "tczyx"


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, SHAPE, dtype=np.uint8)


def write(folder, pyramid, *, axes=AXES, version="0.5", scale=0.5, unit="micrometer"):
    """Write levels as the reference library does."""
    fmt = FORMATS[version]
    group = zarr.open_group(folder, mode="w", zarr_format=fmt.zarr_format)
    write_multiscale(
        pyramid,
        group,
        fmt=fmt,
        axes=axes,
        axes_units=dict.fromkeys("yx", unit) if unit else None,
        scale={name: scale if name in "yx" else 1.0 for name in axes},
        storage_options={"chunks": tuple(64 if n in "yx" else 1 for n in axes)},
    )
    return folder


def attributes_file(folder):
    """The file with the group's attributes, and what is in it."""
    path = next(path for path in (folder / "zarr.json", folder / ".zattrs") if path.exists())
    return path, json.loads(path.read_text())


@pytest.mark.parametrize("version", FORMATS)
def test_reads_the_pixels_that_zarr_reads(tmp_path, pixels, version):
    folder = write(tmp_path / "a.zarr", [pixels, pixels[..., ::2, ::2]], version=version)
    array = zarr.open_group(folder, mode="r")["s0"]
    with open_ome_zarr(folder) as slide:
        assert slide.level_shapes == ((302, 224), (151, 112))
        assert slide.factors == ((1.0, 1.0), (2.0, 2.0))
        assert (slide.channels, slide.dtype) == (3, np.uint8)
        assert slide.tile_shape(0) == (64, 64)
        assert slide.mpp == (0.5, 0.5)
        assert slide.mpp_source == "OME-Zarr scale"
        assert slide.format == f"OME-Zarr {version}"
        for box in (Box(0, 0, 302, 224), Box(60, 1, 131, 66), Box(300, 223, 302, 224)):
            expected = np.moveaxis(array[0, :, 0][:, *box.slices], 0, -1)
            np.testing.assert_array_equal(slide.read(box), expected)
        whole = slide.levels[1].compute()
    np.testing.assert_array_equal(whole, np.moveaxis(pixels[0, :, 0, ::2, ::2], 0, -1))


def test_beyond_the_edges_the_slide_is_reflected(tmp_path, pixels):
    slide = open_ome_zarr(write(tmp_path / "a.zarr", [pixels]))
    around = np.pad(np.moveaxis(pixels[0, :, 0], 0, -1), ((9, 9), (9, 9), (0, 0)), "reflect")
    np.testing.assert_array_equal(slide.read(Box(-9, -9, 311, 233)), around)


@pytest.mark.parametrize(
    ("unit", "scale"),
    [
        ("nanometer", 250.0),
        ("micrometer", 0.25),
        ("µm", 0.25),
        ("millimeter", 0.25e-3),
        ("meter", 0.25e-6),
        ("inch", 0.25 / 25400),
    ],
)
def test_units_become_micrometres(tmp_path, pixels, unit, scale):
    folder = write(tmp_path / "a.zarr", [pixels], unit="micrometer", scale=scale)
    path, attributes = attributes_file(folder)  # the library writes only units it knows
    for axis in attributes["attributes"]["ome"]["multiscales"][0]["axes"][2:]:
        axis["unit"] = unit
    path.write_text(json.dumps(attributes))
    assert open_ome_zarr(folder).mpp == pytest.approx((0.25, 0.25))


def test_a_scale_of_the_whole_image_multiplies_that_of_its_levels(tmp_path, pixels):
    folder = write(tmp_path / "a.zarr", [pixels, pixels[..., ::2, ::2]], scale=1.0)
    path, attributes = attributes_file(folder)
    attributes["attributes"]["ome"]["multiscales"][0]["coordinateTransformations"] = [
        {"type": "scale", "scale": [1, 1, 1, 0.3, 0.4]}
    ]
    path.write_text(json.dumps(attributes))
    slide = open_ome_zarr(folder)
    assert slide.mpp == pytest.approx((0.3, 0.4))
    assert slide.factors[1] == pytest.approx((2.0, 2.0))


def test_scales_that_contradict_the_shapes_are_not_believed(tmp_path, pixels):
    folder = write(tmp_path / "a.zarr", [pixels, pixels[..., ::2, ::2]])
    path, attributes = attributes_file(folder)
    levels = attributes["attributes"]["ome"]["multiscales"][0]["datasets"]
    levels[1]["coordinateTransformations"] = levels[0]["coordinateTransformations"]
    path.write_text(json.dumps(attributes))
    assert open_ome_zarr(folder).factors == ((1.0, 1.0), (2.0, 2.0))


@pytest.mark.parametrize("unit", [None, "pixel"])
def test_without_a_pixel_size_the_user_has_to_give_one(tmp_path, pixels, unit):
    folder = write(tmp_path / "a.zarr", [pixels], unit=None)
    path, attributes = attributes_file(folder)
    for axis in attributes["attributes"]["ome"]["multiscales"][0]["axes"][2:]:
        axis.update({"unit": unit} if unit else {})
    path.write_text(json.dumps(attributes))
    with pytest.raises(MissingPixelSizeError, match=r"a\.zarr states no pixel size; pass mpp="):
        open_ome_zarr(folder)
    slide = open_ome_zarr(folder, mpp=(0.2, 0.3))
    assert (slide.mpp, slide.mpp_source) == ((0.2, 0.3), "given by the user")


@pytest.mark.parametrize("axes", ["yxc", "cyx"])
def test_three_channels_of_8_bit_are_colours(tmp_path, axes):
    rgb = np.random.default_rng(1).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    stored = rgb if axes == "yxc" else np.moveaxis(rgb, -1, 0)
    # the reference library insists on its own order of axes: write without it
    folder = tmp_path / "a.zarr"
    group = zarr.create_group(folder)
    group.create_array("0", data=np.ascontiguousarray(stored))
    units = {"y": {"unit": "micrometer"}, "x": {"unit": "micrometer"}}
    transformation = {"type": "scale", "scale": [1.0] * 3}
    group.attrs["ome"] = {
        "version": "0.5",
        "multiscales": [
            {
                "axes": [{"name": name, **units.get(name, {})} for name in axes],
                "datasets": [{"path": "0", "coordinateTransformations": [transformation]}],
            }
        ],
    }
    slide = open_ome_zarr(folder)
    np.testing.assert_array_equal(slide.read(Box(0, 0, 70, 90)), rgb)
    np.testing.assert_array_equal(slide.read(Box(3, 5, 6, 9)), rgb[3:6, 5:9])


@pytest.mark.parametrize("version", FORMATS)
def test_fluorescence_needs_the_choice_of_a_channel(tmp_path, version):
    planes = np.random.default_rng(2).integers(0, 65536, (4, 80, 70), dtype=np.uint16)
    folder = write(
        tmp_path / "a.zarr",
        [planes],
        axes="cyx",
        version=version,
    )
    path, attributes = attributes_file(folder)
    omero = {"channels": [{"label": label} for label in ("DAPI", "GFP", "RFP", "Cy5")]}
    (attributes if version == "0.4" else attributes["attributes"]["ome"])["omero"] = omero
    path.write_text(json.dumps(attributes))
    with pytest.raises(SlideError, match=r"4 channels.*0 \(DAPI\), 1 \(GFP\), 2 \(RFP\), 3 \(Cy5"):
        open_ome_zarr(folder)
    for channel in (1, "1", "GFP", "gfp"):
        slide = open_slide(folder, channel=channel)
        assert (slide.channels, slide.dtype) == (1, np.uint16)
        np.testing.assert_array_equal(slide.read(Box(0, 0, 80, 70))[..., 0], planes[1])
    assert slide.fingerprint() != open_slide(folder, channel=2).fingerprint()
    for channel in (4, -1, "CD8"):
        with pytest.raises(SlideError, match=r"a\.zarr has 4 channels and none is"):
            open_slide(folder, channel=channel)


def test_big_endian_pixels_come_in_the_order_of_this_machine(tmp_path):
    plane = np.arange(600, dtype=">u2").reshape(20, 30)
    folder = write(tmp_path / "a.zarr", [plane], axes="yx", version="0.4")
    slide = open_ome_zarr(folder)
    assert slide.dtype == np.dtype(np.uint16)
    assert slide.read(Box(0, 0, 20, 30)).dtype == slide.dtype
    np.testing.assert_array_equal(slide.read(Box(0, 0, 20, 30))[..., 0], plane)


def test_the_first_image_of_a_collection_is_taken(tmp_path, pixels):
    zarr.create_group(tmp_path / "a.zarr", attributes={"ome": {"bioformats2raw.layout": 3}})
    write(tmp_path / "a.zarr" / "0", [pixels])
    assert open_ome_zarr(tmp_path / "a.zarr").level_shapes == ((302, 224),)


def test_threads_read_what_one_thread_reads(tmp_path, pixels):
    slide = open_ome_zarr(write(tmp_path / "a.zarr", [pixels]))
    boxes = [Box.at(13 * k % 250, 29 * k % 200, 40, 20) for k in range(64)]
    with ThreadPoolExecutor(8) as pool:
        for box, found in zip(boxes, pool.map(slide.read, boxes), strict=True):
            np.testing.assert_array_equal(found, np.moveaxis(pixels[0, :, 0], 0, -1)[box.slices])


def test_the_fingerprint_names_the_pixels(tmp_path, pixels):
    name = open_ome_zarr(write(tmp_path / "a.zarr", [pixels])).fingerprint()
    assert name == open_ome_zarr(write(tmp_path / "b.zarr", [pixels]), mpp=9).fingerprint()
    assert name != open_ome_zarr(write(tmp_path / "c.zarr", [pixels ^ 1])).fingerprint()


@pytest.mark.parametrize("version", FORMATS)
def test_a_damaged_chunk_costs_only_the_boxes_that_touch_it(tmp_path, pixels, version):
    folder = write(tmp_path / "a.zarr", [pixels], version=version)
    stored = folder / "s0" / {"0.4": "0/0/0/1/1", "0.5": "c/0/0/0/1/1"}[version]
    stored.write_bytes(stored.read_bytes()[:30])
    slide = open_ome_zarr(folder)
    with pytest.raises(ReadError, match=r"^a\.zarr cannot be read at rows 100 to 110, .*level 0: "):
        slide.read(Box.at(100, 100, 10, 10))
    expected = np.moveaxis(pixels[0, :, 0, :64, :64], 0, -1)
    np.testing.assert_array_equal(slide.read(Box(0, 0, 64, 64)), expected)
    assert slide.fingerprint()


def test_boxes_beside_each_other_decode_a_chunk_once(tmp_path, pixels):
    folder = write(tmp_path / "a.zarr", [pixels])
    with open_ome_zarr(folder) as slide:
        slide.read(Box(0, 0, 20, 20))
        shutil.rmtree(folder / "s0" / "c")  # zarr would read zeros from now on
        found = slide.read(Box(10, 10, 300, 200))
        assert np.array_equal(found, np.moveaxis(pixels[0, :, 0, 10:300, 10:200], 0, -1))
        slide.close()
        assert not slide.read(Box(10, 10, 300, 200)).any()


def test_chunks_that_would_fill_the_cache_are_read_each_time(tmp_path, pixels):
    folder = write(tmp_path / "a.zarr", [pixels])
    with open_ome_zarr(folder, cache_bytes=1000) as slide:
        slide.read(Box(0, 0, 20, 20))
        shutil.rmtree(folder / "s0" / "c")
        assert not slide.read(Box(0, 0, 20, 20)).any()


def plain_array(folder, _):
    zarr.create_array(folder, shape=(8, 8), dtype="u1")


def plain_group(folder, _):
    zarr.create_group(folder).create_array("0", shape=(8, 8), dtype="u1")


def stack(folder, pixels):
    write(folder, [np.repeat(pixels, 2, axis=2)])


def series(folder, pixels):
    write(folder, [np.repeat(pixels, 4, axis=0)])


def complex_numbers(folder, pixels):
    write(folder, [pixels.astype(np.complex64)])


def missing_level(folder, pixels):
    write(folder, [pixels, pixels[..., ::2, ::2]])
    (folder / "s1" / "zarr.json").unlink()


def growing_levels(folder, pixels):
    write(folder, [pixels[..., ::2, ::2], pixels])


def broken_json(folder, pixels):
    path, _ = attributes_file(write(folder, [pixels]))
    path.write_text(path.read_text()[:40])


def no_scale(folder, pixels):
    path, attributes = attributes_file(write(folder, [pixels]))
    del attributes["attributes"]["ome"]["multiscales"][0]["datasets"][0][
        "coordinateTransformations"
    ]
    path.write_text(json.dumps(attributes))


def zero_sized(folder, _):
    write(folder, [np.zeros((4, 4), np.uint8)], axes="yx")
    path = folder / "s0" / "zarr.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"shape": [0, 4]}))


def nothing(folder, _):
    folder.mkdir()


def absent(_folder, _):
    pass


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (absent, "does not exist"),
        (nothing, "no readable zarr folder"),
        (broken_json, "no readable zarr folder"),
        (plain_array, "plain zarr array.*pass the array itself, with mpp="),
        (plain_group, "no valid OME-Zarr.*'multiscales' is missing.*pass its zarr array itself"),
        (no_scale, "'coordinateTransformations' is missing"),
        (stack, "2 focal planes; choose one with z="),
        (series, "4 time points; choose one with t="),
        (complex_numbers, "complex64 pixels, integers or real numbers were expected"),
        (missing_level, "level s1 of a.zarr, promised"),
        (growing_levels, "ever lower resolution"),
        (zero_sized, "no pixels"),
    ],
)
def test_what_is_no_slide_is_refused_in_one_line(tmp_path: Path, pixels, make, message):
    folder = tmp_path / "a.zarr"
    make(folder, pixels)
    with pytest.raises(SlideError, match=message) as refusal:
        open_ome_zarr(folder, mpp=0.5)
    assert "\n" not in str(refusal.value)
