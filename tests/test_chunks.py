"""A chunk that is written quickly is the file that zarr would have written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr
from zarr.codecs import GzipCodec, ZstdCodec
from zarr.storage import MemoryStore

from napari_twostage.chunks import ChunkWriter

if TYPE_CHECKING:
    from pathlib import Path

SHAPE, SIDE = (40, 50), 16


def make(store: Any, compressor: Any = None) -> zarr.Array[Any]:
    return zarr.create_array(
        store,
        name="plane",
        shape=SHAPE,
        chunks=(SIDE, SIDE),
        dtype="uint8",
        fill_value=255,
        compressors=compressor or ZstdCodec(level=1),
    )


def pieces() -> list[tuple[tuple[int, int], np.ndarray]]:
    """Cut a plane into chunks: those of the last row and column are not whole."""
    plane = np.random.default_rng(0).integers(0, 3, SHAPE).astype(np.uint8)
    plane[:SIDE, :SIDE] = 255  # a chunk of nothing
    return [
        (
            (row, column),
            plane[row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE],
        )
        for row in range(3)
        for column in range(4)
    ]


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_files_are_those_of_zarr_to_the_byte(tmp_path: Path) -> None:
    theirs, writer = make(tmp_path / "zarr"), ChunkWriter(make(tmp_path / "ours"))
    for index, pixels in pieces():
        writer.write(index, pixels)
        top, left = index[0] * SIDE, index[1] * SIDE
        theirs[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    assert files(tmp_path / "ours") == files(tmp_path / "zarr")
    assert len(files(tmp_path / "ours")) == 1 + 1 + 11  # group, array, chunks of something


def test_a_chunk_that_becomes_nothing_is_removed(tmp_path: Path) -> None:
    array = make(tmp_path)
    writer = ChunkWriter(array)
    writer.write((1, 1), np.ones((SIDE, SIDE), np.uint8))
    writer.write((1, 1), np.full((SIDE, SIDE), 255, np.uint8))
    assert (array[:] == 255).all()
    assert not list(tmp_path.rglob("c/1/1"))


@pytest.mark.parametrize("what", ["memory", "gzip"])
def test_other_stores_and_codecs_are_left_to_zarr(what: str, tmp_path: Path) -> None:
    array = make(MemoryStore()) if what == "memory" else make(tmp_path, GzipCodec(level=1))
    writer = ChunkWriter(array)
    for index, pixels in pieces():
        writer.write(index, pixels)
        top, left = index[0] * SIDE, index[1] * SIDE
        found = array[top : top + pixels.shape[0], left : left + pixels.shape[1]]
        assert np.array_equal(found, pixels)
