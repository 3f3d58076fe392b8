"""Files that hold the chunks of a zarr array: one each, or a shard for many.

A shard begins with an index, the offset and length of every chunk that it may hold: zarr's codec
``sharding_indexed``. zarr writes shards whole. Here a chunk is appended first, and then its entry
of the index is written in one step, so readers find the chunk or none, also after a kill -9.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from contextlib import suppress
from math import prod
from typing import TYPE_CHECKING

from napari_twostage.io.files import (
    append,
    create_file,
    patiently,
    read_file,
    remove_file,
    write_file,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

Index = tuple[int, ...]

_ENTRY = struct.Struct("<QQ")
_NOWHERE = 2**64 - 1
_MISSING = _ENTRY.pack(_NOWHERE, _NOWHERE)


class Files:
    """Files of an array with one chunk each.

    Parameters
    ----------
    path_of : callable
        Maps the index of a chunk to its file.
    """

    def __init__(self, path_of: Callable[[Index], Path]) -> None:
        self._path_of = path_of

    def read(self, index: Index) -> bytes | None:
        """Read an encoded chunk; None where there is none."""
        try:
            return read_file(self._path_of(index))
        except FileNotFoundError:
            return None

    def write(self, index: Index, data: bytes) -> None:
        """Write or replace a chunk's file in one step."""
        write_file(self._path_of(index), data, parents=True)

    def remove(self, index: Index) -> None:
        """Remove a chunk, if there is one."""
        remove_file(self._path_of(index))

    def write_together(self, chunks: Mapping[Index, bytes]) -> None:
        """Write several chunks."""
        for index, data in chunks.items():
            self.write(index, data)


class Shards:
    """Files of an array whose shards begin with their index, without a checksum.

    Parameters
    ----------
    path_of : callable
        Maps the index of a shard to its file.
    per_shard : tuple of int
        Chunks of a shard along each dimension.
    """

    def __init__(self, path_of: Callable[[Index], Path], per_shard: Index) -> None:
        self._path_of = path_of
        self._per_shard = per_shard
        self._count = prod(per_shard)

    def read(self, index: Index) -> bytes | None:
        """Read an encoded chunk; None where there is none."""
        path, number = self._place(index)
        try:
            file = patiently(lambda: path.open("rb", buffering=0), path)
        except FileNotFoundError:
            return None
        with file:
            file.seek(number * _ENTRY.size)
            entry = file.read(_ENTRY.size)
            if entry == _MISSING:
                return None
            if len(entry) < _ENTRY.size:
                raise RuntimeError(f"{path} is cut short")
            start, length = _ENTRY.unpack(entry)
            file.seek(start)
            return file.read(length)

    def write(self, index: Index, data: bytes) -> None:
        """Append an encoded chunk; other processes of this machine may append meanwhile."""
        path, number = self._place(index)
        try:
            start = append(path, data)
        except FileNotFoundError:
            create_file(path, _MISSING * self._count)  # unless another process was first
            start = append(path, data)
        _set_entry(path, number, _ENTRY.pack(start, len(data)))

    def remove(self, index: Index) -> None:
        """Remove a chunk, if there is one."""
        path, number = self._place(index)
        with suppress(FileNotFoundError):
            _set_entry(path, number, _MISSING)

    def write_together(self, chunks: Mapping[Index, bytes]) -> None:
        """Rewrite shards to include these chunks; not safe with concurrent appends.

        Two processes may rewrite a shard at once, on any file system: the later one's is kept.
        """
        shards: defaultdict[Path, dict[int, bytes]] = defaultdict(dict)
        for index, data in chunks.items():
            path, number = self._place(index)
            shards[path][number] = data
        for path, inside in shards.items():
            chunks_of_shard = dict(enumerate(self._read_all(path))) | inside
            write_file(path, _joined(list(chunks_of_shard.values())), parents=True)

    def _read_all(self, path: Path) -> list[bytes | None]:
        """Read the chunks of a shard, in the order of its index."""
        try:
            shard = read_file(path)
        except FileNotFoundError:
            return [None] * self._count
        index = shard[: self._count * _ENTRY.size]
        if len(index) < self._count * _ENTRY.size:
            raise RuntimeError(f"{path} is cut short")
        return [
            None if start == _NOWHERE else shard[start : start + length]
            for start, length in _ENTRY.iter_unpack(index)
        ]

    def _place(self, index: Index) -> tuple[Path, int]:
        """The file of a chunk, and the number of its entry."""
        shard, number = [], 0
        for place, count in zip(index, self._per_shard, strict=True):
            shard.append(place // count)
            number = number * count + place % count
        return self._path_of(tuple(shard)), number


def _set_entry(path: Path, number: int, entry: bytes) -> None:
    with patiently(lambda: path.open("r+b", buffering=0), path) as file:
        file.seek(number * _ENTRY.size)
        file.write(entry)


def _joined(chunks: list[bytes | None]) -> bytes:
    """Bytes of a shard with these chunks, in the order of its index."""
    entries, start = [], len(chunks) * _ENTRY.size
    for data in chunks:
        entries.append(_MISSING if data is None else _ENTRY.pack(start, len(data)))
        start += len(data or b"")
    return b"".join([*entries, *(data for data in chunks if data is not None)])
