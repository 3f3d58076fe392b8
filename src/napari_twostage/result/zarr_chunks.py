"""Fast reading and writing of a zarr array, through the files that zarr itself would use.

A run writes hundreds of small pieces a second, and a viewer or an export reads as many. zarr takes
1 to 3 ms of processor time for each, most of it in its event loop, and little less for a missing
chunk. Encoding a chunk and writing its file takes 0.35 ms here, reading it 0.07 ms. Files of one
chunk equal zarr's to the byte, but for a tag behind them that readers skip, if it is wanted; shards
hold their chunks in the order of writing.
"""

from __future__ import annotations

import logging
import struct
import zlib
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numcodecs import zstd
from zarr.codecs import BytesCodec, ShardingCodec, ZstdCodec

from napari_twostage.errors import DamagedFileError
from napari_twostage.result.chunk_places import files_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path

    import zarr
    from numpy.typing import NDArray

    from napari_twostage.io.durable import DirtyFiles
    from napari_twostage.result.shards import Files, Shards

    Slices = tuple[slice, ...]

log = logging.getLogger(__name__)

_MAGIC = b"\x28\xb5\x2f\xfd"
"""First bytes of a zstd frame (RFC 8878)."""
_SHORTEST_HEADER = 6
"""Bytes of the shortest header of a frame."""
_TAG = struct.Struct("<III")
"""Frame behind a chunk that readers skip: its kind, its length, and where the chunk belongs."""
_TAG_HEAD = 0x184D2A5E, 4


class _Piece(NamedTuple):
    """Overlap of a box of an array and a chunk."""

    chunk: tuple[int, ...]
    """The chunk's index."""
    inside: Slices
    """Position of the piece in the chunk."""
    outside: Slices
    """Position of the piece in the box."""
    whole: bool
    """Whether the piece covers all pixels that the array has of the chunk."""


