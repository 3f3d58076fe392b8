"""Small ONNX networks, made by hand: darkness of pixels, in the ways that networks differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

TYPES = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "uint8": TensorProto.UINT8}
ANY = ("n", 3, "h", "w")
MAPS = ("n", "c", "h", "w")


def weight(name: str, values: Any, dtype: str = "float32") -> onnx.TensorProto:
    """Weight of a graph."""
    return numpy_helper.from_array(np.asarray(values, dtype), name)


def graph(
    nodes: Iterable[onnx.NodeProto],
    weights: Iterable[onnx.TensorProto] = (),
    *,
    shape: tuple[Any, ...] = ANY,
    dtype: str = "float32",
    outputs: dict[str, int] | None = None,
) -> onnx.ModelProto:
    """Network from an image ``x`` to maps, ``y`` unless others are stated."""
    given = outputs or {"y": TensorProto.FLOAT}
    made = helper.make_graph(
        list(nodes),
        "small",
        [helper.make_tensor_value_info("x", TYPES[dtype], shape)],
        [helper.make_tensor_value_info(name, kind, MAPS) for name, kind in given.items()],
        list(weights),
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def darkness(
    outputs: int = 1,
    *,
    last: str | None = None,
    nhwc: bool = False,
    shape: tuple[Any, ...] | None = None,
    dtype: str = "float32",
    gain: float = 8.0,
    size: int = 1,
    pad: int = 0,
) -> onnx.ModelProto:
    """Network whose channel k is ``gain * (level_k - x)``, x the mean of the input's channels.

    Levels are 0.5, 0.4, ...; `last` is an operation after that; `size` and `pad` are a
    convolution's.
    """
    channels = 1 if shape is not None and 1 in (shape[1], shape[3]) else 3
    levels = 0.5 - 0.1 * np.arange(outputs)
    kernel = np.full((outputs, channels, size, size), -gain / channels / size**2)
    weights = [weight("w", kernel), weight("b", gain * levels)]
    nodes, value = [], "x"

    def then(operation: str, *more: str, **attributes: Any) -> None:
        nonlocal value
        made = f"v{len(nodes)}"
        nodes.append(helper.make_node(operation, [value, *more], [made], **attributes))
        value = made

    if dtype != "float32":
        then("Cast", to=TensorProto.FLOAT)
    if dtype == "uint8":
        weights.append(weight("white", 255.0))
        then("Div", "white")
    if nhwc:
        then("Transpose", perm=[0, 3, 1, 2])
    then("Conv", "w", "b", pads=[pad] * 4)
    if last == "Softmax":
        then("Softmax", axis=1)
    elif last is not None:
        then(last)
    if nhwc:
        then("Transpose", perm=[0, 2, 3, 1])
    nodes.append(helper.make_node("Identity", [value], ["y"]))
    default = ("n", "h", "w", 3) if nhwc else ANY
    return graph(nodes, weights, shape=shape or default, dtype=dtype)


def expected_darkness(window: NDArray[np.uint8], outputs: int = 1, gain: float = 8.0) -> Any:
    """What `darkness` computes of pixels from 0 to 1: (outputs, H, W)."""
    mean = window.mean(axis=2) / 255
    return np.stack([gain * (0.5 - 0.1 * k - mean) for k in range(outputs)])
