"""Small OME-Zarr images, written without zarr, whose threads would not outlive a fork."""

from __future__ import annotations

import gzip
import json
import struct
from typing import TYPE_CHECKING, Any

import numcodecs
import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

SIDE, CHUNK = 192, 64
KINDS = ("v2-blosc", "v2-zlib", "v2-raw", "v3-zstd", "v3-gzip", "v3-blosc", "v3-shards")
"""Versions of zarr and codecs that `write_image` knows."""


def pixels() -> np.ndarray:
    """Pixels of the good image."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    return np.stack([rows, columns, rows ^ columns], axis=-1).astype(np.uint8)


def write_image(place: Path, kind: str, plane: np.ndarray | None = None) -> None:
    """Write an image of two levels, of `pixels` unless others are given."""
    plane = pixels() if plane is None else plane
    version, codec = kind.split("-")
    scale = [{"type": "scale", "scale": [0.5, 0.5, 1.0]}]
    coarse = [{"type": "scale", "scale": [1.0, 1.0, 1.0]}]
    space = {"type": "space", "unit": "micrometer"}
    image = {
        "axes": [{"name": "y", **space}, {"name": "x", **space}, {"name": "c", "type": "channel"}],
        "datasets": [
            {"path": "0", "coordinateTransformations": scale},
            {"path": "1", "coordinateTransformations": coarse},
        ],
    }
    omero = {"channels": [{"label": "red"}, {"label": "green"}, {"label": "blue"}]}
    place.mkdir()
    if version == "v2":
        write_json(place / ".zgroup", {"zarr_format": 2})
        write_json(
            place / ".zattrs", {"multiscales": [{"version": "0.4", **image}], "omero": omero}
        )
    else:
        ome = {"version": "0.5", "multiscales": [image], "omero": omero}
        write_json(
            place / "zarr.json",
            {"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome}},
        )
    for level in range(2):
        _write_level(place / str(level), plane[:: level + 1, :: level + 1], version, codec)


def _write_level(place: Path, plane: np.ndarray, version: str, codec: str) -> None:
    place.mkdir()
    if version == "v2":
        write_json(place / ".zarray", _array_v2(plane.shape, codec))
    else:
        write_json(place / "zarr.json", array_v3(plane.shape, codec))
    side = 2 * CHUNK if codec == "shards" else CHUNK
    for row in range(-(-plane.shape[0] // side)):
        for column in range(-(-plane.shape[1] // side)):
            part = np.zeros((side, side, 3), np.uint8)
            cut = plane[row * side : (row + 1) * side, column * side : (column + 1) * side]
            part[: cut.shape[0], : cut.shape[1]] = cut
            data = shard(part) if codec == "shards" else packed(part.tobytes(), codec)
            name = f"{row}.{column}.0" if version == "v2" else f"c/{row}/{column}/0"
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(data)


def _array_v2(shape: tuple[int, ...], codec: str) -> dict[str, Any]:
    compressors = {
        "blosc": {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1, "blocksize": 0},
        "zlib": {"id": "zlib", "level": 1},
        "raw": None,
    }
    return {
        "zarr_format": 2,
        "shape": list(shape),
        "chunks": [CHUNK, CHUNK, 3],
        "dtype": "|u1",
        "compressor": compressors[codec],
        "fill_value": 0,
        "order": "C",
        "filters": None,
    }


def array_v3(shape: tuple[int, ...], codec: str) -> dict[str, Any]:
    blosc = {"typesize": 1, "cname": "lz4", "clevel": 5, "shuffle": "shuffle", "blocksize": 0}
    compressors = {
        "zstd": {"name": "zstd", "configuration": {"level": 0, "checksum": False}},
        "gzip": {"name": "gzip", "configuration": {"level": 1}},
        "blosc": {"name": "blosc", "configuration": blosc},
    }
    chain = [{"name": "bytes"}, compressors[codec if codec != "shards" else "zstd"]]
    little = {"name": "bytes", "configuration": {"endian": "little"}}
    if codec == "shards":
        inner = {"chunk_shape": [CHUNK, CHUNK, 3], "codecs": chain, "index_codecs": [little]}
        chain = [{"name": "sharding_indexed", "configuration": {**inner, "index_location": "end"}}]
    side = 2 * CHUNK if codec == "shards" else CHUNK
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(shape),
        "data_type": "uint8",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [side, side, 3]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": chain,
        "attributes": {},
        "dimension_names": ["y", "x", "c"],
    }


def packed(data: bytes, codec: str) -> bytes:
    """Bytes as a codec stores them."""
    if codec == "raw":
        return data
    if codec == "gzip":
        return gzip.compress(data, 1)
    makers = {"zlib": numcodecs.Zlib, "blosc": numcodecs.Blosc, "zstd": numcodecs.Zstd}
    return bytes(makers[codec]().encode(np.frombuffer(data, np.uint8)))


def shard(part: np.ndarray, index: list[tuple[int, int]] | None = None) -> bytes:
    """Shard of four chunks, perhaps with an index that lies."""
    pieces, places, at = [], [], 0
    for row in (0, CHUNK):
        for column in (0, CHUNK):
            chunk = np.ascontiguousarray(part[row : row + CHUNK, column : column + CHUNK])
            pieces.append(packed(chunk.tobytes(), "zstd"))
            places.append((at, len(pieces[-1])))
            at += len(pieces[-1])
    return b"".join(pieces) + b"".join(struct.pack("<QQ", *one) for one in index or places)


def write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content))
