"""Arrays and lists of levels as slides."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dask.array as da
import imagecodecs
import numpy as np
import pytest
import zarr

from napari_twostage.errors import ReadError, SlideError
from napari_twostage.geometry import Box
from napari_twostage.slides import open_slide

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def as_zarr(pixels: np.ndarray) -> zarr.Array:
    array = zarr.create_array(
        zarr.storage.MemoryStore(), shape=pixels.shape, dtype=pixels.dtype, chunks=(32, 48, 3)
    )
    array[:] = pixels
    return array


@pytest.mark.parametrize("wrap", [np.asarray, da.asarray, as_zarr])
def test_every_array_library_gives_the_same_pixels(
    wrap: Callable[[np.ndarray], object], picture: Callable[..., np.ndarray]
) -> None:
    pixels = picture(131, 97)
    slide = open_slide([wrap(pixels), wrap(pixels[::2, ::2])], mpp=(0.5, 0.25))
    assert slide.level_shapes == ((131, 97), (66, 49))
    assert (slide.mpp, slide.mpp_source) == ((0.5, 0.25), "given by the user")
    assert (slide.channels, slide.dtype, slide.path) == (3, np.uint8, None)
    np.testing.assert_array_equal(slide.read(Box(7, 9, 120, 90)), pixels[7:120, 9:90])
    np.testing.assert_array_equal(slide.read(Box(3, 2, 60, 40), 1), pixels[6:120:2, 4:80:2])


def test_chunks_follow_the_array(picture: Callable[..., np.ndarray]) -> None:
    slide = open_slide(as_zarr(picture(131, 97)), mpp=1.0)
    assert slide.tile_shape(0) == (32, 48)


@pytest.mark.parametrize(
    ("shape", "channel", "index"),
    [
        ((40, 50), None, np.s_[:, :, None]),
        ((40, 50), 0, np.s_[:, :, None]),
        ((40, 50, 1), None, np.s_[:, :]),
        ((40, 50, 4), None, np.s_[:, :]),
        ((5, 40, 50), 2, np.s_[2, :, :, None]),
        ((40, 50, 5), "3", np.s_[:, :, 3, None]),
        ((40, 50, 3), 1, np.s_[:, :, 1, None]),
    ],
)
def test_planes_colours_and_channels(
    shape: tuple[int, ...], channel: object, index: tuple[object, ...]
) -> None:
    pixels = np.random.default_rng(1).integers(0, 9999, shape).astype(">u2")
    slide = open_slide(pixels, mpp=1.0, channel=channel)
    assert slide.dtype == np.uint16
    assert slide.dtype.isnative
    np.testing.assert_array_equal(slide.read(Box(0, 0, 40, 50)), pixels[index])


def test_what_is_read_belongs_to_the_caller() -> None:
    pixels = np.zeros((9, 9), np.uint8)
    open_slide(pixels, mpp=1.0).read(Box(0, 0, 9, 9))[:] = 7
    assert not pixels.any()


def test_the_fingerprint_names_the_pixels(picture: Callable[..., np.ndarray]) -> None:
    pixels = picture(131, 97)
    same = {open_slide(wrap(pixels), mpp=1.0).fingerprint() for wrap in (np.array, as_zarr)}
    assert len(same) == 1
    changed = pixels.copy()
    changed[0, 0, 0] += 1
    assert open_slide(changed, mpp=1.0).fingerprint() not in same
    assert open_slide(pixels[:130], mpp=1.0).fingerprint() not in same


def test_a_chunk_that_cannot_be_computed_is_a_read_error() -> None:
    def broken(block: np.ndarray) -> np.ndarray:
        if block.size:
            raise OSError("disk gone")
        return block

    lazy = da.zeros((64, 64), np.uint8, chunks=32).map_blocks(broken, meta=np.empty((0, 0), "u1"))
    slide = open_slide(lazy, mpp=1.0)
    with pytest.raises(ReadError, match="level 0 cannot be read: disk gone"):
        slide.read(Box(0, 0, 10, 10))


@pytest.mark.parametrize(
    ("source", "arguments", "message"),
    [
        (np.zeros((9, 9), np.uint8), {}, "states no pixel size"),
        (np.zeros((9, 9), np.uint8), {"mpp": 0}, "no pixel size"),
        (np.zeros((9, 9), np.uint8), {"mpp": 1, "channel": 3}, "one channel"),
        (np.zeros((9, 9), complex), {"mpp": 1}, "complex128 pixels"),
        (np.zeros((9, 9), "M8[s]"), {"mpp": 1}, "datetime64.* pixels"),
        (np.zeros((0, 9), np.uint8), {"mpp": 1}, "no pixels"),
        (np.zeros((30, 90, 99), np.uint8), {"mpp": 1}, "30 channels"),
        (np.zeros((30, 90, 99), np.uint8), {"mpp": 1, "channel": "DAPI"}, "30 channels"),
        (np.zeros((2, 2, 9, 9), np.uint8), {"mpp": 1}, "4 axes"),
        (np.zeros(9, np.uint8), {"mpp": 1}, "1 axes"),
        ([], {"mpp": 1}, "empty list"),
        ([np.zeros((9, 9), "u1"), np.zeros((9, 9), "u1")], {"mpp": 1}, "lower resolution"),
        ([np.zeros((90, 90), "u1"), np.zeros((45, 20), "u1")], {"mpp": 1}, "lower resolution"),
        ([np.zeros((90, 90), "u1"), np.zeros((45, 45), "u2")], {"mpp": 1}, "all of one type"),
        (42, {"mpp": 1}, "int was found"),
    ],
)
def test_what_is_no_slide_is_refused_in_one_line(
    source: object, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(SlideError, match=message) as caught:
        open_slide(source, **arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("suffix", "encode"),
    [
        ("png", imagecodecs.png_encode),
        ("jp2", lambda pixels: imagecodecs.jpeg2k_encode(pixels, level=0, reversible=True)),
        ("webp", lambda pixels: imagecodecs.webp_encode(pixels, lossless=True)),
    ],
)
def test_plain_images_are_slides_of_one_level(
    tmp_path: Path,
    picture: Callable[..., np.ndarray],
    suffix: str,
    encode: Callable[[np.ndarray], bytes],
) -> None:
    pixels = picture(50, 70)
    path = tmp_path / f"image.{suffix}"
    path.write_bytes(encode(pixels))
    slide = open_slide(path, mpp=0.5)
    assert (slide.path, slide.name) == (path, path.name)
    assert slide.format.endswith("image")
    np.testing.assert_array_equal(slide.read(Box(0, 0, 50, 70)), pixels)


@pytest.mark.parametrize("kind", ["int16", "uint32", "int64", "float16", "float32", ">f8"])
def test_other_numbers_are_read_as_float32(kind):
    pixels = (np.arange(600).reshape(20, 30) - 100 * (kind[0] != "u")).astype(kind)
    slide = open_slide(pixels, mpp=1)
    assert slide.dtype == np.float32
    np.testing.assert_array_equal(slide.read(Box(0, 0, 20, 30))[..., 0], pixels.astype(np.float32))


def test_masks_of_true_and_false_are_black_and_white():
    mask = np.eye(9, dtype=bool)
    slide = open_slide(mask, mpp=1)
    np.testing.assert_array_equal(slide.read(Box(0, 0, 9, 9))[..., 0], np.where(mask, 255, 0))


@pytest.mark.parametrize("first", [True, False])
def test_three_planes_are_colours_if_the_user_says_so(first):
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)
    given = np.moveaxis(pixels, -1, 0) if first else pixels
    slide = open_slide(given, mpp=1, channel="rgb")
    np.testing.assert_array_equal(slide.read(Box(3, 5, 30, 40)), pixels[3:30, 5:40])
    with pytest.raises(SlideError, match="channels"):
        open_slide(np.zeros((5, 40, 50), np.uint8), mpp=1, channel="rgb")
