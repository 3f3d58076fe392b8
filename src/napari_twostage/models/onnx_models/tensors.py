"""Tensors of an ONNX file: of the size that they state, finite, and in the file itself."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from napari_twostage.errors import ModelError
from napari_twostage.models.onnx_models.wire import BYTES
from napari_twostage.models.weights_file import are_finite

if TYPE_CHECKING:
    from napari_twostage.models.onnx_models.wire import Entry, Wire

MOST_SIDES = 8
LONGEST_SIDE = 1 << 40
# numbers of fields, from onnx.proto
SIDES, TYPE, NAME = 1, 2, 8
PLAIN = (4, 9, 10)
"""Numbers as they are in memory: floats, bytes of any type, doubles."""
PACKED = (5, 7, 11)
"""Whole numbers of as many bytes as each needs."""
ELSEWHERE = (13, 14)


class ValueType(NamedTuple):
    """Type of a tensor's values."""

    name: str
    size: int
    """Bytes of a value."""
    float_name: str = ""
    """Name in `weights_file`, of floating-point types."""


TYPES = {
    1: ValueType("float32", 4, "F32"),
    2: ValueType("uint8", 1),
    3: ValueType("int8", 1),
    4: ValueType("uint16", 2),
    5: ValueType("int16", 2),
    6: ValueType("int32", 4),
    7: ValueType("int64", 8),
    9: ValueType("bool", 1),
    10: ValueType("float16", 2, "F16"),
    11: ValueType("float64", 8, "F64"),
    12: ValueType("uint32", 4),
    13: ValueType("uint64", 8),
    16: ValueType("bfloat16", 2, "BF16"),
}
"""Types of values by their number in the format."""


def check_tensor(wire: Wire, message: Entry) -> str:
    """Refuse a tensor in another file, of another size than stated, or not finite.

    Returns
    -------
    str
        Its name.

    Raises
    ------
    ModelError
    """
    tensor = _read(wire, message)
    shown, kind = f"its tensor {tensor.name!r:.60}", TYPES.get(tensor.type)
    if tensor.is_elsewhere:
        raise ModelError(
            "its weights are in another file; put them into it: "
            "onnx.save(onnx.load('model.onnx'), 'whole.onnx')"
        )
    sound = len(tensor.sides) <= MOST_SIDES and all(
        0 <= side < LONGEST_SIDE for side in tensor.sides
    )
    if kind is None or not sound:
        raise ModelError(f"{shown} is of no usable type and shape")
    held = tensor.packed
    if tensor.plain is not None:
        held, odd = divmod(tensor.plain.last - tensor.plain.first, kind.size)
        held = -1 if odd or tensor.packed or tensor.plain.kind != BYTES else held
    if held != math.prod(tensor.sides):
        raise ModelError(f"{shown} holds fewer or more numbers than its shape says")
    if tensor.plain is not None and kind.float_name:
        place = tensor.plain.first, tensor.plain.last
        if not are_finite(wire.content, *place, kind.float_name):
            raise ModelError(f"{shown} holds numbers that are not finite")
    return tensor.name


@dataclass
class _Tensor:
    sides: list[int] = field(default_factory=list)
    type: int = 0
    name: str = ""
    plain: Entry | None = None
    """Numbers as they are in memory."""
    packed: int = 0
    """Count of whole numbers that are not."""
    is_elsewhere: bool = False


def _read(wire: Wire, message: Entry) -> _Tensor:
    tensor = _Tensor()
    for entry in wire.inside(message):
        if entry.field == SIDES:
            tensor.sides += wire.numbers(entry)
        elif entry.field == TYPE:
            tensor.type = entry.number
        elif entry.field == NAME:
            tensor.name = wire.text(entry)
        elif entry.field in PLAIN and entry.last > entry.first:
            tensor.plain = entry
        elif entry.field in PACKED:
            tensor.packed += wire.count(entry)
        elif entry.field in ELSEWHERE:
            tensor.is_elsewhere |= entry.kind == BYTES or entry.number != 0
    return tensor
