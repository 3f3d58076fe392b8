"""Arrays of zarr folders that may hold anything: opened within limits, or refused."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import zarr

from napari_twostage.errors import SlideError, TwoStageError, reason_of
from napari_twostage.io.zarr_store import read_only_store
from napari_twostage.slides.zarr_codecs import bounded, chunks_in_shard

if TYPE_CHECKING:
    from napari_twostage.io.paths import Location

    Array = zarr.Array[Any]

_CHUNK_BYTES = 256 << 20
"""Most bytes of a chunk, unpacked: it takes up to four times as much to read one."""
_CHUNK_PX = 1024
"""Fewest pixels of a chunk: thousands of tiny ones take minutes to read for one window."""
_CHUNKS_IN_SHARD = 1 << 20
"""Most chunks of a shard, whose index is read as a whole: 16 MiB."""
_PIXELS = 1 << 40
"""Most pixels of a level: a million rows and columns."""
_SHARD_BYTES = 512 << 20
"""Most bytes of a shard that are read at once."""


def open_node(place: Location) -> zarr.Group | Array:
    """Open a zarr folder for reading.

    Raises
    ------
    SlideError
        If there is none, or it is damaged; one line.
    TransferError
        If a URL cannot be reached.
    """
    try:
        return zarr.open(read_only_store(place), mode="r")
    except TwoStageError:
        raise
    except Exception as error:
        raise SlideError(
            f"{place.name} is no readable zarr folder ({reason_of(error)}); "
            "expected the folder of an OME-Zarr image, with zarr.json or .zattrs in it"
        ) from error


def within_limits(
    array: Array, plane: tuple[int, int], name: str, *, least_px: int = _CHUNK_PX
) -> Array:
    """The same array, which takes no more memory than a chunk to decode a chunk.

    Parameters
    ----------
    array : zarr.Array
        Array in a folder of `open_node`.
    plane : (int, int)
        Its axes of rows and columns.
    name : str
        Its name in messages.
    least_px : int
        Fewest pixels of a chunk.

    Raises
    ------
    SlideError
        If its shape, its chunks or its codecs are beyond what is supported.
    """
    rows, columns = (array.shape[axis] for axis in plane)
    if not 0 < rows * columns <= _PIXELS:
        raise SlideError(
            f"{name} claims {_shown(rows)} × {_shown(columns)} pixels, at most {_PIXELS:,} in all "
            "were expected; "
            "its metadata are damaged: copy or convert the image again"
        )
    chunk_bytes = math.prod(array.chunks) * array.dtype.itemsize
    if not 0 < chunk_bytes <= _CHUNK_BYTES:
        raise SlideError(
            f"{name} is stored in chunks of {_shown(chunk_bytes >> 20)} MiB, each to be decoded "
            f"as a whole, at most {_CHUNK_BYTES >> 20} MiB were expected; convert it with smaller "
            "chunks"
        )
    _check_count(array, plane, least_px, name)
    # a few bytes more: some codecs add checksums
    room = chunk_bytes + chunk_bytes // 64 + 4096
    limited = bounded(array, room, name)
    shards = array.shards
    shard_bytes = math.prod(shards) * array.dtype.itemsize if shards else 0
    index_bytes = 16 * chunks_in_shard(array) + 4096
    store: Any = limited.store
    store.most_bytes = max(room, index_bytes, min(shard_bytes + index_bytes, _SHARD_BYTES))
    return limited


def _check_count(array: Array, plane: tuple[int, int], least_px: int, name: str) -> None:
    """Raise SlideError for chunks that are tiny, or too many in a file."""
    area = math.prod(min(array.chunks[axis], array.shape[axis]) for axis in plane)
    if area < min(least_px, math.prod(array.shape[axis] for axis in plane)):
        raise SlideError(
            f"{name} is stored in chunks of {area} pixels, at least {least_px} were expected; "
            "convert it with chunks of 256 × 256 or more"
        )
    count = chunks_in_shard(array)
    if count > _CHUNKS_IN_SHARD:
        raise SlideError(
            f"{name} is stored in shards of {_shown(count)} chunks, at most "
            f"{_CHUNKS_IN_SHARD:,} were expected; convert it with smaller shards"
        )


def _shown(number: int) -> str:
    """A number of a file, which may have thousands of digits."""
    return f"{number:,}" if number < 1 << 60 else "more than 2^60"
