"""Decompression of zarr chunks that never yields more than a chunk holds.

zarr and numcodecs believe what a compressed chunk says about its own size, and look up any codec
that metadata name. Here a chunk that would unpack to more is damaged, and only the codecs below
are used.
"""

from __future__ import annotations

import asyncio
import bz2
import math
import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numcodecs
from numcodecs.abc import Codec
from zarr.abc.codec import BytesBytesCodec
from zarr.codecs import ShardingCodec

from napari_twostage.errors import SlideError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import zarr
    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import Buffer
    from zarr.core.metadata import ArrayV2Metadata

    Decode = Callable[[Any, int], bytes]
    """Unpacks compressed bytes to at most a number of bytes."""

_SAME_SIZE = ("bytes", "transpose", "crc32c", "crc32", "adler32", "fletcher32", "shuffle")
"""Codecs whose output is as large as their input."""
_INDEX_CODECS = ("bytes", "crc32c")
"""Codecs of a shard's index, whose size is known before it is read."""
_BLOSC_HEADER = 16


def bounded(array: zarr.Array[Any], most_bytes: int, name: str) -> zarr.Array[Any]:
    """The same array, with chunks that unpack to no more than `most_bytes`.

    Parameters
    ----------
    array : zarr.Array
    most_bytes : int
        Size of a chunk, unpacked.
    name : str
        Name of the array in the message.

    Raises
    ------
    SlideError
        If it is compressed in a way that is not supported.
    """
    import zarr

    try:
        metadata = array.metadata
        changed = (
            _bounded_v2(metadata, most_bytes)
            if metadata.zarr_format == 2
            else replace(metadata, codecs=tuple(_bounded_v3(metadata.codecs, most_bytes)))
        )
    except _UnsupportedError as error:
        raise SlideError(
            f"{name} is stored with the codec {error}, expected one of "
            f"{', '.join(sorted(_DECODERS))}; convert the image again"
        ) from None
    return zarr.Array(zarr.AsyncArray(metadata=changed, store_path=array.store_path))


