"""Files that a zarr array keeps its chunks in, where they can be read and written past zarr."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zarr.codecs import BytesCodec, ShardingCodec, ZstdCodec
from zarr.storage import LocalStore

from napari_twostage.io.durable import DirtyFiles
from napari_twostage.result.shards import Files, Shards

if TYPE_CHECKING:
    import zarr


def files_of(
    array: zarr.Array[Any], dirty: DirtyFiles | None, *, sync: bool
) -> tuple[Files | Shards | None, ZstdCodec]:
    """Files of an array's chunks and their codec; None if only zarr can read them."""
    # one byte a value has no order; others are little-endian, which zarr writes by default
    if not isinstance(array.store, LocalStore) or (
        array.dtype.itemsize > 1 and sys.byteorder != "little"
    ):
        return None, ZstdCodec()
    root = Path(array.store.root)
    folder = root / array.path
    dirty = dirty or DirtyFiles(root)

    def path_of(index: tuple[int, ...]) -> Path:
        return folder / array.metadata.encode_chunk_key(index)

    match getattr(array.metadata, "codecs", ()):
        case (BytesCodec(), ZstdCodec() as codec):
            return Files(path_of, dirty, sync=sync), codec
        case (
            ShardingCodec(
                codecs=(BytesCodec(), ZstdCodec() as codec), index_codecs=(BytesCodec(),)
            ) as sharding,
        ) if _index_location(sharding) == "start":
            shards = array.shards or array.chunks
            per_shard = tuple(n // part for n, part in zip(shards, array.chunks, strict=True))
            return Shards(path_of, per_shard, dirty), codec
    return None, ZstdCodec()


def _index_location(sharding: ShardingCodec) -> str:
    """Place of a shard's index, "start" or "end"."""
    # the attribute is an enum before zarr 3.3, a string after
    return str(getattr(sharding.index_location, "value", sharding.index_location))
