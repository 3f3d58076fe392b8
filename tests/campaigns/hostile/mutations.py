"""Damage to bytes that any file may suffer."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

Mutation = tuple[str, "Callable[[random.Random, bytearray], bytearray]"]

INTERESTING = (0, 1, 2, 7, 8, 127, 128, 255, 256, 4096, 32767, 65535, 65536, 2**24, 2**31 - 1)
"""Numbers at which types and tables end."""
INTERESTING += (2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**63, 2**64 - 1)


def flip_bits(rng: random.Random, data: bytearray) -> bytearray:
    """Flip one to twenty bits anywhere."""
    for _ in range(rng.randint(1, 20)):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return data


def flip_start(rng: random.Random, data: bytearray) -> bytearray:
    """Flip one to five bits of the first 512 bytes, which often are a header."""
    for _ in range(rng.randint(1, 5)):
        data[rng.randrange(min(512, len(data)))] ^= 1 << rng.randrange(8)
    return data


def truncate(rng: random.Random, data: bytearray) -> bytearray:
    """Keep the beginning; one byte at least."""
    del data[rng.randint(1, len(data)) :]
    return data


def zero_fill(rng: random.Random, data: bytearray) -> bytearray:
    """Set a range to zero, as a disk does with sectors that it never wrote."""
    start = rng.randrange(len(data))
    size = min(rng.choice((4, 64, 512, 4096)), len(data) - start)
    data[start : start + size] = bytes(size)
    return data


def scribble(rng: random.Random, data: bytearray) -> bytearray:
    """Replace a range by random bytes."""
    start = rng.randrange(len(data))
    size = min(rng.choice((1, 2, 4, 8, 64, 512)), len(data) - start)
    data[start : start + size] = rng.randbytes(size)
    return data


def move_range(rng: random.Random, data: bytearray) -> bytearray:
    """Copy a range over another one."""
    size = min(rng.choice((8, 64, 512)), len(data))
    source, target = (rng.randint(0, len(data) - size) for _ in range(2))
    data[target : target + size] = data[source : source + size]
    return data


def set_number(rng: random.Random, data: bytearray) -> bytearray:
    """Overwrite two, four or eight bytes of the first 512 by a number that ends a type."""
    size, kind = rng.choice(((2, "H"), (4, "I"), (8, "Q")))
    value = rng.choice([one for one in INTERESTING if one < 1 << 8 * size])
    if len(data) >= size:
        at = rng.randint(0, min(512, len(data)) - size)
        struct.pack_into(rng.choice("<>") + kind, data, at, value)
    return data


def deflated_zeros(size: int) -> bytes:
    """Compress zeros a part at a time."""
    packer = zlib.compressobj(9)
    parts = [packer.compress(bytes(min(1 << 24, size - at))) for at in range(0, size, 1 << 24)]
    return b"".join([*parts, packer.flush()])


MUTATIONS: tuple[Mutation, ...] = tuple(
    (one.__name__, one)
    for one in (flip_bits, flip_start, truncate, zero_fill, scribble, move_range, set_number)
)
