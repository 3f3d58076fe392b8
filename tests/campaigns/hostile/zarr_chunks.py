"""Ways to spoil the chunks and shards of an OME-Zarr image."""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np
from tests.campaigns.hostile.zarr_images import CHUNK, SIDE, shard

if TYPE_CHECKING:
    import random
    from pathlib import Path

EMPTY = 2**64 - 1


def chunk_bytes(rng: random.Random, place: Path, kind: str) -> None:
    """Damage the bytes of chunks."""
    for _ in range(rng.choice((1, 2, 5))):
        path = _chunk(rng, place, kind)
        data = bytearray(path.read_bytes())
        match rng.randrange(6):
            case 0:
                del data[rng.randrange(len(data) + 1) :]
            case 1:
                for _ in range(rng.choice((1, 5, 50))):
                    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            case 2:
                data[: rng.randrange(32)] = rng.randbytes(rng.randrange(32))
            case 3:
                data[:] = rng.randbytes(rng.randrange(3000))
            case 4:
                data += rng.randbytes(rng.randrange(3000))
            case _:
                start = rng.randrange(len(data))
                data[start:] = bytes(len(data) - start)
        path.write_bytes(data)
        if not data:
            break


def chunk_headers(rng: random.Random, place: Path, kind: str) -> None:
    """Compressed chunks that state other sizes in their headers."""
    path = _chunk(rng, place, kind)
    data = bytearray(path.read_bytes())
    at = rng.randrange(min(24, len(data) - 4))
    value = rng.choice((0, 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1, len(data) * 2))
    data[at : at + 4] = struct.pack("<I", value)
    path.write_bytes(data)


def chunk_bombs(rng: random.Random, place: Path, kind: str) -> None:
    """Chunks that unpack to gigabytes."""
    codec = {"raw": "raw", "shards": "zstd"}.get(kind[3:], kind[3:])
    _chunk(rng, place, kind).write_bytes(bomb(codec))


_BOMBS: dict[str, bytes] = {}


def bomb(codec: str) -> bytes:
    """Zeros, two gigabytes of them where the codec allows it, packed; made once."""
    if codec not in _BOMBS:
        size = {"raw": 1 << 26, "blosc": (1 << 31) - 100}.get(codec, 1 << 31)
        if codec == "blosc":  # blosc's header alone: its memory is taken before it is looked at
            header = struct.pack("<BBBBIII", 2, 1, 33, 1, size, size, 400)
            _BOMBS[codec] = header + bytes(384)
        elif codec == "gzip":
            _BOMBS[codec] = gzip.compress(bytes(1 << 24), 9) * (size >> 24)
        elif codec == "raw":
            _BOMBS[codec] = bytes(size)
        else:
            _BOMBS[codec] = _streamed(codec, size)
    return _BOMBS[codec]


def _streamed(codec: str, size: int) -> bytes:
    if codec == "zlib":
        packer = zlib.compressobj(9)
        start = packer.compress(bytes(1 << 24)) + packer.flush(zlib.Z_FULL_FLUSH)
        again = packer.compress(bytes(1 << 24)) + packer.flush(zlib.Z_FULL_FLUSH)
        return start + again * (size >> 24)
    # zstd: a frame written by hand, whose blocks each repeat a byte 131,072 times
    block = struct.pack("<I", (131072 << 3) | 2)[:3] + b"\0"
    last = struct.pack("<I", (131072 << 3) | 3)[:3] + b"\0"
    frame = b"\x28\xb5\x2f\xfd" + b"\xe0" + struct.pack("<Q", size)
    return frame + block * (size // 131072 - 1) + last


def chunk_indexes(rng: random.Random, place: Path, kind: str) -> None:
    """Shards whose index points anywhere."""
    if kind != "v3-shards":
        chunk_bytes(rng, place, kind)
        return
    values = (0, 1, 5, 1000, 2**20, 2**31, 2**33, 2**62, 2**63, EMPTY - 1, EMPTY)
    index = [(rng.choice(values), rng.choice(values)) for _ in range(4)]
    part = np.zeros((2 * CHUNK, 2 * CHUNK, 3), np.uint8)
    path = _chunk(rng, place, kind)
    path.write_bytes(shard(part, index))
    if rng.random() < 0.3:
        _make_huge(path)


def chunk_sizes(rng: random.Random, place: Path, kind: str) -> None:
    """Files of chunks of a terabyte, which take no room on the disk."""
    for _ in range(rng.choice((1, 4, 9))):
        _make_huge(_chunk(rng, place, kind))


def _make_huge(path: Path) -> None:
    if path.stat().st_size == 1 << 40:
        return
    data = path.read_bytes()
    with path.open("r+b") as file:
        file.truncate(1 << 40)
        file.seek(-64, os.SEEK_END)
        file.write(data[-64:])


def _chunk(rng: random.Random, place: Path, kind: str) -> Path:
    """A chunk of level 0."""
    sides = range(-(-SIDE // (2 * CHUNK if kind == "v3-shards" else CHUNK)))
    row, column = rng.choice(sides), rng.choice(sides)
    return place / "0" / (f"{row}.{column}.0" if kind.startswith("v2") else f"c/{row}/{column}/0")
