"""Files that hold the chunks of a zarr array: one each, or a shard for many.

A shard begins with an index, the offset and length of every chunk that it may hold: zarr's codec
``sharding_indexed``. zarr writes shards whole. Here a chunk is appended first, and then its entry
of the index is written in one step, so readers find the chunk or none, also after a kill -9.

A power cut may leave a shard without a whole index, or with entries for chunks that never reached
the disk. No journal names these chunks. The first write to a shard makes it anew or drops them.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from contextlib import suppress
from math import prod
from typing import TYPE_CHECKING

from napari_twostage.errors import DamagedFileError
from napari_twostage.io.durable import make_folders, sync_descriptor
from napari_twostage.io.files import (
    append,
    create_file,
    is_unreadable,
    patiently,
    read_file,
    remove_file,
    write_file,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from pathlib import Path

    from napari_twostage.io.durable import DirtyFiles

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
    dirty : DirtyFiles
        Is told of the files that are written.
    sync : bool
        Put each file on the disk before it takes its name. Without it a power cut may take the
        old content of a file that is being replaced.
    """

    def __init__(
        self, path_of: Callable[[Index], Path], dirty: DirtyFiles, *, sync: bool = False
    ) -> None:
        self.path_of = path_of
        self._dirty = dirty
        self._sync = sync_descriptor if sync else None

    def read(self, index: Index) -> bytes | None:
        """Read an encoded chunk; None where there is none."""
        return _read_or_none(self.path_of(index))

    def read_many(self, indices: Collection[Index]) -> Iterator[tuple[Index, bytes | None]]:
        """Read encoded chunks: each index with its chunk."""
        for index in indices:
            yield index, self.read(index)

    def write(self, index: Index, data: bytes) -> None:
        """Write or replace a chunk's file in one step."""
        path = self.path_of(index)
        try:
            write_file(path, data, sync=self._sync)
        except FileNotFoundError:  # the first chunk of its folder
            make_folders(path.parent, self._dirty.root)
            write_file(path, data, sync=self._sync)
        self._dirty.add(path, synced=self._sync is not None)

    def remove(self, index: Index) -> None:
        """Remove a chunk, if there is one."""
        path = self.path_of(index)
        remove_file(path)
        self._dirty.add(path, synced=True)

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
    dirty : DirtyFiles
        Is told of the files that are written.
    """

    def __init__(
        self, path_of: Callable[[Index], Path], per_shard: Index, dirty: DirtyFiles
    ) -> None:
        self._path_of = path_of
        self._per_shard = per_shard
        self._count = prod(per_shard)
        self._dirty = dirty
        self._checked: set[Path] = set()

    def path_of(self, index: Index) -> Path:
        """File of the shard that a chunk belongs to."""
        return self._place(index)[0]

    def read(self, index: Index) -> bytes | None:
        """Read an encoded chunk; None where there is none.

        Raises
        ------
        DamagedFileError
            If the shard is shorter than its index, or than the index says.
        """
        [(_, data)] = self.read_many([index])
        return data

    def read_many(self, indices: Collection[Index]) -> Iterator[tuple[Index, bytes | None]]:
        """Read encoded chunks, opening each shard once: each index with its chunk; see `read`."""
        shards: defaultdict[Path, dict[Index, int]] = defaultdict(dict)
        for index in indices:
            path, number = self._place(index)
            shards[path][index] = number
        for path, numbers in shards.items():
            try:
                found = self._read(path, numbers.values())
            except FileNotFoundError:
                found = [None] * len(numbers)
            except OSError as error:
                if is_unreadable(error):
                    raise DamagedFileError(path, error.strerror or "") from error
                raise
            yield from zip(numbers, found, strict=True)

    def _read(self, path: Path, numbers: Iterable[int]) -> list[bytes | None]:
        found: list[bytes | None] = []
        with patiently(lambda: path.open("rb", buffering=0), path) as file:
            index = file.read(self._count * _ENTRY.size)
            size = file.seek(0, 2)
            for number in numbers:
                entry = index[number * _ENTRY.size : (number + 1) * _ENTRY.size]
                if entry == _MISSING:
                    found.append(None)
                    continue
                if len(entry) < _ENTRY.size:
                    raise DamagedFileError(path)
                start, length = _ENTRY.unpack(entry)
                if not self._is_inside(start, length, size):
                    raise DamagedFileError(path)
                file.seek(start)
                found.append(file.read(length))
        return found

    def write(self, index: Index, data: bytes) -> None:
        """Append an encoded chunk; other processes of this machine may append meanwhile."""
        path, number = self._place(index)
        self._make_writable(path)
        try:
            start = append(path, data)
        except FileNotFoundError:  # removed since it was made
            self._checked.discard(path)
            self._make_writable(path)
            start = append(path, data)
        _set_entry(path, number, _ENTRY.pack(start, len(data)))
        self._dirty.add(path)

    def remove(self, index: Index) -> None:
        """Remove a chunk, if there is one."""
        path, number = self._place(index)
        with suppress(FileNotFoundError):
            _set_entry(path, number, _MISSING)
            self._dirty.add(path)

    def _make_writable(self, path: Path) -> None:
        """Make a shard, or anew if a power cut left it without a whole index."""
        if path in self._checked:
            return
        empty = _MISSING * self._count
        make_folders(path.parent, self._dirty.root)
        if not create_file(path, empty):  # unless another process was first
            index, size = self._index(path)
            if index is None:
                write_file(path, empty)
            else:
                for number, (start, length) in enumerate(_ENTRY.iter_unpack(index)):
                    if start != _NOWHERE and not self._is_inside(start, length, size):
                        _set_entry(path, number, _MISSING)
        self._checked.add(path)

    def _is_inside(self, start: int, length: int, size: int) -> bool:
        """Whether a chunk lies behind the index, inside a shard of this many bytes."""
        return self._count * _ENTRY.size <= start and start + length <= size

    def _index(self, path: Path) -> tuple[bytes | None, int]:
        """Index of a shard, None if it is not whole, and the size of the file."""
        with patiently(lambda: path.open("rb", buffering=0), path) as file:
            index = file.read(self._count * _ENTRY.size)
            size = file.seek(0, 2)
        return index if len(index) == self._count * _ENTRY.size else None, size

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
            make_folders(path.parent, self._dirty.root)
            write_file(path, _joined(list(chunks_of_shard.values())))
            self._dirty.add(path)

    def _read_all(self, path: Path) -> list[bytes | None]:
        """Read the chunks of a shard, in the order of its index; None for what is not whole."""
        shard = _read_or_none(path) or b""
        index = shard[: self._count * _ENTRY.size]
        if len(index) < self._count * _ENTRY.size:
            return [None] * self._count
        return [
            shard[start : start + length] if self._is_inside(start, length, len(shard)) else None
            for start, length in _ENTRY.iter_unpack(index)
        ]

    def _place(self, index: Index) -> tuple[Path, int]:
        """The file of a chunk, and the number of its entry."""
        shard, number = [], 0
        for place, count in zip(index, self._per_shard, strict=True):
            shard.append(place // count)
            number = number * count + place % count
        return self._path_of(tuple(shard)), number


def _read_or_none(path: Path) -> bytes | None:
    try:
        return read_file(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        if is_unreadable(error):
            raise DamagedFileError(path, error.strerror or "") from error
        raise


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
