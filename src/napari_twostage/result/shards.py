"""The files that chunks of a zarr array are in: one each, or a shard for many.

A shard begins with an index, the place and length of every chunk that it may hold: zarr's codec
``sharding_indexed``. zarr writes shards whole; here a chunk is appended first, and then its entry
of the index is written at one go, so a reader, or what a kill -9 leaves, has the chunk or has none.
"""

from __future__ import annotations

import errno
import os
import platform
import struct
from collections import defaultdict
from contextlib import suppress
from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

Index = tuple[int, ...]

_ENTRY = struct.Struct("<QQ")
_NOWHERE = 2**64 - 1
_MISSING = _ENTRY.pack(_NOWHERE, _NOWHERE)
_MACHINE = platform.node()
_APPENDING = os.O_WRONLY | os.O_APPEND | getattr(os, "O_BINARY", 0)


class Files:
    """The files of an array whose every chunk has one.

    Parameters
    ----------
    path_of : callable
        From the index of a chunk to its file.
    """

    def __init__(self, path_of: Callable[[Index], Path]) -> None:
        self._path_of = path_of

    def read(self, index: Index) -> bytes | None:
        """Read an encoded chunk; None where there is none."""
        try:
            return self._path_of(index).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, index: Index, data: bytes) -> None:
        """Replace a chunk's file: neither a reader nor a crash meets half of one."""
        path = self._path_of(index)
        _write_aside(path, data).replace(path)

    def remove(self, index: Index) -> None:
        """Let a chunk be missing."""
        self._path_of(index).unlink(missing_ok=True)

    def write_together(self, chunks: Mapping[Index, bytes]) -> None:
        """Write several."""
        for index, data in chunks.items():
            self.write(index, data)


class Shards:
    """The files of an array whose shards begin with their index, without a checksum.

    Parameters
    ----------
    path_of : callable
        From the index of a shard to its file.
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
            with path.open("rb", buffering=0) as file:
                file.seek(number * _ENTRY.size)
                entry = file.read(_ENTRY.size)
                if entry == _MISSING:
                    return None
                if len(entry) < _ENTRY.size:
                    raise RuntimeError(f"{path} is cut short")
                start, length = _ENTRY.unpack(entry)
                file.seek(start)
                return file.read(length)
        except FileNotFoundError:
            return None

    def write(self, index: Index, data: bytes) -> None:
        """Append an encoded chunk, also while another process appends to the same file."""
        path, number = self._place(index)
        try:
            start = _append(path, data)
        except FileNotFoundError:
            self._create(path)
            start = _append(path, data)
        _set_entry(path, number, _ENTRY.pack(start, len(data)))

    def remove(self, index: Index) -> None:
        """Let a chunk be missing."""
        path, number = self._place(index)
        with suppress(FileNotFoundError):
            _set_entry(path, number, _MISSING)

    def write_together(self, chunks: Mapping[Index, bytes]) -> None:
        """Replace files by such as hold these chunks too, where nobody appends meanwhile.

        Two processes may do so at once, on any file system: the later one's files are whole.
        """
        shards: defaultdict[Path, dict[int, bytes]] = defaultdict(dict)
        for index, data in chunks.items():
            path, number = self._place(index)
            shards[path][number] = data
        for path, inside in shards.items():
            held = dict(enumerate(self._read_all(path))) | inside
            _write_aside(path, _joined(list(held.values()))).replace(path)

    def _read_all(self, path: Path) -> list[bytes | None]:
        """Read the chunks of a shard, in the order of its index."""
        try:
            shard = path.read_bytes()
        except FileNotFoundError:
            return [None] * self._count
        index = shard[: self._count * _ENTRY.size]
        if len(index) < self._count * _ENTRY.size:
            raise RuntimeError(f"{path} is cut short")
        return [
            None if start == _NOWHERE else shard[start : start + length]
            for start, length in _ENTRY.iter_unpack(index)
        ]

    def _create(self, path: Path) -> None:
        """Make a shard without chunks, unless another process was first."""
        unfinished = _write_aside(path, _MISSING * self._count)
        try:
            with suppress(FileExistsError):
                os.link(unfinished, path)
            unfinished.unlink()
        except OSError:  # a file system without links
            unfinished.replace(path)

    def _place(self, index: Index) -> tuple[Path, int]:
        """The file of a chunk, and the number of its entry."""
        shard, number = [], 0
        for place, count in zip(index, self._per_shard, strict=True):
            shard.append(place // count)
            number = number * count + place % count
        return self._path_of(tuple(shard)), number


def _write_aside(path: Path, data: bytes) -> Path:
    """Write a file beside its place, from where it can take it at one go."""
    # machines that share a folder may have processes of one number
    unfinished = path.with_name(f"{path.name}.{_MACHINE}.{os.getpid()}.partial")
    try:
        unfinished.write_bytes(data)
    except FileNotFoundError:  # the first of its folder
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_bytes(data)
    return unfinished


def _append(path: Path, data: bytes) -> int:
    """Write at the end of a file that is there; returns where that was."""
    descriptor = os.open(path, _APPENDING)
    try:
        written = os.write(descriptor, data)
        end = os.lseek(descriptor, 0, os.SEEK_CUR)
    finally:
        os.close(descriptor)
    if written < len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    return end - written


def _set_entry(path: Path, number: int, entry: bytes) -> None:
    with path.open("r+b", buffering=0) as file:
        file.seek(number * _ENTRY.size)
        file.write(entry)


def _joined(chunks: list[bytes | None]) -> bytes:
    """A shard of these chunks, in the order of its index."""
    entries, start = [], len(chunks) * _ENTRY.size
    for data in chunks:
        entries.append(_MISSING if data is None else _ENTRY.pack(start, len(data)))
        start += len(data or b"")
    return b"".join([*entries, *(data for data in chunks if data is not None)])
