"""OME-Zarr folders that claim too much, name strange codecs or hold other things than files."""

from __future__ import annotations

import json
import os
import struct
from typing import TYPE_CHECKING, Any

import numcodecs
import numpy as np
import pytest
import zarr
from tests.campaigns.hostile.zarr_chunks import bomb
from tests.campaigns.hostile.zarr_images import CHUNK, KINDS, SIDE, pixels, shard, write_image

from napari_twostage.errors import ReadError, SlideError, TwoStageError
from napari_twostage.geometry import Box
from napari_twostage.slides import ome_zarr, open_slide

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WHOLE = Box(0, 0, SIDE, SIDE)


def refused(folder: Path, message: str) -> None:
    with pytest.raises(SlideError, match=message) as caught:
        open_slide(folder)
    assert "\n" not in str(caught.value)
    assert folder.name in str(caught.value)


def change(path: Path, edit: Callable[[Any], object]) -> None:
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def image_of(content: Any) -> Any:
    return (content.get("attributes", {}).get("ome") or content)["multiscales"][0]


@pytest.fixture(params=["v2-zlib", "v3-zstd"])
def image(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Folder of a good image, of zarr 2 or 3."""
    folder = tmp_path / "a.ome.zarr"
    write_image(folder, request.param)
    return folder


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    folder = tmp_path / "a.ome.zarr"
    write_image(folder, "v3-shards")
    return folder


def group_file(folder: Path) -> Path:
    return next(path for path in (folder / "zarr.json", folder / ".zattrs") if path.exists())


def array_file(folder: Path, level: int = 0) -> Path:
    path = folder / str(level)
    return next(one for one in (path / "zarr.json", path / ".zarray") if one.exists())


def chunk_file(folder: Path) -> Path:
    names = ("0/c/0/0/0", "0/0.0.0")
    return next(folder / name for name in names if (folder / name).exists())


def set_chunks(folder: Path, chunks: list[int]) -> None:
    def edit(content: Any) -> None:
        if "chunks" in content:
            content["chunks"] = chunks
        else:
            content["chunk_grid"]["configuration"]["chunk_shape"] = chunks

    change(array_file(folder), edit)


# -- what is read ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_images_within_the_limits_are_read(kind: str, tmp_path: Path) -> None:
    write_image(tmp_path / "a.ome.zarr", kind)
    with open_slide(tmp_path / "a.ome.zarr") as slide:
        assert np.array_equal(slide.read(WHOLE), pixels())


@pytest.mark.parametrize(
    "codec",
    [numcodecs.LZ4(), numcodecs.BZ2(), numcodecs.GZip(), numcodecs.Zstd(checksum=True), None],
    ids=str,
)
@pytest.mark.parametrize("filters", [None, [numcodecs.Shuffle(3)], [numcodecs.CRC32()]], ids=str)
def test_codecs_of_zarr_2_give_the_pixels_that_zarr_gives(
    codec: Any, filters: Any, tmp_path: Path
) -> None:
    image = tmp_path / "a.ome.zarr"
    write_image(image, "v2-raw")
    array = zarr.create_array(
        image / "new",
        shape=(SIDE, SIDE, 3),
        chunks=(CHUNK, CHUNK, 3),
        dtype="u1",
        zarr_format=2,
        compressors=codec,
        filters=filters,
    )
    array[...] = pixels()
    change(group_file(image), lambda content: image_of(content)["datasets"].pop())
    change(group_file(image), lambda content: image_of(content)["datasets"][0].update(path="new"))
    with open_slide(image) as slide:
        assert np.array_equal(slide.read(WHOLE), pixels())


def test_large_chunks_are_decoded_one_after_the_other_to_the_same_pixels(
    image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ome_zarr, "_ALONE_BYTES", 1)
    box = Box(11, 30, 190, 131)
    with open_slide(image, cache_bytes=1) as slide:
        assert np.array_equal(slide.read(box), pixels()[box.slices])


# -- what is refused when opened -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chunks", "message"),
    [
        ([1 << 20, 1 << 20, 3], "chunks of 3,145,728 MiB"),
        ([1 << 62, 64, 3], "MiB, each to be decoded as a whole"),
        ([1, 1, 3], "chunks of 1 pixels, at least 1024 were expected"),
    ],
)
def test_chunks_beyond_the_limits(image: Path, chunks: list[int], message: str) -> None:
    set_chunks(image, chunks)
    refused(image, f"level 0 of a.ome.zarr.*{message}")


def test_shards_of_too_many_chunks(shards: Path) -> None:
    set_chunks(shards, [1 << 30, 1 << 30, 3])
    refused(shards, "shards of 281,474,976,710,656 chunks")


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ([1 << 40, 1 << 40, 3], "claims .* pixels, at most"),
        ([SIDE, SIDE, 1 << 40], "channels, at most 1024 were expected"),
    ],
)
def test_shapes_beyond_the_limits(image: Path, shape: list[int], message: str) -> None:
    for level in range(2):
        change(array_file(image, level), lambda content: content.update(shape=shape))
    refused(image, message)


def test_levels_of_different_channels(image: Path) -> None:
    change(array_file(image, 1), lambda content: content.update(shape=[96, 96, 1]))
    refused(image, "not one image")


@pytest.mark.parametrize(
    "path", ["..", "../b/0", "/etc", "0/../../b", "", "C:\\b", "0\\1", "0\0", 7, None, "x" * 300]
)
def test_levels_outside_of_the_folder(image: Path, path: object) -> None:
    change(group_file(image), lambda content: image_of(content)["datasets"][1].update(path=path))
    refused(image, "a level's path .*, which is none inside the image")


def test_too_many_levels(image: Path) -> None:
    def edit(content: Any) -> None:
        image_of(content)["datasets"] *= 50

    change(group_file(image), edit)
    refused(image, "100 levels, 1 to 64 were expected")


@pytest.mark.parametrize(
    "content",
    [b"[" * 100_000, b'{"a":' * 100_000, b" " * (5 << 20), b"\xff" * 50, b"7", b"null", b"[]"],
    ids=["lists", "objects", "long", "no text", "number", "null", "list"],
)
def test_metadata_that_are_no_metadata(image: Path, content: bytes) -> None:
    group_file(image).write_bytes(content)
    refused(image, "a.ome.zarr")


@pytest.mark.parametrize("codec", ["pickle", "json2", "lzma", "delta", "astype"])
@pytest.mark.parametrize("key", ["compressor", "filters"])
def test_codecs_that_are_not_in_the_list_are_not_run(codec: str, key: str, tmp_path: Path) -> None:
    folder = tmp_path / "a.ome.zarr"
    write_image(folder, "v2-raw")
    stated = {"id": codec, "dtype": "|u1"} if codec in {"delta", "astype"} else {"id": codec}
    if codec == "astype":
        stated = {"id": codec, "encode_dtype": "|u1", "decode_dtype": "|u1"}
    value = stated if key == "compressor" else [stated]
    change(array_file(folder), lambda content: content.update({key: value}))
    refused(folder, f"{codec}|cannot be opened")


def test_an_index_of_a_shard_that_is_compressed(shards: Path) -> None:
    codec = {"name": "gzip", "configuration": {"level": 1}}

    def edit(content: Any) -> None:
        content["codecs"][0]["configuration"]["index_codecs"].append(codec)

    change(array_file(shards), edit)
    refused(shards, "gzip of a shard's index")


@pytest.mark.parametrize(
    "edit",
    [
        lambda image: image["axes"][0].update(name="x"),
        lambda image: image["axes"][0].update(name={}),
        lambda image: image.update(axes=7),
        lambda image: image["datasets"][1].update(coordinateTransformations=[{"type": "scale"}]),
        lambda image: image["datasets"][0]["coordinateTransformations"][0].update(
            scale=[10**400, 1, 1]
        ),
        lambda image: image["datasets"][0]["coordinateTransformations"][0].update(scale=[0, 1, 1]),
    ],
)
def test_metadata_of_wrong_types(image: Path, edit: Callable[[Any], object]) -> None:
    change(group_file(image), lambda content: edit(image_of(content)))
    refused(image, "no valid OME-Zarr")


def test_words_of_the_file_do_not_break_the_line(image: Path) -> None:
    def edit(content: Any) -> None:
        place = content.get("attributes", {}).get("ome") or content
        place["version"] = "1\n" * 500
        image_of(content)["version"] = "1\n" * 500
        image_of(content)["axes"][0]["unit"] = ["micrometer"]

    change(group_file(image), edit)
    with open_slide(image, mpp=0.5) as slide:
        assert "\n" not in slide.format
        assert len(slide.format) < 100


# -- what is damage --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["v2-zlib", "v2-blosc", "v3-zstd", "v3-gzip", "v3-blosc"])
def test_a_bomb_is_damage_in_its_place(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "a.ome.zarr"
    write_image(folder, kind)
    chunk_file(folder).write_bytes(bomb(kind.partition("-")[2]))
    with open_slide(folder) as slide:
        with pytest.raises(ReadError, match=r"a.ome.zarr cannot be read at rows 0 to 9"):
            slide.read(Box(0, 0, 9, 9))
        right = Box(64, 0, 128, 64)
        assert np.array_equal(slide.read(right), pixels()[right.slices])


def test_an_index_that_points_anywhere_is_damage_in_its_place(shards: Path) -> None:
    part = pixels()[: 2 * CHUNK, : 2 * CHUNK]
    good = shard(part)
    places = list(struct.iter_unpack("<QQ", good[-64:]))
    chunk_file(shards).write_bytes(shard(part, [(5, 1 << 62), *places[1:]]))
    with open_slide(shards, cache_bytes=1) as slide:
        with pytest.raises(ReadError, match=r"a\.ome\.zarr cannot be read at rows 0"):
            slide.read(Box(0, 0, 9, 9))
        right = Box(64, 64, 128, 128)
        assert np.array_equal(slide.read(right), pixels()[right.slices])


def test_a_chunk_of_a_terabyte_is_not_read(image: Path) -> None:
    with chunk_file(image).open("r+b") as file:
        file.truncate(1 << 40)
    with open_slide(image) as slide, pytest.raises(ReadError, match="were expected"):
        slide.read(Box(0, 0, 9, 9))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes among files here")
@pytest.mark.timeout(60)
def test_pipes_devices_and_circles_are_not_waited_for(image: Path) -> None:
    chunk = chunk_file(image)
    chunk.unlink()
    os.mkfifo(chunk)
    with open_slide(image) as slide:
        with pytest.raises(ReadError, match="pipe or a device"):
            slide.read(Box(0, 0, 9, 9))
        chunk.unlink()
        chunk.symlink_to("/dev/zero")
        with pytest.raises(ReadError, match="pipe or a device"):
            slide.read(Box(0, 0, 9, 9))
    for path in (array_file(image), group_file(image)):
        path.unlink()
        os.mkfifo(path)
        refused(image, "pipe or a device")
        path.unlink()
        path.symlink_to(path.name)
        with pytest.raises(TwoStageError, match=r"a\.ome\.zarr"):
            open_slide(image)
