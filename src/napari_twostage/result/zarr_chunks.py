"""Fast reading and writing of a zarr array, through the files that zarr itself would use.

A run writes hundreds of small pieces a second, and a viewer or an export reads as many. zarr takes
1 to 3 ms of processor time for each, most of it in its event loop, and little less for a missing
chunk. Encoding a chunk and writing its file takes 0.35 ms here, reading it 0.07 ms. Files of one
chunk equal zarr's to the byte; shards hold their chunks in the order of writing.
"""

from __future__ import annotations

import logging
import sys
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numcodecs import zstd
from zarr.codecs import BytesCodec, ShardingCodec, ZstdCodec
from zarr.storage import LocalStore

from napari_twostage.result.shards import Files, Shards

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import zarr
    from numpy.typing import NDArray

    Slices = tuple[slice, ...]

log = logging.getLogger(__name__)


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
    """

    def __init__(self, array: zarr.Array[Any]) -> None:
        self._array = array
        self._files, self._level = _files_of(array)
        if self._files is None:
            log.info("%s is read and written by zarr, more slowly than by file", array.store_path)

    @property
    def path(self) -> str:
        """Path of the array in its group."""
        return self._array.path

    def __getitem__(self, place: Slices) -> NDArray[Any]:
        if self._files is None:
            return np.asarray(self._array[place])
        starts, stops = self._bounds(place)
        values = np.full(np.subtract(stops, starts), self._array.fill_value, self._array.dtype)
        for piece in self._pieces(starts, stops):
            chunk = self._read_chunk(self._files, piece.chunk)
            if chunk is not None:
                values[piece.outside] = chunk[piece.inside]
        return values

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
            piece.chunk: self._encoded(self._filled(piece, values[piece.outside]))
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
        chunk = None if piece.whole else self._read_chunk(files, piece.chunk)
        chunk = self._filled(piece, values, chunk)
        if _is_all(chunk, self._array.fill_value):
            files.remove(piece.chunk)  # a chunk of fill values has no file
        else:
            files.write(piece.chunk, self._encoded(chunk))

    def _filled(
        self, piece: _Piece, values: NDArray[Any], chunk: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        if chunk is None:
            chunk = np.full(self._array.chunks, self._array.fill_value, self._array.dtype)
        chunk[piece.inside] = values
        return chunk

    def _encoded(self, chunk: NDArray[Any]) -> bytes:
        return bytes(zstd.compress(chunk.tobytes(), self._level))

    def _read_chunk(self, files: Files | Shards, index: tuple[int, ...]) -> NDArray[Any] | None:
        """Read a chunk of the array; None where there is none."""
        data = files.read(index)
        if data is None:
            return None
        pixels = bytearray(zstd.decompress(data))
        return np.frombuffer(pixels, self._array.dtype).reshape(self._array.chunks)


def compression(chunks: tuple[int, ...], shards: tuple[int, ...] | None = None) -> dict[str, Any]:
    """Arguments of zarr's `create_array` for an array that `ChunkFiles` writes.

    Parameters
    ----------
    chunks : tuple of int
        Shape of a chunk.
    shards : tuple of int, optional
        Shape of the part that shares a file, in whole chunks; otherwise each chunk has a file.
    """
    compress = ZstdCodec(level=1)
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


def _index_location(sharding: ShardingCodec) -> str:
    """Place of a shard's index, "start" or "end"."""
    # the attribute is an enum before zarr 3.3, a string after
    return str(getattr(sharding.index_location, "value", sharding.index_location))


def _files_of(array: zarr.Array[Any]) -> tuple[Files | Shards | None, int]:
    """Files of an array's chunks and their zstd level; None if only zarr can read them."""
    # one byte a value has no order; others are little-endian, which zarr writes by default
    if not isinstance(array.store, LocalStore) or (
        array.dtype.itemsize > 1 and sys.byteorder != "little"
    ):
        return None, 0
    folder = Path(array.store.root) / array.path

    def path_of(index: tuple[int, ...]) -> Path:
        return folder / array.metadata.encode_chunk_key(index)

    match getattr(array.metadata, "codecs", ()):
        case (BytesCodec(), ZstdCodec(level=level, checksum=False)):
            return Files(path_of), level
        case (
            ShardingCodec(
                codecs=(BytesCodec(), ZstdCodec(level=level, checksum=False)),
                index_codecs=(BytesCodec(),),
            ) as sharding,
        ) if _index_location(sharding) == "start":
            shards = array.shards or array.chunks
            per_shard = tuple(n // part for n, part in zip(shards, array.chunks, strict=True))
            return Shards(path_of, per_shard), level
    return None, 0
