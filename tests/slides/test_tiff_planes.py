"""Channels, focal planes and time points of TIFF files: each plane is the one asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile

from napari_twostage.errors import SlideError
from napari_twostage.geometry import Box
from napari_twostage.slides import open_slide

if TYPE_CHECKING:
    from pathlib import Path

    from napari_twostage.slides.base import Slide

Make = Callable[..., np.ndarray]


def whole(slide: Slide, level: int = 0) -> np.ndarray:
    pixels = slide.read(Box(0, 0, *slide.level_shapes[level]), level)
    return pixels[..., 0] if slide.channels == 1 else pixels


def stack(shape: tuple[int, ...], dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 250, shape).astype(dtype)


WRITERS: dict[str, dict[str, Any]] = {
    "ImageJ": {"imagej": True},
    "ImageJ above 4 GB": {"imagej": True, "metadata": {"axes": "CYX"}, "truncate": True},
    "tifffile, one page": {"metadata": {"axes": "CYX"}, "truncate": True},
    "tifffile, pages": {"metadata": {"axes": "CYX"}},
    "OME": {"ome": True, "metadata": {"axes": "CYX"}},
    "OME, compressed": {"ome": True, "metadata": {"axes": "CYX"}, "compression": "zlib"},
    "samples": {"metadata": None, "planarconfig": "separate"},
}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("writer", WRITERS)
def test_every_channel_of_every_writer(tmp_path: Path, writer: str, dtype: type) -> None:
    planes = stack((5, 70, 60), dtype)
    path = tmp_path / "a.tif"
    options = {"metadata": {"axes": "CYX"}, **WRITERS[writer]}
    tifffile.imwrite(path, planes, photometric="minisblack", **options)
    with pytest.raises(SlideError, match=r"a.tif has 5 channels; choose one of 0, 1, 2, 3, 4"):
        open_slide(path, mpp=1)
    for number, plane in enumerate(planes):
        with open_slide(path, mpp=1, channel=number) as slide:
            assert len(slide.channel_names) == 5
            np.testing.assert_array_equal(whole(slide), plane)


@pytest.mark.parametrize("writer", ["ImageJ", "ImageJ above 4 GB", "OME", "tifffile, one page"])
def test_planes_along_three_axes(tmp_path: Path, writer: str) -> None:
    pixels = stack((2, 3, 4, 30, 40), np.uint16)
    path = tmp_path / "a.tif"
    options = {**WRITERS[writer], "metadata": {"axes": "TZCYX"}}
    tifffile.imwrite(path, pixels, photometric="minisblack", **options)
    for t, z, channel in np.ndindex(2, 3, 4):
        with open_slide(path, mpp=1, t=t, z=z, channel=channel) as slide:
            np.testing.assert_array_equal(whole(slide), pixels[t, z, channel])
    slide = open_slide(path, mpp=1, t=1, z="max", channel=2)
    np.testing.assert_array_equal(whole(slide), pixels[1, :, 2].max(axis=0))
    with pytest.raises(SlideError, match=r"has 3 focal planes; choose one with z=0 to z=2"):
        open_slide(path, mpp=1, t=1, channel=0)
    with pytest.raises(SlideError, match=r"has 2 time points and none is 2; choose"):
        open_slide(path, mpp=1, t=2, z=0, channel=0)


def test_focal_planes_of_colours_and_their_maximum_at_every_level(
    tmp_path: Path, picture: Make
) -> None:
    planes = np.stack([np.roll(picture(96, 128), 9 * n, axis=1) for n in range(3)])
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as tif:
        common = {"photometric": "rgb", "tile": (32, 32), "compression": "zlib"}
        tif.write(planes, subifds=1, metadata={"axes": "ZYXS"}, **common)
        tif.write(planes[:, ::2, ::2], subfiletype=1, **common)
    with open_slide(path, mpp=1, z=1) as slide:
        np.testing.assert_array_equal(whole(slide), planes[1])
        np.testing.assert_array_equal(whole(slide, 1), planes[1, ::2, ::2])
    with open_slide(path, mpp=1, z="max") as slide:
        np.testing.assert_array_equal(whole(slide), planes.max(axis=0))
        np.testing.assert_array_equal(whole(slide, 1), planes[:, ::2, ::2].max(axis=0))


def test_the_maximum_passes_over_what_is_no_number(tmp_path: Path) -> None:
    planes = stack((2, 20, 20), np.float32)
    planes[0, :5], planes[:, 10] = np.nan, np.nan
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, planes, photometric="minisblack", metadata={"axes": "ZYX"})
    np.testing.assert_array_equal(whole(open_slide(path, mpp=1, z="max")), np.fmax(*planes))


def test_the_maximum_passes_over_tiles_that_a_plane_lacks(tmp_path: Path, picture: Make) -> None:
    planes = np.stack([picture(64, 64), picture(64, 64) // 2])
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, planes, photometric="rgb", tile=(32, 32), metadata={"axes": "ZYXS"},
        compression="zlib",
    )  # fmt: skip
    with tifffile.TiffFile(path, mode="r+b") as tif:
        tag = tif.pages[0].tags[325]
        tag.overwrite([0, *tag.value[1:]])
    expected = planes.max(axis=0)
    expected[:32, :32] = planes[1, :32, :32]
    np.testing.assert_array_equal(whole(open_slide(path, mpp=1, z="max")), expected)


@pytest.mark.parametrize("choice", ["z", "t", "channel"])
def test_an_axis_without_a_name_is_what_is_asked_for(tmp_path: Path, choice: str) -> None:
    planes = stack((4, 30, 40))
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tif:
        for plane in planes:
            tif.write(plane, photometric="minisblack", metadata=None)
    np.testing.assert_array_equal(whole(open_slide(path, mpp=1, **{choice: 3})), planes[3])
    with pytest.raises(SlideError, match="is a stack of 4 planes"):
        open_slide(path, mpp=1)


def test_what_there_is_one_of_is_not_chosen(tmp_path: Path, picture: Make) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, picture(30, 40), photometric="rgb", metadata=None)
    assert open_slide(path, mpp=1, z=0, t=0, channel=0, scene=0).channels == 3
    assert open_slide(path, mpp=1, channel="rgb").channels == 3
    for choice in ({"z": 1}, {"t": 1}, {"channel": 1}, {"scene": 1}, {"channel": "DAPI"}):
        with pytest.raises(SlideError, match=r"^a.tif has one "):
            open_slide(path, mpp=1, **choice)


def test_a_stack_that_is_cut_off_is_not_its_first_plane(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, stack((3, 60, 60)), imagej=True, truncate=True)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(SlideError, match=r"a.tif is truncated.*3 planes"):
        open_slide(path, mpp=1, channel=0)


RED, GREEN, BLUE = -16776961, 16711935, 65535
"""Colours of OME-XML: red, green, blue and alpha in a signed number of 32 bits."""


def write_three(path: Path, planes: np.ndarray, names: list[str], colours: list[int]) -> Path:
    channel = {"Name": names} if names else {}
    channel |= {"Color": colours} if colours else {}
    tifffile.imwrite(
        path, planes, ome=True, photometric="minisblack", tile=(32, 32), compression="zlib",
        metadata={"axes": "CYX", "Channel": channel} if channel else {"axes": "CYX"},
    )  # fmt: skip
    return path


@pytest.mark.parametrize(
    ("names", "colours"),
    [
        (["Red", "Green", "Blue"], []),
        (["red", "green", "blue"], [BLUE, GREEN, RED]),
        (["R", "G", "B"], []),
        ([], [RED, GREEN, BLUE]),
        (["Channel 0", "Channel 1", "Channel 2"], [RED, GREEN, BLUE]),
    ],
)
def test_three_planes_that_are_colours(
    tmp_path: Path, picture: Make, names: list[str], colours: list[int]
) -> None:
    pixels = picture(70, 90)
    path = write_three(tmp_path / "a.tif", np.moveaxis(pixels, -1, 0), names, colours)
    slide = open_slide(path, mpp=1)
    assert slide.channels == 3
    np.testing.assert_array_equal(whole(slide), pixels)
    np.testing.assert_array_equal(whole(open_slide(path, mpp=1, channel=1)), pixels[..., 1])


def test_colours_in_another_order(tmp_path: Path, picture: Make) -> None:
    pixels = picture(70, 90)
    planes = np.moveaxis(pixels[..., ::-1], -1, 0)
    path = write_three(tmp_path / "a.tif", planes, ["Blue", "Green", "Red"], [])
    np.testing.assert_array_equal(whole(open_slide(path, mpp=1)), pixels)
    flat = tmp_path / "b.ome.tif"
    tifffile.imwrite(
        flat, pixels[..., ::-1], ome=True, photometric="minisblack", planarconfig="contig",
        metadata={"axes": "YXC", "Channel": {"Name": ["Blue", "Green", "Red"]}},
    )  # fmt: skip
    np.testing.assert_array_equal(whole(open_slide(flat, mpp=1, channel="rgb"))[..., 1],
                                  pixels[..., 1])  # fmt: skip


@pytest.mark.parametrize(
    ("names", "colours"),
    [
        (["DAPI", "FITC", "TRITC"], []),
        (["DAPI", "FITC", "TRITC"], [RED, GREEN, BLUE]),
        (["DAPI", "Green", "Blue"], []),
        ([], []),
        ([], [BLUE, GREEN, -1]),
    ],
)
def test_fluorescence_is_not_taken_for_colours(
    tmp_path: Path, names: list[str], colours: list[int]
) -> None:
    planes = stack((3, 40, 50))
    path = write_three(tmp_path / "a.tif", planes, names, colours)
    with pytest.raises(SlideError, match=r"3 channels; choose one of .*, or rgb for all three"):
        open_slide(path, mpp=1)
    slide = open_slide(path, mpp=1, channel="rgb")
    np.testing.assert_array_equal(whole(slide), np.moveaxis(planes, 0, -1))


def test_blue_green_and_red_without_names_are_fluorescence(tmp_path: Path) -> None:
    planes = stack((3, 40, 50))
    path = write_three(tmp_path / "a.tif", planes, [], [BLUE, GREEN, RED])
    with pytest.raises(SlideError, match="3 channels; choose one of"):
        open_slide(path, mpp=1)
    colours = whole(open_slide(path, mpp=1, channel="rgb"))
    np.testing.assert_array_equal(colours, np.moveaxis(planes[::-1], 0, -1))


def test_16_bit_channels_shown_in_red_green_and_blue_are_no_colours(tmp_path: Path) -> None:
    path = write_three(tmp_path / "a.tif", stack((3, 40, 50), np.uint16), [], [RED, GREEN, BLUE])
    with pytest.raises(SlideError, match="3 channels"):
        open_slide(path, mpp=1)


def test_rgb_needs_three_channels(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, stack((4, 40, 50)), imagej=True, metadata={"axes": "CYX"})
    with pytest.raises(SlideError, match="has 4 channels, rgb needs three"):
        open_slide(path, mpp=1, channel="rgb")


def test_names_of_imagej(tmp_path: Path) -> None:
    planes = stack((2, 3, 40, 50))
    path = tmp_path / "a.tif"
    labels = [f"{name}\nslice {z}" for z in range(2) for name in ("DAPI", "CD3", "CD8")]
    tifffile.imwrite(path, planes, imagej=True, metadata={"axes": "ZCYX", "Labels": labels})
    slide = open_slide(path, mpp=1, z=1, channel="cd8")
    assert slide.channel_names == ("DAPI", "CD3", "CD8")
    np.testing.assert_array_equal(whole(slide), planes[1, 2])


def write_qptiff(path: Path, levels: list[np.ndarray], names: list[str]) -> Path:
    """A QPTIFF of Akoya: pages for each channel of each level, the thumbnail after the first."""
    text = (
        '<?xml version="1.0" encoding="utf-16"?><PerkinElmer-QPI-ImageDescription>'
        "<ImageType>%s</ImageType>%s</PerkinElmer-QPI-ImageDescription>"
    )
    with tifffile.TiffWriter(path, bigtiff=True) as tif:
        common = {
            "software": "PerkinElmer-QPI", "metadata": None, "resolutionunit": 3,
            "photometric": "minisblack",
        }  # fmt: skip
        for number, level in enumerate(levels):
            kind = "ReducedResolution" if number else "FullResolution"
            for name, plane in zip(names, level, strict=True):
                tif.write(
                    plane, description=text % (kind, f"<Name>{name}</Name>"), tile=(64, 64),
                    resolution=(20000 / 2**number,) * 2, compression="lzw", **common,
                )  # fmt: skip
            if not number:
                small = np.zeros((40, 30, 3), np.uint8)
                tif.write(
                    small, description=text % ("Thumbnail", ""), **{**common, "photometric": "rgb"}
                )
        for kind in ("Overview", "Label"):
            small = np.zeros((60, 50, 3), np.uint8)
            tif.write(small, description=text % (kind, ""), **{**common, "photometric": "rgb"})
    return path


@pytest.mark.parametrize("shape", [(256, 192), (255, 187)])
def test_names_and_levels_of_qptiff(tmp_path: Path, shape: tuple[int, int]) -> None:
    names = ["DAPI", "Opal 520", "Opal 690"]
    full = stack((3, *shape))
    levels = [full, full[:, ::2, ::2][:, : shape[0] // 2, : shape[1] // 2]]
    path = write_qptiff(tmp_path / "a.qptiff", levels, names)
    slide = open_slide(path, channel="opal 520")
    assert slide.channel_names == tuple(names)
    assert slide.level_shapes == (shape, levels[1].shape[1:])
    assert slide.factors == ((1, 1), (2, 2))
    assert (slide.mpp, slide.mpp_source) == ((0.5, 0.5), "QPTIFF resolution")
    assert [scene.name for scene in slide.scenes[1:]] == ["thumbnail", "macro", "label"]
    for level, planes in enumerate(levels):
        np.testing.assert_array_equal(whole(slide, level), planes[1])
