"""CZI files written with Zeiss' own library, against what was written."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.slide_files import halved, picture
from tests.slide_writers import add_czi_levels

from napari_twostage.errors import MissingPixelSizeError, ReadError, SlideError
from napari_twostage.geometry import Box
from napari_twostage.slides import open_slide

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_twostage.slides.base import Slide

czi = pytest.importorskip("pylibCZIrw.czi", reason="needs the extra czi")

Tile = tuple[np.ndarray, tuple[int, int], dict[str, int], int]
"""Pixels, place (x, y), plane and scene."""


def whole(slide: Slide, level: int = 0) -> np.ndarray:
    return slide.read(Box(0, 0, *slide.level_shapes[level]), level)


def write_czi(
    path: Path,
    tiles: Sequence[Tile],
    *,
    channels: Sequence[str] = ("TL",),
    mpp: float | None = 0.25,
) -> Path:
    with czi.create_czi(str(path)) as document:
        for pixels, place, plane, scene in tiles:
            stored = pixels[..., ::-1] if pixels.shape[-1] == 3 else pixels
            document.write(np.ascontiguousarray(stored), location=place, plane=plane, scene=scene)
        sizes = {f"scale_{axis}": mpp * 1e-6 for axis in "xy"} if mpp else {}
        document.write_metadata(document_name="a", channel_names=dict(enumerate(channels)), **sizes)
    return path


def test_the_largest_scene_is_read_and_the_others_are_said(tmp_path: Path) -> None:
    small, large = picture(200, 300), picture(310, 250)
    path = tmp_path / "a.czi"
    write_czi(path, [(small, (-70, 30), {"C": 0}, 0), (large, (900, 500), {"C": 0}, 1)])
    with open_slide(path) as slide:
        assert (slide.mpp, slide.mpp_source) == (pytest.approx((0.25, 0.25)), "CZI scaling")
        assert (slide.channels, slide.dtype, slide.format) == (3, np.uint8, "Zeiss CZI")
        assert "scene 1 of 2 is read" in slide.notices[0]
        np.testing.assert_array_equal(whole(slide), large)
        np.testing.assert_array_equal(slide.read(Box(7, 11, 90, 101)), large[7:90, 11:101])
        fingerprint = slide.fingerprint()
    with open_slide(path, scene=0) as slide:
        np.testing.assert_array_equal(whole(slide), small)
        assert slide.fingerprint() != fingerprint


@pytest.mark.parametrize("factor", [2, 4])
def test_levels_that_the_file_stores_are_read(tmp_path: Path, factor: int) -> None:
    pixels = picture(512, 640)
    coarse = 255 - halved(pixels, factor)  # unlike the pixels that it covers, to tell them apart
    path = tmp_path / "a.czi"
    write_czi(path, [(pixels, (0, 0), {"C": 0}, 0), (coarse, (0, 0), {"C": 0}, 0)])
    add_czi_levels(path, {coarse.shape[1::-1]: factor})
    with open_slide(path) as slide:
        assert slide.level_shapes == ((512, 640), coarse.shape[:2])
        assert slide.factors == ((1.0, 1.0), (float(factor),) * 2)
        np.testing.assert_array_equal(whole(slide), pixels)
        np.testing.assert_array_equal(whole(slide, 1), coarse)
        np.testing.assert_array_equal(slide.read(Box(5, 9, 60, 70), 1), coarse[5:60, 9:70])


@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32"])
def test_channels_planes_and_times_are_chosen(tmp_path: Path, kind: str) -> None:
    stored = np.random.default_rng(0).integers(0, 250, (2, 3, 2, 90, 80)).astype(kind)
    tiles: list[Tile] = [
        (stored[c, z, t, ..., None], (0, 0), {"C": c, "Z": z, "T": t}, 0)
        for c, z, t in np.ndindex(2, 3, 2)
    ]
    path = write_czi(tmp_path / "a.czi", tiles, channels=("DAPI", "EGFP"))
    choice: dict[str, Any] = {"channel": "egfp", "z": 1, "t": 1}
    for missing in choice:
        others = {key: value for key, value in choice.items() if key != missing}
        with pytest.raises(SlideError, match=rf"\Aa\.czi has \d [^\n]*{missing}=[^\n]*\Z"):
            open_slide(path, **others)
    with open_slide(path, **choice) as slide:
        assert (slide.dtype, slide.channel_names) == (np.dtype(kind), ("DAPI", "EGFP"))
        np.testing.assert_array_equal(whole(slide)[..., 0], stored[1, 1, 1])
    with open_slide(path, channel=0, z="max", t=0) as slide:
        np.testing.assert_array_equal(whole(slide)[..., 0], stored[0, :, 0].max(axis=0))


def test_what_was_not_scanned_is_white_on_bright_field(tmp_path: Path) -> None:
    pixels = picture(100, 120)
    tiles = [(pixels, (0, 0), {"C": 0}, 0), (pixels, (300, 250), {"C": 0}, 0)]
    with open_slide(write_czi(tmp_path / "a.czi", tiles)) as slide:
        assert slide.level_shapes == ((350, 420),)
        assert (slide.read(Box(0, 150, 90, 400)) == 255).all()
        np.testing.assert_array_equal(slide.read(Box(250, 300, 350, 420)), pixels)


def test_threads_read_what_one_thread_reads(tmp_path: Path) -> None:
    pixels = picture(400, 500)
    path = write_czi(tmp_path / "a.czi", [(pixels, (0, 0), {"C": 0}, 0)])
    boxes = [Box.at(13 * k % 300, 29 * k % 400, 90, 80) for k in range(24)]
    with open_slide(path) as slide, ThreadPoolExecutor(8) as pool:
        for box, found in zip(boxes, pool.map(slide.read, boxes), strict=True):
            np.testing.assert_array_equal(found, pixels[box.slices])


def test_without_a_pixel_size_the_user_has_to_give_one(tmp_path: Path) -> None:
    path = write_czi(tmp_path / "a.czi", [(picture(90, 80), (0, 0), {"C": 0}, 0)], mpp=None)
    with pytest.raises(MissingPixelSizeError, match=r"\Aa\.czi states no pixel size"):
        open_slide(path)
    with open_slide(path, mpp=0.5) as slide:
        assert slide.mpp == (0.5, 0.5)


def test_damage_is_told_in_one_line(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (256, 256, 3), dtype=np.uint8)
    path = write_czi(tmp_path / "a.czi", [(noise, (0, 0), {"C": 0}, 0)])
    data = path.read_bytes()
    (tmp_path / "cut.czi").write_bytes(data[:300])
    with pytest.raises(SlideError, match=r"\Acut\.czi is no readable CZI [^\n]*; copy it again\Z"):
        open_slide(tmp_path / "cut.czi")
    at = data.find(b"ZISRAWSUBBLOCK")
    path.write_bytes(data[: at + 2] + b"?" * 8 + data[at + 10 :])
    with open_slide(path) as slide, pytest.raises(ReadError, match=r"\Aa\.czi cannot be read at"):
        whole(slide)
