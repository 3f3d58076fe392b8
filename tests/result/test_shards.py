"""Chunks that share a file: zarr reads them, nobody loses any, and a half-written one is none."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr

from napari_twostage.errors import DamagedFileError
from napari_twostage.result.zarr_chunks import ChunkFiles, compression

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TILES = [(row, column) for row in range(6) for column in range(7)]
WHOLE = [(row, column) for row in range(5) for column in range(6)]
"""Chunks that the edge does not cut."""
WRITER = """
import sys, zarr, numpy as np
from napari_twostage.result.zarr_chunks import ChunkFiles
files = ChunkFiles(zarr.open_array(sys.argv[1], mode="r+"))
print("ready", flush=True)
sys.stdin.readline()
for number in map(int, sys.argv[2].split(",")):
    row, column = divmod(number, 7)
    place = slice(16 * row, 16 * row + 16), slice(16 * column, 16 * column + 16)
    files[place] = np.random.default_rng(number).integers(0, 3, (16, 16), np.uint8)
    print(number, flush=True)
"""


def make(folder: Path) -> zarr.Array[Any]:
    """Room for 6 by 7 chunks, 16 of them to a file; the last row and column are cut."""
    options = compression((16, 16), shards=(64, 64))
    return zarr.create_array(folder, shape=(90, 110), dtype="uint8", fill_value=255, **options)


def place(tile: tuple[int, int]) -> tuple[slice, slice]:
    top, left = 16 * tile[0], 16 * tile[1]
    return slice(top, min(top + 16, 90)), slice(left, min(left + 16, 110))


def square(tile: tuple[int, int]) -> np.ndarray:
    rows, columns = place(tile)
    whole = np.random.default_rng(7 * tile[0] + tile[1]).integers(0, 3, (16, 16), np.uint8)
    return whole[: rows.stop - rows.start, : columns.stop - columns.start]


def expected(tiles: list[tuple[int, int]]) -> np.ndarray:
    plane = np.full((90, 110), 255, np.uint8)
    for tile in tiles:
        plane[place(tile)] = square(tile)
    return plane


def shard_files(folder: Path) -> list[Path]:
    return [path for path in (folder / "c").rglob("*") if path.is_file()]


def one_by_one(files: ChunkFiles, tiles: list[tuple[int, int]]) -> None:
    for tile in tiles:
        files[place(tile)] = square(tile)


def together(files: ChunkFiles, tiles: list[tuple[int, int]]) -> None:
    files.write_together([(place(tile), square(tile)) for tile in tiles])


def by_turns(files: ChunkFiles, tiles: list[tuple[int, int]]) -> None:
    for first in range(0, len(tiles), 8):
        one_by_one(files, tiles[first : first + 3])
        together(files, tiles[first + 3 : first + 8])


@pytest.mark.parametrize("write", [one_by_one, together, by_turns])
def test_zarr_reads_what_is_written_in_any_order(
    write: Callable[[ChunkFiles, list[tuple[int, int]]], None], tmp_path: Path
) -> None:
    array = make(tmp_path)
    files = ChunkFiles(array)
    tiles = [TILES[index] for index in np.random.default_rng(0).permutation(len(TILES))[:25]]
    write(files, tiles)
    for found in (np.asarray(array[:]), files[:90, :110]):
        np.testing.assert_array_equal(found, expected(tiles))
    assert len(shard_files(tmp_path)) == 4
    assert all(path.name.isdecimal() for path in shard_files(tmp_path))  # nothing unfinished


def test_what_zarr_writes_is_read_and_added_to(tmp_path: Path) -> None:
    array = make(tmp_path)
    array[:] = expected(TILES[:20])
    files = ChunkFiles(array)
    one_by_one(files, TILES[20:30])
    together(files, TILES[30:])
    np.testing.assert_array_equal(files[:90, :110], expected(TILES))
    np.testing.assert_array_equal(array[:], expected(TILES))


def test_a_chunk_is_replaced_and_removed(tmp_path: Path) -> None:
    array = make(tmp_path)
    files = ChunkFiles(array)
    one_by_one(files, TILES)
    for part in (slice(3, 9), slice(0, 16)):  # a part of a chunk, then all of it
        files[part, 16:32] = np.full((part.stop - part.start, 16), 2, np.uint8)
        plane = expected(TILES)
        plane[part, 16:32] = 2
        np.testing.assert_array_equal(array[:], plane)
    files[0:16, 16:32] = np.full((16, 16), 255, np.uint8)
    plane[0:16, 16:32] = 255
    np.testing.assert_array_equal(array[:], plane)
    np.testing.assert_array_equal(files[:90, :110], plane)


def test_a_chunk_without_its_entry_is_not_there(tmp_path: Path) -> None:
    array = make(tmp_path)
    files = ChunkFiles(array)
    one_by_one(files, TILES[:1])
    (path,) = shard_files(tmp_path)
    with path.open("ab") as file:  # killed after that, or in the middle of it
        file.write(b"\x28\xb5\x2f\xfd half of a frame")
    one_by_one(files, TILES[1:4])
    np.testing.assert_array_equal(array[:], expected(TILES[:4]))
    np.testing.assert_array_equal(files[:90, :110], expected(TILES[:4]))


@pytest.mark.parametrize("damage", ["chunk", "index"])
def test_damage_is_an_error_and_not_nothing(damage: str, tmp_path: Path) -> None:
    files = ChunkFiles(make(tmp_path))
    one_by_one(files, TILES[:1])
    (path,) = shard_files(tmp_path)
    path.write_bytes(path.read_bytes()[: -4 if damage == "chunk" else 8])
    with pytest.raises(DamagedFileError, match=path.name):
        files[:16, :16]


@pytest.mark.parametrize("left", [b"", b"\x00" * 8, b"\x00" * 4000, b"\xff" * 100])
def test_a_shard_without_a_whole_index_is_made_anew(left: bytes, tmp_path: Path) -> None:
    array = make(tmp_path)
    one_by_one(ChunkFiles(array), TILES[:1])
    (path,) = shard_files(tmp_path)
    path.write_bytes(left)
    one_by_one(ChunkFiles(array), TILES[:1])
    np.testing.assert_array_equal(ChunkFiles(array)[:90, :110], expected(TILES[:1]))


def test_entries_for_chunks_that_never_reached_the_disk_are_dropped(tmp_path: Path) -> None:
    array = make(tmp_path)
    one_by_one(ChunkFiles(array), TILES[:4])
    (path, *_) = shard_files(tmp_path)
    path.write_bytes(path.read_bytes()[:-3])
    again = ChunkFiles(array)
    one_by_one(again, TILES[:1])
    np.testing.assert_array_equal(array[:16, :16], expected(TILES[:1])[:16, :16])
    array[:]  # zarr finds no entry beyond the end


def test_where_files_cannot_be_linked_a_shard_is_begun_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse, raising=False)
    array = make(tmp_path)
    one_by_one(ChunkFiles(array), TILES)
    np.testing.assert_array_equal(array[:], expected(TILES))


def test_a_full_disk_is_said_and_names_no_chunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = make(tmp_path)
    files = ChunkFiles(array)
    one_by_one(files, TILES[:1])
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:5]))
    with pytest.raises(OSError, match="No space"):
        one_by_one(files, TILES[1:2])
    monkeypatch.undo()
    np.testing.assert_array_equal(array[:], expected(TILES[:1]))


@contextmanager
def writing(folder: Path, tiles: list[tuple[int, int]]) -> Iterator[subprocess.Popen[str]]:
    """A process that writes tiles, one after the other, and says so, once it is told to begin."""
    numbers = ",".join(str(7 * row + column) for row, column in tiles)
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), numbers],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        yield writer


def begin(writer: subprocess.Popen[str]) -> None:
    assert writer.stdin is not None
    writer.stdin.write("\n")
    writer.stdin.flush()


def test_two_processes_append_to_the_same_files(tmp_path: Path) -> None:
    array = make(tmp_path)
    with writing(tmp_path, WHOLE[::2]) as first, writing(tmp_path, WHOLE[1::2]) as second:
        for writer in (first, second):
            begin(writer)
        assert [writer.wait(60) for writer in (first, second)] == [0, 0]
    np.testing.assert_array_equal(array[:], expected(WHOLE))


@pytest.mark.parametrize("seconds", [0.01, 0.03, 0.1, 0.3])
def test_killed_at_any_moment_what_was_said_to_be_written_is_there(
    seconds: float, tmp_path: Path
) -> None:
    array = make(tmp_path)
    with writing(tmp_path, WHOLE * 300) as writer:
        begin(writer)
        time.sleep(seconds)
        writer.kill()
        assert writer.stdout is not None
        said = {int(line) for line in writer.stdout.read().split("\n")[:-1]}
    found = np.asarray(array[:])
    for tile in WHOLE:
        pixels = found[place(tile)]
        there = np.array_equal(pixels, square(tile))
        assert there or (7 * tile[0] + tile[1] not in said and (pixels == 255).all())
    one_by_one(ChunkFiles(array), WHOLE)
    np.testing.assert_array_equal(array[:], expected(WHOLE))
