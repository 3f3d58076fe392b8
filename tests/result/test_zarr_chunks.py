"""What is written quickly, zarr reads; and what it writes is read as it reads it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr
from zarr.codecs import GzipCodec, ZstdCodec
from zarr.storage import MemoryStore

from napari_twostage.errors import DamagedFileError
from napari_twostage.result.zarr_chunks import ChunkFiles

if TYPE_CHECKING:
    from pathlib import Path

Place = tuple[slice, ...]

KINDS: dict[str, dict[str, Any]] = {
    "labels": {"shape": (40, 50), "chunks": (16, 16), "dtype": "uint8", "fill_value": 255},
    "overview": {"shape": (40, 50), "chunks": (64, 64), "dtype": "uint8", "fill_value": 0},
    "logits": {
        "shape": (2, 40, 50),
        "chunks": (2, 16, 16),
        "dtype": "float16",
        "fill_value": np.nan,
    },
}


def make(store: Any, kind: str, compressor: Any = None) -> zarr.Array[Any]:
    chosen = compressor or ZstdCodec(level=1)
    return zarr.create_array(store, name="plane", compressors=chosen, **KINDS[kind])


def pieces(array: zarr.Array[Any], count: int = 40) -> list[tuple[Place, np.ndarray]]:
    """Boxes anywhere, of whole chunks and of parts, some of them of nothing."""
    rng = np.random.default_rng(0)
    found: list[tuple[Place, np.ndarray]] = []
    for _ in range(count):
        top, left = (int(rng.integers(0, length - 1)) for length in array.shape[-2:])
        if rng.random() < 0.5:  # from a chunk's corner, as a run writes
            top -= top % array.chunks[-2]
            left -= left % array.chunks[-1]
        height, width = rng.integers(1, 33, 2)
        box = (slice(top, min(top + height, array.shape[-2])), slice(left, left + int(width)))
        box = (box[0], slice(left, min(left + int(width), array.shape[-1])))
        shape = (*array.shape[:-2], *(part.stop - part.start for part in box))
        values = rng.integers(0, 3, shape).astype(array.dtype)
        if rng.random() < 0.3:
            values[:] = array.fill_value
        found.append(((slice(None),) * (len(shape) - 2) + box, values))
    return found


def files(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@pytest.mark.parametrize("kind", KINDS)
def test_files_are_those_of_zarr_to_the_byte(kind: str, tmp_path: Path) -> None:
    theirs, ours = make(tmp_path / "zarr", kind), ChunkFiles(make(tmp_path / "ours", kind))
    for place, values in pieces(theirs):
        theirs[place] = values
        ours[place] = values
        assert files(tmp_path / "ours") == files(tmp_path / "zarr")
        assert np.array_equal(ours[place], values, equal_nan=kind == "logits")
    assert any("/c/" in name for name in files(tmp_path / "ours"))


@pytest.mark.parametrize("kind", KINDS)
def test_any_box_is_read_as_zarr_reads_it(kind: str, tmp_path: Path) -> None:
    theirs = make(tmp_path, kind)
    ours = ChunkFiles(theirs)
    places = pieces(theirs)
    for place, values in places[:6]:  # so that some chunks are there, and some are not
        theirs[place] = values
    whole = tuple(slice(None) for _ in theirs.shape)
    nothing = (*whole[:-1], slice(7, 7))
    beyond = (*whole[:-1], slice(30, 1000))
    for place in (whole, nothing, beyond, *(place for place, _ in places)):
        expected, found = np.asarray(theirs[place]), ours[place]
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    ours[whole][:] = 0  # it is the caller's
    np.testing.assert_array_equal(ours[whole], theirs[whole])


def test_a_damaged_chunk_is_an_error_and_not_nothing(tmp_path: Path) -> None:
    ours = ChunkFiles(make(tmp_path, "labels"))
    ours[16:32, 16:32] = np.ones((16, 16), np.uint8)
    (chunk,) = tmp_path.rglob("c/1/1")
    chunk.write_bytes(chunk.read_bytes()[:-4])
    with pytest.raises(DamagedFileError, match=r"c.1.1 is damaged"):
        ours[:40, :40]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", ["memory", "gzip"])
def test_other_stores_and_codecs_are_left_to_zarr(
    what: str, kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store, codec = (MemoryStore(), None) if what == "memory" else (tmp_path, GzipCodec(level=1))
    array = make(store, kind, codec)
    with caplog.at_level(logging.INFO, "napari_twostage"):
        ours, plane = ChunkFiles(array), np.full(array.shape, array.fill_value, array.dtype)
    assert "by zarr, more slowly" in caplog.text
    for place, values in pieces(array):
        ours[place] = plane[place] = values
    assert np.array_equal(array[:], plane, equal_nan=kind == "logits")


def test_a_chunk_that_becomes_nothing_is_removed(tmp_path: Path) -> None:
    ours = ChunkFiles(make(tmp_path, "labels"))
    place = (slice(16, 32), slice(16, 32))
    ours[place] = np.ones((16, 16), np.uint8)
    assert len(list(tmp_path.rglob("c/1/1"))) == 1
    ours[place] = np.full((16, 16), 255, np.uint8)
    assert not list(tmp_path.rglob("c/1/1"))
    assert (ours[place] == 255).all()
