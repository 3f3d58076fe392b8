"""Safetensors files, checked before they are decoded: their header, and that numbers are finite."""

from __future__ import annotations

import json
import math
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_twostage.errors import ModelError, one_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

LONGEST_HEADER = 10_000_000
"""Bytes; the bundled model's has 72 thousand for 700 tensors."""
MOST_TENSORS = 20_000
MOST_SIDES = 8
INFINITY = {"F16": 0x7C00, "BF16": 0x7F80, "F32": 0x7F80_0000, "F64": 0x7FF0_0000_0000_0000}
"""Bit pattern of +inf by type; larger ones, but for the sign, are NaN."""
SIZES = {"BOOL": 1, "U8": 1, "I8": 1, "F16": 2, "BF16": 2, "I32": 4, "F32": 4, "I64": 8, "F64": 8}
"""Bytes of a value by type: those that networks have."""
BITS = {2: "<u2", 4: "<u4", 8: "<u8"}
"""Unsigned integers of as many bytes, as numpy names them."""
BLOCK = 1 << 16
"""Values looked at together: they stay in the processor's cache."""


class Place(NamedTuple):
    """Tensor in a safetensors file."""

    name: str
    dtype: str
    first: int
    """Offset of its first byte in the file."""
    last: int
    """Offset of the byte after its last one."""


def tensor_places(content: bytes) -> list[Place]:
    """Tensors of a safetensors file, by its header, which is checked.

    Raises
    ------
    ModelError
        In words that follow "is damaged: " if a length or offset points outside the file, or an
        entry is of an unknown type, or larger or smaller than its shape says.
    """
    if len(content) < 8:
        raise ModelError("it has no header")
    (length,) = struct.unpack_from("<Q", content)
    start = 8 + length
    if length > min(LONGEST_HEADER, len(content) - 8):
        raise ModelError(f"its header claims {length} of {len(content)} bytes")
    try:
        header = dict(json.loads(content[8:start]))
        header.pop("__metadata__", None)
        if len(header) > MOST_TENSORS:
            raise ModelError(f"it lists {len(header)} tensors, expected at most {MOST_TENSORS}")
        places = [_place(name, entry, start) for name, entry in header.items()]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ModelError(f"its header is unreadable: {one_line(error)[:100]}") from error
    if outside := [place.name for place in places if place.last > len(content)]:
        raise ModelError(f"its tensor {outside[0]!r:.60} ends after the file")
    return places


def _place(name: str, entry: dict[str, Any], start: int) -> Place:
    dtype, shape, (first, last) = entry["dtype"], entry["shape"], entry["data_offsets"]
    sides = (*shape, first, last)
    few = dtype in SIZES and len(shape) <= MOST_SIDES
    if not few or any(type(side) is not int or not 0 <= side < 1 << 48 for side in sides):
        raise ModelError(f"its tensor {name!r:.60} is of no known type and shape")
    if math.prod(shape) * SIZES[dtype] != last - first:
        raise ModelError(f"its tensor {name!r:.60} has another size than its shape says")
    return Place(name, dtype, start + first, start + last)


def name_of_not_finite(content: bytes) -> str | None:
    """Name of a tensor that holds NaN or an infinity; None if all numbers are finite.

    Raises
    ------
    ModelError
        See `tensor_places`.
    """
    places = tensor_places(content)
    return next((place.name for place in places if not _is_finite(content, place)), None)


def _is_finite(content: bytes, place: Place) -> bool:
    if place.dtype not in INFINITY:
        return True
    return are_finite(content, place.first, place.last, place.dtype)


def are_finite(content: bytes, first: int, last: int, dtype: str) -> bool:
    """Whether all floats of a type, one of `INFINITY`, between two offsets are finite."""
    infinity, size = INFINITY[dtype], SIZES[dtype]
    values: NDArray[Any] = np.frombuffer(content, BITS[size], (last - first) // size, first)
    # the sign bit is shifted out: integers compare faster than floats are classified
    return all(
        int((values[at : at + BLOCK] << 1).max()) < infinity << 1
        for at in range(0, len(values), BLOCK)
    )
