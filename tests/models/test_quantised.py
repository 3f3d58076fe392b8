"""Networks in integers that cannot be used are refused in one line."""

from __future__ import annotations

from dataclasses import replace

import pytest

from napari_twostage.errors import ModelError
from napari_twostage.models.bundle import Bundle, read_bundle
from napari_twostage.models.quantised import pack, unpack


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return read_bundle("nuclei")


def test_what_is_packed_is_unpacked(bundle: Bundle) -> None:
    networks = {"coarse": (b"<net>", b"\x00\x01"), "refine": (b"<other>", b"")}
    packed = pack(networks, bundle.weights)
    assert unpack(replace(bundle, quantised=packed)) == networks


def test_a_model_without_them_says_how_to_get_them(bundle: Bundle) -> None:
    with pytest.raises(ModelError, match=r"nuclei has no .* bf16.*`napari-twostage quantise`"):
        unpack(replace(bundle, quantised=None))


def test_those_of_other_weights_are_refused(bundle: Bundle) -> None:
    with pytest.raises(ModelError, match="from other weights"):
        unpack(replace(bundle, weights=bundle.weights[:-1] + b"\xff"))


@pytest.mark.parametrize("packed", [b"", b"integers", pack({}, b"weights")])
def test_damaged_ones_are_refused_in_one_line(bundle: Bundle, packed: bytes) -> None:
    with pytest.raises(ModelError, match="damaged") as caught:
        unpack(replace(bundle, quantised=packed))
    assert "\n" not in str(caught.value)
