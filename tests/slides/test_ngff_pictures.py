"""Which picture of an OME-Zarr folder is read: scene, level, channel, plane; against zarr."""

from __future__ import annotations

import shutil
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr
from ome_zarr_models.v04 import Image as Image04
from ome_zarr_models.v05 import Image as Image05
from tests.slide_files import halved, picture
from tests.slide_writers import write_bioformats2raw, write_ngff, write_plate

from napari_twostage.errors import MissingPixelSizeError, SlideError
from napari_twostage.geometry import Box
from napari_twostage.slides import open_slide

if TYPE_CHECKING:
    from pathlib import Path

    from napari_twostage.slides.base import Slide


def whole(slide: Slide, level: int = 0) -> np.ndarray:
    return slide.read(Box(0, 0, *slide.level_shapes[level]), level)


def refused(folder: Path, words: str, **choice: Any) -> None:
    with pytest.raises(SlideError, match=rf"\A[^\n]*{words}[^\n]*\Z"):
        open_slide(folder, **choice)


def planes_first(pixels: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(pixels, -1, 0))


# -- scenes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("listed", [True, False], ids=["listed", "numbered"])
def test_the_largest_scan_of_bioformats2raw_is_read_and_said(
    tmp_path: Path, version: str, listed: bool
) -> None:
    series = {
        "label": picture(300, 300),
        "section 1": picture(120, 90),
        "section 2": picture(150, 200),
        "macro image": picture(400, 300),
    }
    folder = tmp_path / "a.zarr"
    write_bioformats2raw(folder, series, version=version, listed=listed)
    slide = open_slide(folder)
    np.testing.assert_array_equal(whole(slide), series["section 2"])
    assert [scene.name for scene in slide.scenes] == list(series)
    assert [scene.scan for scene in slide.scenes] == [False, True, True, False]
    assert slide.picture.scene == 2
    assert "scene 2 (section 2) of 2 is read" in slide.notices[0]
    for wanted in ("label", 0):
        np.testing.assert_array_equal(whole(open_slide(folder, scene=wanted)), series["label"])
    refused(folder, r"has 4 scenes and none is 'section 3'", scene="section 3")


def test_a_series_that_was_not_copied_hides_no_other(tmp_path: Path) -> None:
    folder = write_bioformats2raw(tmp_path / "a.zarr", {"a": picture(80, 90), "b": picture(70, 60)})
    shutil.rmtree(folder / "0" / "0")
    slide = open_slide(folder)
    np.testing.assert_array_equal(whole(slide), picture(70, 60))
    refused(folder, "level 0 of a.zarr/0.*copy the image again", scene="a")


def test_one_series_is_the_image_without_a_word(tmp_path: Path) -> None:
    folder = write_bioformats2raw(tmp_path / "a.zarr", {"a": picture(80, 90)})
    slide = open_slide(folder)
    assert (slide.scenes, slide.notices, slide.picture.scene) == ((), [], None)
    np.testing.assert_array_equal(whole(slide), picture(80, 90))


def test_fields_of_a_plate_and_of_a_well_are_scenes(tmp_path: Path) -> None:
    names = ("A/1/0", "A/1/1", "B/3/0")
    fields = {name: picture(60 + n, 70)[..., 0] for n, name in enumerate(names)}
    folder = write_plate(tmp_path / "a.zarr", fields)
    assert [scene.name for scene in open_slide(folder).scenes] == list(names)
    for name, pixels in fields.items():
        np.testing.assert_array_equal(whole(open_slide(folder, scene=name))[..., 0], pixels)
    well = open_slide(folder / "A" / "1", scene=1)
    np.testing.assert_array_equal(whole(well)[..., 0], fields["A/1/1"])
    assert len(open_slide(folder / "A" / "1").scenes) == 2