class ChunkFiles:
    """A zarr array that is read and written chunk by chunk, past zarr where it has files.

    Two writers must not write the same chunk at once; readers may read at any time.
    Where the array has shards, a chunk that is written by itself is appended to its shard.

    Parameters
    ----------
    array : zarr.Array
        Reads and writes by itself, more slowly, in stores other than folders or with codecs
        other than zstd; the log says so.
    dirty : DirtyFiles, optional
        Is told of the files that are written, to be synced later.
    sync : bool
        Sync each file before it takes its name: for pixels that cannot be computed again.
    tagged : bool
        Write behind each chunk where it belongs, so that one in the place of another is noticed.
    keep_empty : bool
        Write chunks of fill values too, so that a missing one is noticed.
    """

    def __init__(
        self,
        array: zarr.Array[Any],
        dirty: DirtyFiles | None = None,
        *,
        sync: bool = False,
        tagged: bool = False,
        keep_empty: bool = False,
    ) -> None:
        self._array = array
        self._tagged = tagged
        self._keep_empty = keep_empty
        self._files, self._codec = files_of(array, dirty, sync=sync)
        if self._files is None:
            log.info("%s is read and written by zarr, more slowly than by file", array.store_path)

    @property
    def path(self) -> str:
        """Path of the array in its group."""
        return self._array.path

    def __getitem__(self, place: Slices) -> NDArray[Any]:
        return self.read(place)

    def read(
        self,
        place: Slices,
        held: NDArray[np.bool_] | None = None,
        there: NDArray[np.bool_] | None = None,
    ) -> NDArray[Any]:
        """Read a box.

        Parameters
        ----------
        place : tuple of slice
            The box.
        held : bool array with an element for each chunk, optional
            Chunks that count; the others have the fill value, whatever is on disk.
        there : bool array with an element for each chunk, optional
            Chunks that must be on disk; others may be missing and have the fill value.

        Raises
        ------
        DamagedFileError
            If a chunk is not as it was written.
        """
        starts, stops = self._bounds(place)
        shape, fill = np.subtract(stops, starts), self._array.fill_value
        if self._files is None and held is None:
            return np.asarray(self._array[place])
        values = np.full(shape, fill, self._array.dtype)
        pieces = {
            piece.chunk: piece
            for piece in self._pieces(starts, stops)
            if held is None or held[piece.chunk]
        }
        for index, chunk in self._read_chunks(pieces):
            if chunk is not None:
                values[pieces[index].outside] = chunk[pieces[index].inside]
            elif there is not None and there[index]:
                raise DamagedFileError(self.path_of(index), "a part is missing")
        return values

    def _read_chunks(
        self, indices: Collection[tuple[int, ...]]
    ) -> Iterator[tuple[tuple[int, ...], NDArray[Any] | None]]:
        """Read chunks, each file once: each index with its chunk, as `read_chunk` reads it."""
        if self._files is None:
            yield from ((index, self.read_chunk(index)) for index in indices)
            return
        for index, data in self._files.read_many(indices):
            yield index, None if data is None else self._decoded(data, index, self._files)

    def all_chunks(self) -> NDArray[np.bool_]:
        """True for each chunk."""
        array = self._array
        counts = (-(-n // side) for n, side in zip(array.shape, array.chunks, strict=True))
        return np.ones(tuple(counts), bool)

    def path_of(self, index: tuple[int, ...]) -> Path | None:
        """File that holds a chunk; None in stores other than folders."""
        return None if self._files is None else self._files.path_of(index)

    def __setitem__(self, place: Slices, values: NDArray[Any]) -> None:
        if self._files is None:
            self._array[place] = values
            return
        for piece in self._pieces(*self._bounds(place)):
            self._write_piece(self._files, piece, values[piece.outside])

    def write_together(self, boxes: Iterable[tuple[Slices, NDArray[Any]]]) -> None:
        """Write whole chunks; shards are replaced by files that include them.

        Another process may write the same chunks at once, but no others of these shards.
        """
        if self._files is None:
            for place, values in boxes:
                self._array[place] = values
            return
        encoded = {
            piece.chunk: self._encoded(self._filled(piece, values[piece.outside]), piece.chunk)
            for place, values in boxes
            for piece in self._pieces(*self._bounds(place))
        }
        self._files.write_together(encoded)

    def _bounds(self, place: Slices) -> tuple[list[int], list[int]]:
        parts = zip(place, self._array.shape, strict=True)
        bounds = [part.indices(length)[:2] for part, length in parts]
        return [start for start, _ in bounds], [max(bound) for bound in bounds]

    def _pieces(self, starts: list[int], stops: list[int]) -> Iterator[_Piece]:
        chunks, shape = self._array.chunks, self._array.shape
        box = list(zip(starts, stops, chunks, shape, strict=True))
        for index in product(
            *(range(start // side, -(-stop // side)) for start, stop, side, _ in box)
        ):
            inside, outside, whole = [], [], True
            for number, (start, stop, side, length) in zip(index, box, strict=True):
                first, last = number * side, min((number + 1) * side, length)
                low, high = max(start, first), min(stop, last)
                inside.append(slice(low - first, high - first))
                outside.append(slice(low - start, high - start))
                whole &= (low, high) == (first, last)
            yield _Piece(index, tuple(inside), tuple(outside), whole)

    def _write_piece(self, files: Files | Shards, piece: _Piece, values: NDArray[Any]) -> None:
        try:
            chunk = None if piece.whole else self.read_chunk(piece.chunk)
        except DamagedFileError:  # what it held is computed again, or lost
            chunk = None
        if values.shape != self._array.chunks:
            chunk = self._filled(piece, values, chunk)
        else:
            chunk = values.astype(self._array.dtype, copy=False)
        if not self._keep_empty and _is_all(chunk, self._array.fill_value):
            files.remove(piece.chunk)  # a chunk of fill values has no file
        else:
            files.write(piece.chunk, self._encoded(chunk, piece.chunk))

    def remove_chunk(self, index: tuple[int, ...]) -> None:
        """Remove a chunk: from now on it has the fill value."""
        if self._files is not None:
            self._files.remove(index)

    def _filled(
        self, piece: _Piece, values: NDArray[Any], chunk: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        if chunk is None:
            chunk = np.full(self._array.chunks, self._array.fill_value, self._array.dtype)
        chunk[piece.inside] = values
        return chunk

    def _encoded(self, chunk: NDArray[Any], index: tuple[int, ...]) -> bytes:
        data = bytes(zstd.compress(chunk.tobytes(), self._codec.level, self._codec.checksum))
        return data + self._tag(index) if self._tagged else data

    def _tag(self, index: tuple[int, ...]) -> bytes:
        return _TAG.pack(*_TAG_HEAD, zlib.crc32(f"{self.path} {index}".encode()))

    def _is_elsewhere(self, data: bytes, index: tuple[int, ...]) -> bool:
        """Whether a chunk says that it belongs to another place; earlier versions' say nothing."""
        end = data[-_TAG.size :]
        if not self._tagged or len(end) < _TAG.size or _TAG.unpack(end)[:2] != _TAG_HEAD:
            return False
        return end != self._tag(index)

    def read_chunk(self, index: tuple[int, ...]) -> NDArray[Any] | None:
        """Read a chunk of the array, also what is beyond its edge; None where there is none.

        Raises
        ------
        DamagedFileError
            If it is not as it was written.
        """
        if self._files is None:
            box = tuple(
                slice(number * side, min((number + 1) * side, length))
                for number, side, length in zip(
                    index, self._array.chunks, self._array.shape, strict=True
                )
            )
            chunk = np.full(self._array.chunks, self._array.fill_value, self._array.dtype)
            part = np.asarray(self._array[box])
            chunk[tuple(map(slice, part.shape))] = part
            return chunk
        data = self._files.read(index)
        return None if data is None else self._decoded(data, index, self._files)

    def _decoded(self, data: bytes, index: tuple[int, ...], files: Files | Shards) -> NDArray[Any]:
        """Pixels of an encoded chunk; raises as `read_chunk` does."""
        shape, dtype = self._array.chunks, self._array.dtype
        pixels = bytearray(prod(shape) * dtype.itemsize)
        if frame_size(data) != len(pixels):
            raise DamagedFileError(files.path_of(index))
        if self._is_elsewhere(data, index):
            raise DamagedFileError(files.path_of(index), "it belongs to another place")
        try:
            zstd.decompress(data, pixels)
        except (RuntimeError, ValueError) as error:
            raise DamagedFileError(files.path_of(index)) from error
        return np.frombuffer(pixels, dtype).reshape(shape)


def frame_size(data: bytes) -> int:
    """Size of the content that the header of a zstd frame states (RFC 8878); 0 if it does not."""
    if data[:4] != _MAGIC or len(data) < _SHORTEST_HEADER:
        return 0
    flags = data[4]
    single = bool(flags & 0x20)
    width = (int(single), 2, 4, 8)[flags >> 6]
    start = 5 + (not single) + (0, 1, 2, 4)[flags & 3]
    return int.from_bytes(data[start : start + width], "little") + (256 if width == 2 else 0)


def compression(chunks: tuple[int, ...], shards: tuple[int, ...] | None = None) -> dict[str, Any]:
    """Arguments of zarr's `create_array` for an array that `ChunkFiles` writes.

    Parameters
    ----------
    chunks : tuple of int
        Shape of a chunk.
    shards : tuple of int, optional
        Shape of the part that shares a file, in whole chunks; otherwise each chunk has a file.
    """
    compress = ZstdCodec(level=1, checksum=True)  # damage shows, wherever it is
    if shards is None:
        return {"chunks": chunks, "compressors": compress}
    sharding = ShardingCodec(
        chunk_shape=chunks,
        codecs=[BytesCodec(), compress],
        index_codecs=[BytesCodec()],  # no checksum: entries change one by one
        index_location="start",
    )
    return {"chunks": shards, "serializer": sharding, "compressors": None}


def _is_all(chunk: NDArray[Any], fill: Any) -> bool:  # noqa: ANN401 - of the array's type
    if fill == fill:
        return bool(chunk.flat[0] == fill and (chunk == fill).all())
    return bool(np.isnan(chunk.flat[0]) and np.isnan(chunk).all())
