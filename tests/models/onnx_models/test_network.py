"""ONNX files are read as they are, and hostile or damaged ones refused before a library parses."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tests.models.onnx_graphs import darkness, graph, weight

from napari_twostage.errors import ModelError
from napari_twostage.models.onnx_models.network import Port, read_network

if TYPE_CHECKING:
    from collections.abc import Callable

CONV = helper.make_node("Conv", ["x", "w"], ["y"])
KERNEL = weight("w", np.ones((1, 3, 1, 1)))


def read(network: onnx.ModelProto) -> Any:
    return read_network(network.SerializeToString(), "net.onnx")


def test_ports_are_those_that_the_library_sees() -> None:
    network = read(darkness(2, last="Softmax", nhwc=True, shape=(1, 64, "w", 3)))
    assert network.inputs == [Port("x", "float32", (1, 64, None, 3))]
    assert network.outputs == [Port("y", "float32", (None,) * 4)]
    assert network.last_operation("y") == "Softmax"  # behind Transpose and Identity


def test_weights_that_are_listed_among_the_inputs_are_none() -> None:
    network = graph([CONV], [KERNEL])
    entry = helper.make_tensor_value_info("w", TensorProto.FLOAT, (1, 3, 1, 1))
    network.graph.input.append(entry)
    assert [port.name for port in read(network).inputs] == ["x"]


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        ("float32", [1.5, -2]),
        ("float64", [1.5, -2]),
        ("float16", [1.5, -2]),
        ("int64", [-1, 1 << 40]),
        ("int32", [-1, 300]),
        ("uint8", [0, 255]),
        ("bool", [True, False]),
        ("uint64", [0, (1 << 64) - 1]),
    ],
)
@pytest.mark.parametrize("raw", [True, False])
def test_weights_of_any_type_are_taken_however_they_are_stored(
    dtype: str, values: list[Any], raw: bool
) -> None:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    content = np.array(values, dtype).tobytes() if raw else values
    tensor = helper.make_tensor("t", kind, [2], content, raw=raw)
    assert read(graph([CONV], [KERNEL, tensor])).inputs[0].name == "x"
    tensor.dims[0] = 3
    with pytest.raises(ModelError, match="'t' holds fewer or more numbers than its shape says"):
        read(graph([CONV], [KERNEL, tensor]))


def elsewhere() -> onnx.ModelProto:
    tensor = weight("w", np.ones((1, 3, 1, 1)))
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    return graph([CONV], [tensor])


def not_finite() -> onnx.ModelProto:
    return graph([CONV], [weight("w", np.full((1, 3, 1, 1), np.nan))])


def in_a_constant() -> onnx.ModelProto:
    tensor = weight("", [np.inf])
    return graph([CONV, helper.make_node("Constant", [], ["c"], value=tensor)], [KERNEL])


def of_a_library() -> onnx.ModelProto:
    return graph([helper.make_node("Anything", ["x"], ["y"], domain="com.evil")])


def unknown() -> onnx.ModelProto:
    return graph([helper.make_node("RandomNormalLike", ["x"], ["y"])])


def looping() -> onnx.ModelProto:
    body = darkness().graph
    return graph([helper.make_node("Identity", ["x"], ["y"], body=body)])


def with_functions() -> onnx.ModelProto:
    network = darkness()
    network.functions.add().name = "f"
    return network


def sparse() -> onnx.ModelProto:
    network = graph([CONV], [KERNEL])
    network.graph.sparse_initializer.add().dims.append(3)
    return network


def two_inputs() -> onnx.ModelProto:
    network = darkness()
    network.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n"]))
    return network


def volumes() -> onnx.ModelProto:
    return graph([CONV], [KERNEL], shape=("n", 3, "d", "h", "w"))


def huge_shape() -> onnx.ModelProto:
    tensor = weight("w", np.ones((1, 3, 1, 1)))
    tensor.dims[0] = 1 << 50
    return graph([CONV], [tensor])


def test_names_are_text() -> None:
    content = darkness().SerializeToString().replace(b"Conv", b"\xff" * 4)
    with pytest.raises(ModelError, match="a name that is no text"):
        read_network(content, "net.onnx")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (elsewhere, "in another file; put them into it"),
        (not_finite, "'w' holds numbers that are not finite"),
        (in_a_constant, "holds numbers that are not finite"),
        (of_a_library, "operations of 'com.evil', which are not in the ONNX standard"),
        (unknown, "the operation 'RandomNormalLike'"),
        (looping, "loops or branches"),
        (with_functions, "functions or training of its own"),
        (sparse, "sparse weights"),
        (two_inputs, "takes 2 inputs"),
        (volumes, "float32 of 5 axes"),
        (huge_shape, "no usable type and shape"),
    ],
)
def test_what_no_network_needs_is_refused(make: Callable[[], onnx.ModelProto], words: str) -> None:
    with pytest.raises(ModelError, match=f"net.onnx is no usable ONNX network: .*{words}") as found:
        read(make())
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("content", [b"", b"\x00", b"PK\x03\x04", b"\xff" * 50, b'{"a": 1}'])
def test_other_files_are_refused(content: bytes) -> None:
    with pytest.raises(ModelError, match="no usable ONNX network"):
        read_network(content, "net.onnx")


def test_damaged_files_are_refused_or_read_but_end_in_no_other_error() -> None:
    whole = darkness(3, last="Softmax").SerializeToString()
    chance = random.Random(0)
    refused = 0
    for _ in range(3000):
        content = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            content[chance.randrange(len(content))] = chance.randrange(256)
        cut = chance.choice([len(content), chance.randrange(len(content))])
        try:
            read_network(bytes(content[:cut]), "net.onnx")
        except ModelError:
            refused += 1
    assert refused > 1000


def test_a_file_of_countless_entries_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_twostage.models.onnx_models.wire.MOST_ENTRIES", 100)
    with pytest.raises(ModelError, match="more than 100 entries"):
        read_network(b"\x08\x01" * 101, "net.onnx")