def test_a_plate_without_its_wells_says_so(tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    group.attrs["plate"] = {"wells": [{"path": "A/1"}]}
    refused(tmp_path / "a.zarr", "is a plate, but none of the images.*a.zarr/A/1/0, say")


def test_several_images_of_one_group_are_scenes(tmp_path: Path) -> None:
    small, large = picture(60, 70), picture(80, 90)
    folder = write_ngff(tmp_path / "a.zarr", [planes_first(small)], "cyx", name="small")
    group = zarr.open_group(folder, mode="r+")
    group.create_array("other", data=planes_first(large))
    (first,) = group.attrs["multiscales"]
    second = {**first, "name": "large", "datasets": [{**first["datasets"][0], "path": "other"}]}
    group.attrs["multiscales"] = [first, second]
    np.testing.assert_array_equal(whole(open_slide(folder)), large)
    np.testing.assert_array_equal(whole(open_slide(folder, scene="small")), small)


def test_folders_that_are_no_image_say_what_they_are(tmp_path: Path) -> None:
    folder = write_ngff(tmp_path / "a.zarr", [picture(60, 70)[..., 0]], "yx")
    group = zarr.open_group(folder, mode="r+")
    labels = group.create_group("labels")
    labels.attrs["labels"] = ["cells"]
    write_ngff(folder / "labels" / "cells", [np.zeros((60, 70), np.uint8)], "yx")
    cells = zarr.open_group(folder / "labels" / "cells", mode="r+")
    cells.attrs["image-label"] = {"version": "0.4"}
    refused(folder / "labels", "the folder of an image's labels.*open the image: .*a.zarr")
    refused(folder / "labels" / "cells", "holds labels, a segmentation")
    refused(folder / "0", "plain zarr array.*open the folder of the image")
    outer = tmp_path / "outer.zarr"
    zarr.create_group(outer)
    write_ngff(outer / "images" / "he", [picture(60, 70)[..., 0]], "yx")
    refused(outer, "no OME-Zarr image, but there are some in it; open one of images/he")


# -- levels ---------------------------------------------------------------------------------------


def padded(pixels: np.ndarray, side: int) -> np.ndarray:
    rows, columns = (-n % side for n in pixels.shape[:2])
    return np.pad(pixels, ((0, rows), (0, columns), (0, 0)))


@pytest.mark.parametrize("side", [32, 64])
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_padded_levels_lie_where_their_scale_says(tmp_path: Path, side: int, version: str) -> None:
    levels = [picture(517, 603)]
    for _ in range(3):
        levels.append(halved(levels[-1]))
    stored = [planes_first(padded(one, side)) for one in levels]
    folder = write_ngff(tmp_path / "a.zarr", stored, "cyx", version=version)
    slide = open_slide(folder)
    assert slide.factors == ((1.0, 1.0), (2.0, 2.0), (4.0, 4.0), (8.0, 8.0))
    expected = halved(levels[0], 8)
    found = slide.read_at(Box(0, 0, *expected.shape[:2]), (8.0, 8.0))
    np.testing.assert_allclose(found.astype(int), expected, atol=2)


def test_levels_padded_by_more_than_a_chunk_lie_where_their_scale_says(tmp_path: Path) -> None:
    levels = [picture(1100, 1300), padded(halved(picture(1100, 1300)), 1024)]
    folder = write_ngff(tmp_path / "a.zarr", map_planes(levels), "cyx", chunk=128)
    slide = open_slide(folder)
    assert slide.level_shapes[1] == (1024, 1024)
    assert slide.factors == ((1.0, 1.0), (2.0, 2.0))


@pytest.mark.parametrize(
    ("scales", "factor"),
    [((0.5, 1.0), 2.0), ((0.5, 0.5), 2.0), ((0.5, 0.25), 2.0), ((0.5, 5.0), 2.0)],
    ids=["right", "repeated", "inverted", "absurd"],
)
def test_scales_are_believed_unless_sizes_contradict_them(
    tmp_path: Path, scales: tuple[float, float], factor: float
) -> None:
    levels = [picture(512, 600), picture(256, 300)]
    folder = write_ngff(tmp_path / "a.zarr", map_planes(levels), "cyx", scales=scales)
    slide = open_slide(folder)
    assert slide.factors[1] == (factor, factor)
    assert ["contradict" in notice for notice in slide.notices] == [True] * (scales[1] != 1.0)


def map_planes(levels: list[np.ndarray]) -> list[np.ndarray]:
    return [planes_first(one) for one in levels]


@pytest.mark.parametrize(("version", "shard"), [("0.4", None), ("0.5", None), ("0.5", 2)])
@pytest.mark.parametrize("lost", [(1,), (1, 2), (2,)])
def test_chunks_that_coarse_levels_lack_are_read_from_finer_ones(
    tmp_path: Path, version: str, shard: int | None, lost: tuple[int, ...]
) -> None:
    levels = [picture(512, 640)]
    levels += [halved(levels[0]), halved(levels[0], 4)]
    folder = write_ngff(
        tmp_path / "a.zarr", map_planes(levels), "cyx", version=version, shard=shard
    )
    for level in lost:  # all of its chunks, or those of one channel
        shutil.rmtree(folder / str(level) / ("c" if version == "0.5" else "0"))
    slide = open_slide(folder)
    for level, expected in enumerate(levels):
        np.testing.assert_allclose(whole(slide, level).astype(int), expected, atol=1)
    assert np.array_equal(slide.read(Box(3, 5, 90, 70), lost[0])[..., 0],
                          whole(slide, lost[0])[3:90, 5:70, 0])  # fmt: skip


def test_background_that_writers_leave_out_stays_as_it_is(tmp_path: Path) -> None:
    blank = np.zeros((256, 256), np.uint8)
    blank[:64, :64] = 7
    folder = write_ngff(tmp_path / "a.zarr", [blank, blank[::2, ::2].copy()], "yx")
    assert not (folder / "0" / "3" / "3").exists()
    slide = open_slide(folder)
    np.testing.assert_array_equal(whole(slide, 1)[..., 0], blank[::2, ::2])


# -- planes, types and channels -------------------------------------------------------------------


@pytest.mark.parametrize("axes", ["tczyx", "tzyx", "zyx", "CZYX", "czyx", "zcyx"])
def test_a_focal_plane_and_a_time_point_are_chosen(tmp_path: Path, axes: str) -> None:
    lengths = {"t": 2, "c": 2, "z": 3, "y": 70, "x": 90}
    shape = [lengths[axis] for axis in axes.lower()]
    stored = np.random.default_rng(0).integers(0, 60000, shape, dtype=np.uint16)
    folder = write_ngff(tmp_path / "a.zarr", [stored], axes)
    order = [axes.lower().index(axis) for axis in "tczyx" if axis in axes.lower()]
    known = stored.transpose(order).reshape(
        [lengths[axis] if axis in axes.lower() else 1 for axis in "tczyx"]
    )
    choice: dict[str, Any] = {"channel": 1} if "c" in axes.lower() else {}
    if "t" in axes:
        refused(folder, r"2 time points; choose one with t=0 to t=1", z=0, **choice)
        refused(folder, r"2 time points and none is 2", z=0, t=2, **choice)
        choice["t"] = 1
    refused(folder, r"3 focal planes; choose one with z=0 to z=2, .*z='max'", **choice)
    for z in (0, 2, "max"):
        slide = open_slide(folder, z=z, **choice)
        at = known[choice.get("t", 0), choice.get("channel", 0)]
        expected = at.max(axis=0) if z == "max" else at[z]
        np.testing.assert_array_equal(whole(slide)[..., 0], expected)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize(
    "kind", ["int8", "int16", "uint32", "int32", "int64", "float16", "float32", "float64", ">f4"]
)
def test_other_numbers_are_read_as_float32(tmp_path: Path, kind: str, version: str) -> None:
    rng = np.random.default_rng(1)
    stored = (rng.random((80, 90)) * 100 - 20 * (kind[0] != "u")).astype(kind)
    if stored.dtype.kind == "f":
        stored[3, 4] = np.nan
    folder = write_ngff(tmp_path / "a.zarr", [stored], "yx", version=version)
    slide = open_slide(folder)
    assert slide.dtype == np.float32
    np.testing.assert_array_equal(whole(slide)[..., 0], stored.astype(np.float32))


def test_masks_of_true_and_false_are_black_and_white(tmp_path: Path) -> None:
    stored = picture(80, 90)[..., 0] > 100
    slide = open_slide(write_ngff(tmp_path / "a.zarr", [stored], "yx"))
    np.testing.assert_array_equal(whole(slide)[..., 0], np.where(stored, 255, 0))


def named(*labels: str, colours: tuple[str, ...] = ()) -> dict[str, Any]:
    channels: list[dict[str, str]] = [{"label": label} if label else {} for label in labels]
    for channel, colour in zip(channels, colours, strict=False):
        channel["color"] = colour
    return {"channels": channels}


RGB = ("FF0000", "00FF00", "0000FF")


@pytest.mark.parametrize(
    ("kind", "omero", "order"),
    [
        ("uint8", None, (0, 1, 2)),
        ("uint8", named("0", "1", "2"), (0, 1, 2)),
        ("uint8", named("Channel:0:0", "Channel:0:1", "Channel:0:2"), (0, 1, 2)),
        ("uint8", named("a.svs", "a.svs", "a.svs", colours=RGB), (0, 1, 2)),
        ("uint8", named("", "", "", colours=RGB), (0, 1, 2)),
        ("uint8", named("", "", "", colours=("FFFFFF",) * 3), (0, 1, 2)),
        ("uint8", named("Red", "Green", "Blue"), (0, 1, 2)),
        ("uint8", named("B", "G", "R"), (2, 1, 0)),
        ("uint16", named("red", "green", "blue"), (0, 1, 2)),
        ("uint8", named("DAPI", "FITC", "TRITC"), None),
        ("uint8", named("DAPI", "FITC", "TRITC", colours=RGB), None),
        ("uint8", named("", "", "", colours=("0000FF", "00FF00", "FFFF00")), None),
        ("uint16", None, None),
        ("uint16", named("", "", "", colours=RGB), None),
    ],
)
def test_three_channels_are_colours_unless_something_speaks_against_it(
    tmp_path: Path, kind: str, omero: dict[str, Any] | None, order: tuple[int, ...] | None
) -> None:
    stored = planes_first(picture(60, 70, dtype=kind))
    folder = write_ngff(tmp_path / "a.zarr", [stored], "cyx", omero=omero)
    if order is None:
        refused(folder, "3 channels; choose one of 0")
        np.testing.assert_array_equal(
            whole(open_slide(folder, channel="rgb")), np.moveaxis(stored, 0, -1)
        )
        assert len(open_slide(folder, channel=0).channel_names) == 3
        return
    np.testing.assert_array_equal(
        whole(open_slide(folder)), np.moveaxis(stored[list(order)], 0, -1)
    )


def test_blue_green_and_red_without_names_are_fluorescence(tmp_path: Path) -> None:
    stored = planes_first(picture(60, 70))
    omero = named("", "", "", colours=RGB[::-1])
    folder = write_ngff(tmp_path / "a.zarr", [stored], "cyx", omero=omero)
    refused(folder, "3 channels; choose one of 0")
    colours = whole(open_slide(folder, channel="rgb"))
    np.testing.assert_array_equal(colours, np.moveaxis(stored[::-1], 0, -1))


def test_a_channel_is_chosen_by_name_in_any_case(tmp_path: Path) -> None:
    stored = planes_first(picture(60, 70, channels=4))
    omero = named("DAPI", "FITC", "TRITC", "Cy5")
    folder = write_ngff(tmp_path / "a.zarr", [stored], "cyx", omero=omero)
    slide = open_slide(folder, channel="cy5")
    assert slide.channel_names == ("DAPI", "FITC", "TRITC", "Cy5")
    np.testing.assert_array_equal(whole(slide)[..., 0], stored[3])
    refused(folder, "4 channels, rgb needs three", channel="rgb")


# -- versions and units ---------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["0.1", "0.2", "0.3", "0.4", "0.5"])
def test_every_version_is_read(tmp_path: Path, version: str) -> None:
    axes = "tczyx" if version < "0.3" else "cyx"
    pixels = picture(70, 90)
    stored = planes_first(pixels).reshape((1, 3, 1, 70, 90) if version < "0.3" else (3, 70, 90))
    folder = write_ngff(tmp_path / "a.zarr", [stored], axes, version=version)
    if version < "0.4":  # states no pixel size
        with pytest.raises(MissingPixelSizeError, match="states no pixel size; pass mpp"):
            open_slide(folder)
    slide = open_slide(folder, mpp=None if version >= "0.4" else 0.5)
    assert (slide.mpp, slide.format) == ((0.5, 0.5), f"OME-Zarr {version}")
    np.testing.assert_array_equal(whole(slide), pixels)


def test_a_later_version_is_called_by_its_name(tmp_path: Path) -> None:
    folder = write_ngff(tmp_path / "a.zarr", [picture(60, 70)[..., 0]], "yx", version="0.5")
    group = zarr.open_group(folder, mode="r+")
    ome = dict(group.attrs["ome"])
    ome["version"] = "0.6"
    ome["multiscales"][0]["coordinateSystems"] = []
    group.attrs["ome"] = ome
    refused(folder, "is OME-Zarr 0.6, with coordinate systems; versions up to 0.5 are read")


# metres per unit, of the BIPM's brochure on the SI and of the international yard of 1959
LENGTHS = {
    "angstrom": 1e-10, "picometer": 1e-12, "nanometer": 1e-9, "micrometer": 1e-6,
    "millimeter": 1e-3, "centimeter": 1e-2, "decimeter": 0.1, "meter": 1.0, "decameter": 10.0,
    "hectometer": 100.0, "kilometer": 1e3, "inch": 0.0254, "foot": 0.3048, "yard": 0.9144,
    "mile": 1609.344, "micrometre": 1e-6, "Micrometer": 1e-6, "microns": 1e-6, "nm": 1e-9,
    "mm": 1e-3, "um": 1e-6, "femtometer": 1e-15, "megameter": 1e6,
}  # fmt: skip


@pytest.mark.parametrize("unit", LENGTHS)
def test_units_of_length_become_micrometres(tmp_path: Path, unit: str) -> None:
    folder = tmp_path / "a.zarr"
    write_ngff(folder, [np.ones((4, 4), np.uint8)], "yx", mpp=0.25e-6 / LENGTHS[unit], unit=unit)
    assert open_slide(folder).mpp == pytest.approx((0.25, 0.25))


@pytest.mark.parametrize(
    ("unit", "words"),
    [
        ("furlong", "states its pixel size in 'furlong', which is no unit of length"),
        ("second", "states its pixel size in 'second'"),
        ("pixel", "states no pixel size"),
        (None, "states no pixel size"),
    ],
)
def test_other_units_are_named(tmp_path: Path, unit: str | None, words: str) -> None:
    folder = write_ngff(tmp_path / "a.zarr", [picture(60, 70)[..., 0]], "yx", unit=unit)
    with pytest.raises(MissingPixelSizeError, match=words):
        open_slide(folder)
    assert open_slide(folder, mpp=0.3).mpp == (0.3, 0.3)


# -- the files of these tests ---------------------------------------------------------------------


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("axes", ["cyx", "tczyx", "yx"])
def test_the_folders_of_these_tests_are_valid(tmp_path: Path, version: str, axes: str) -> None:
    shape = [{"t": 1, "c": 3, "z": 2}.get(axis, 64) for axis in axes]
    folder = tmp_path / "a.zarr"
    write_ngff(folder, [np.zeros(shape, np.uint8)], axes, version=version)
    model = Image05 if version == "0.5" else Image04
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library's own
        image = model.from_zarr(zarr.open_group(folder, mode="r"))
    assert image.attributes.model_dump()