def chunks_in_shard(array: zarr.Array[Any]) -> int:
    """Chunks that one file of an array holds; 1 without shards."""
    metadata: Any = array.metadata
    for codec in getattr(metadata, "codecs", ()):
        if isinstance(codec, ShardingCodec):
            outer = metadata.chunk_grid.chunk_shape
            inner = codec.chunk_shape
            return math.prod(-(-whole // part) for whole, part in zip(outer, inner, strict=True))
    return 1


class _UnsupportedError(Exception):
    """A codec that is not in the lists of this module; its text is the name."""


def _bounded_v2(metadata: ArrayV2Metadata, most_bytes: int) -> ArrayV2Metadata:
    for codec in metadata.filters or ():
        if codec.codec_id not in _SAME_SIZE:
            raise _UnsupportedError(_shown(codec.codec_id))
    compressor = metadata.compressor
    if compressor is None or compressor.codec_id in _SAME_SIZE:
        return metadata
    name = _shown(compressor.codec_id)
    return replace(metadata, compressor=_BoundedV2(name, _decoder(name), most_bytes))


def _bounded_v3(codecs: Iterable[Any], most_bytes: int) -> Iterable[Any]:
    for codec in codecs:
        if isinstance(codec, ShardingCodec):
            yield _bounded_shards(codec, most_bytes)
            continue
        name = _name_of(codec)
        if name in _SAME_SIZE:
            yield codec
        else:
            yield _BoundedV3(codec.to_dict(), _decoder(name), most_bytes)


def _bounded_shards(codec: ShardingCodec, most_bytes: int) -> ShardingCodec:
    for one in codec.index_codecs:
        if _name_of(one) not in _INDEX_CODECS:
            raise _UnsupportedError(f"{_name_of(one)} of a shard's index")
    if any(isinstance(one, ShardingCodec) for one in codec.codecs):
        raise _UnsupportedError("sharding_indexed inside shards")
    return replace(codec, codecs=tuple(_bounded_v3(codec.codecs, most_bytes)))


def _name_of(codec: Any) -> str:  # noqa: ANN401 - zarr's codecs share no typed name
    return _shown(str(codec.to_dict()["name"]).removeprefix("numcodecs."))


def _shown(name: object) -> str:
    """A codec's name, fit for a message."""
    return "".join(letter for letter in str(name) if letter.isprintable())[:40]


def _decoder(name: str) -> Decode:
    try:
        return _DECODERS[name]
    except KeyError:
        raise _UnsupportedError(name) from None


@dataclass(frozen=True)
class _BoundedV3(BytesBytesCodec):
    """A compressor of zarr 3 that only unpacks."""

    definition: dict[str, Any]
    decode_bytes: Decode
    most_bytes: int
    is_fixed_size = False

    def to_dict(self) -> dict[str, Any]:
        return self.definition

    async def _decode_single(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> Buffer:
        packed = chunk_bytes.as_numpy_array()
        data = await asyncio.to_thread(self.decode_bytes, packed, self.most_bytes)
        return chunk_spec.prototype.buffer.from_bytes(data)

    def compute_encoded_size(self, _input_byte_length: int, _chunk_spec: ArraySpec) -> int:
        raise NotImplementedError


class _BoundedV2(Codec):  # type: ignore[misc]  # numcodecs is untyped
    """A compressor of zarr 2 that only unpacks."""

    codec_id = ""  # zarr looks for one in the class; the instance has the right one

    def __init__(self, codec_id: str, decode_bytes: Decode, most_bytes: int) -> None:
        self.codec_id = codec_id
        self._decode_bytes = decode_bytes
        self._most_bytes = most_bytes

    def get_config(self) -> dict[str, Any]:
        return {"id": self.codec_id}

    def encode(self, buf: object) -> bytes:
        raise NotImplementedError

    def decode(self, buf: Any, out: object = None) -> bytes:  # noqa: ANN401, ARG002 - numcodecs' own
        return self._decode_bytes(buf, self._most_bytes)


# -- decoders ------------------------------------------------------------------------------------


def _decode_zstd(packed: Any, most_bytes: int) -> bytes:  # noqa: ANN401 - a buffer, as below
    import imagecodecs

    # with the size given, the frame's own word about it is not used to take memory
    return bytes(imagecodecs.zstd_decode(packed, out=most_bytes))


def _decode_blosc(packed: Any, most_bytes: int) -> bytes:  # noqa: ANN401
    header = bytes(memoryview(packed)[:_BLOSC_HEADER])
    unpacked_bytes = int.from_bytes(header[4:8], "little")
    packed_bytes = int.from_bytes(header[12:16], "little")
    _refuse_larger(unpacked_bytes, most_bytes)
    if packed_bytes != memoryview(packed).nbytes:
        # blosc would read on behind the end
        raise ValueError(
            f"blosc data of {packed_bytes:,} bytes, {memoryview(packed).nbytes:,} found"
        )
    return bytes(numcodecs.Blosc().decode(packed))


def _decode_lz4(packed: Any, most_bytes: int) -> bytes:  # noqa: ANN401
    _refuse_larger(int.from_bytes(bytes(memoryview(packed)[:4]), "little"), most_bytes)
    return bytes(numcodecs.LZ4().decode(packed))


def _decode_zlib(packed: Any, most_bytes: int) -> bytes:  # noqa: ANN401
    """Unpack zlib or gzip, perhaps of several members."""
    parts, left, rest = [], most_bytes, bytes(packed)
    while rest:
        unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
        parts.append(unpacker.decompress(rest, left + 1))
        left -= len(parts[-1])
        _refuse_larger(most_bytes - left, most_bytes)
        if not unpacker.eof:
            raise ValueError("the compressed data end early")
        rest = unpacker.unused_data.lstrip(b"\0")  # gzip members may be padded
    return b"".join(parts)


def _decode_bz2(packed: Any, most_bytes: int) -> bytes:  # noqa: ANN401
    unpacker = bz2.BZ2Decompressor()
    data = unpacker.decompress(bytes(packed), most_bytes + 1)
    _refuse_larger(len(data), most_bytes)
    if not unpacker.eof:
        raise ValueError("the compressed data end early")
    return data


def _refuse_larger(size: int, most_bytes: int) -> None:
    if size > most_bytes:
        raise ValueError(f"it unpacks to more than the {most_bytes:,} bytes of a chunk")


_DECODERS: dict[str, Decode] = {
    "blosc": _decode_blosc,
    "bz2": _decode_bz2,
    "gzip": _decode_zlib,
    "lz4": _decode_lz4,
    "zlib": _decode_zlib,
    "zstd": _decode_zstd,
}
