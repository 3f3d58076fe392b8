"""Converted networks that cannot be used are refused in one line; the others refer to weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load, save
from tests.models.random_model import random_bundle

from napari_twostage.errors import ModelError
from napari_twostage.models.bundle import Bundle, read_bundle
from napari_twostage.models.converted import (
    OFFSET,
    pack,
    read_converted,
    read_quantised,
    refer_to_weights,
)
from napari_twostage.models.model import Model

NETWORKS = {"coarse": (b"<net>", b"\x00\x01"), "refine": (b"<other>", b"")}
READERS = {"quantised": read_quantised, "converted": read_converted}
readers = pytest.mark.parametrize(("field", "read"), READERS.items(), ids=READERS)
Read = "Callable[[Bundle], object]"


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return read_bundle("nuclei")


def test_integers_that_are_packed_are_unpacked(bundle: Bundle) -> None:
    assert read_quantised(replace(bundle, quantised=pack(NETWORKS, bundle))) == NETWORKS


def test_constants_in_floating_point_follow_the_weights(bundle: Bundle) -> None:
    found = read_converted(replace(bundle, converted=pack(NETWORKS, bundle)))
    assert found is not None
    for stage, (graph, rest) in NETWORKS.items():
        assert found[stage][0] == graph
        constants = found[stage][1]
        assert constants.startswith(bundle.weights)
        assert constants.endswith(rest)
        assert (len(constants) - len(rest)) % 64 == 0


def test_a_model_without_integers_says_how_to_get_them(bundle: Bundle) -> None:
    with pytest.raises(ModelError, match=r"nuclei has no .* bf16.*`napari-twostage quantise`"):
        read_quantised(replace(bundle, quantised=None))


def test_a_model_may_lack_networks_in_floating_point(bundle: Bundle) -> None:
    assert read_converted(replace(bundle, converted=None)) is None


@readers
def test_those_of_other_weights_are_refused(field: str, read: Read, bundle: Bundle) -> None:
    other = replace(bundle, weights=bundle.weights[:-1] + b"\xff")
    command = {"quantised": "-twostage quantise", "converted": "-twostage convert"}[field]
    with pytest.raises(ModelError, match=f"from other weights; .*{command}"):
        read(other)


@readers
def test_those_made_with_another_design_are_refused(field: str, read: Read, bundle: Bundle) -> None:
    packed = replace(bundle, **{field: pack(NETWORKS, bundle)})
    same = replace(bundle.card, default_threshold=0.99, temperature=3.0, name="other")
    assert read(replace(packed, card=same)) == read(packed)
    darker = replace(bundle.card, mean=(0.1, 0.1, 0.1))
    with pytest.raises(ModelError, match="with another card"):
        read(replace(packed, card=darker))


@readers
@pytest.mark.parametrize("packed", [b"", b"networks", pack({}, random_bundle())])
def test_damaged_ones_are_refused_in_one_line(
    field: str, read: Read, packed: bytes, bundle: Bundle
) -> None:
    with pytest.raises(ModelError, match="damaged") as caught:
        read(replace(bundle, **{field: packed}))
    assert "\n" not in str(caught.value)


@readers
def test_deflated_parts_that_are_cut_off_or_no_deflated_ones_are_refused(
    field: str, read: Read, bundle: Bundle
) -> None:
    parts = load(pack(NETWORKS, bundle))
    whole = parts["coarse.bin.zlib"]
    for other in (whole[:-3], np.arange(9, dtype=np.uint8)):
        packed = save({**parts, "coarse.bin.zlib": np.ascontiguousarray(other)})
        with pytest.raises(ModelError, match="damaged"):
            read(replace(bundle, **{field: packed}))


CONSTANT = '<data element_type="f32" shape="2" offset="{}" size="8" />'
UNSOUND = {
    "a constant beyond the file": '<layer id="0" type="Const">' + CONSTANT.format(1 << 40),
    "a constant that is no number": '<layer id="0" type="Const">' + CONSTANT.format(0),
    "a loop": '<layer id="0" name="a" type="Loop" version="opset5">',
    "a hidden loop": """<layer name=' type="Add" ' type="Loop">""",
    "an offset written otherwise": '<layer id="0" type="Const"><data size="8" offset = "99999999">',
    "entities": '<!DOCTYPE a [<!ENTITY b "c">]><layer id="0" type="Add">',
}


@pytest.mark.parametrize("graph", UNSOUND)
def test_graphs_that_openvino_would_trust_are_refused(graph: str, bundle: Bundle) -> None:
    unsound = UNSOUND[graph].encode(), np.array([np.inf, 1], "<f4").tobytes()
    packed = pack({"coarse": unsound, "refine": unsound}, bundle)
    with pytest.raises(
        ModelError, match=r"nuclei: its networks .* are damaged: a .*; get"
    ) as caught:
        read_quantised(replace(bundle, quantised=packed))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("graph", [b"<net>", b"<net", b"", b"\xff\xfe"])
def test_graphs_that_openvino_cannot_read_are_refused_in_one_line(
    graph: bytes, bundle: Bundle
) -> None:
    packed = pack({"coarse": (graph, b""), "refine": (graph, b"")}, bundle)
    model = Model(replace(bundle, converted=packed), "openvino", "f32")
    with pytest.raises(ModelError, match="nuclei: OpenVINO cannot run its networks") as caught:
        model.warm_up("coarse")
    assert "\n" not in str(caught.value)


def test_what_stands_in_the_weights_is_taken_from_there() -> None:
    tensors = {"a": np.arange(50, dtype=np.float16), "b": np.arange(70, dtype=np.float16)}
    weights = save(tensors)
    tensor, other = tensors["a"].tobytes(), b"o" * 100
    shared = {b"t": tensor, b"o": other, b"s": b"tiny"}
    constants = b"".join(shared.values())
    graph, offset = b"", 0
    for name, content in shared.items():
        graph += b'<c n="%s" offset="%d" size="%d"/>' % (name, offset, len(content))
        offset += len(content)
    graph, rest = refer_to_weights(graph, constants, weights)
    whole = weights + bytes(-len(weights) % 64) + rest
    places = [tuple(map(int, place)) for place in OFFSET.findall(graph)]
    assert [whole[at : at + size] for at, size in places] == list(shared.values())
    assert tensor not in rest


def test_the_bundled_models_stay_small(bundle: Bundle) -> None:
    assert bundle.converted is not None
    assert len(bundle.converted) < 10e6
