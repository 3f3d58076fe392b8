"""Choice of a precision, and errors if a device lacks it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests.models.random_model import random_bundle

from napari_twostage.errors import ModelError
from napari_twostage.models import load_model
from napari_twostage.models.backends import choose, precision
from napari_twostage.models.bundle import read_bundle
from napari_twostage.models.model import Model

AMX = frozenset({"avx512_bf16", "amx_bf16", "avx512_vnni", "amx_int8"})
EPYC = frozenset({"avx512_bf16", "avx512_vnni"})
VNNI = frozenset({"avx2", "avx_vnni"})
OLD = frozenset({"avx2", "avx512f"})
ARM = frozenset({"bf16", "i8mm", "asimddp"})
GOOD = {"bf16": 0.01, "int8": 0.02}


@pytest.mark.parametrize(
    ("flags", "device", "losses", "expected"),
    [
        (AMX, "openvino", GOOD, "int8"),
        (EPYC, "openvino", GOOD, "int8"),
        (EPYC, "openvino", {"bf16": 0.01}, "bf16"),
        (EPYC, "openvino", {"bf16": 0.01, "int8": 0.1}, "bf16"),
        (EPYC, "openvino", {"bf16": -0.2, "int8": 0.5}, "bf16"),
        (EPYC, "openvino", {"bf16": 0.1, "int8": 0.5}, "f32"),
        (VNNI, "openvino", GOOD, "int8"),
        (VNNI, "openvino", {"bf16": 0.01}, "f32"),
        (OLD, "openvino", GOOD, "f32"),
        (ARM, "openvino", GOOD, "f32"),
        (EPYC, "openvino", {}, "f32"),
        (EPYC, "cpu", GOOD, "bf16"),
        (VNNI, "cpu", GOOD, "f32"),
    ],
)
def test_auto_is_the_fastest_native_precision_that_loses_next_to_nothing(
    flags: frozenset[str],
    device: str,
    losses: dict[str, float],
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(precision, "processor_flags", lambda: flags)
    compute = choose(device, losses=losses)
    assert compute.precision == expected
    assert f"; {expected}" in compute.why


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), "f32"), ((9, 0), "bf16")])
def test_a_gpu_takes_bf16_where_it_multiplies_in_it(
    capability: tuple[int, int], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert precision.pick_precision("cuda:0", GOOD)[0] == expected
    assert precision.pick_precision("mps", GOOD)[0] == "f32"


def test_what_is_asked_for_is_taken_whatever_it_loses() -> None:
    compute = choose("openvino", "f32", GOOD)
    assert compute.precision == "f32"
    assert compute.why.endswith("f32 was asked for")


def test_integers_are_not_chosen_for_a_model_that_carries_none() -> None:
    bundle = read_bundle("nuclei")
    assert bundle.losses == bundle.card.precision_loss
    assert "int8" in bundle.losses
    assert "int8" not in replace(bundle, quantised=None).losses


def test_labels_that_were_begun_keep_their_precision_unless_another_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(precision, "processor_flags", lambda: EPYC)
    model = load_model("nuclei", device="openvino")
    assert model.compute.precision != "f32"
    begun = model.in_precision_of("f32")
    assert begun.compute.precision == "f32"
    assert begun.compute.why.endswith("the result was begun in f32")
    assert model.in_precision_of("f32") is begun.in_precision_of("f32")
    asked = Model(random_bundle(), "cpu", "f32")
    assert asked.in_precision_of("bf16") is asked
    with pytest.raises(ModelError, match=r"begun in fp16: .* choose f32, bf16.* go on where"):
        Model(random_bundle(), "cpu").in_precision_of("fp16")


@pytest.mark.parametrize(
    ("device", "wanted"),
    [("cpu", "fp16"), ("openvino", "fp16"), ("cpu", "int8"), ("cpu", "f64")],
)
def test_a_precision_that_is_not_offered_is_refused(device: str, wanted: str) -> None:
    with pytest.raises(ModelError, match=f"'{wanted}' is not offered on {device}; choose f32"):
        choose(device, wanted)


@pytest.mark.parametrize(
    ("device", "wanted"), [("cpu", "bf16"), ("openvino", "bf16"), ("openvino", "int8")]
)
def test_a_cpu_is_not_given_what_it_only_emulates(
    device: str, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "processor_flags", lambda: frozenset({"avx2"}))
    with pytest.raises(ModelError, match=f"does not compute in {wanted}"):
        choose(device, wanted)


def test_torch_is_asked_where_the_system_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "processor_flags", frozenset)
    for there in (True, False):
        found = {"avx2": True, "avx512_bf16": there}
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda said=found: said, raising=False)
        assert precision.multiplies("bf16", "cpu") == there
        assert (choose("cpu", losses=GOOD).precision == "bf16") == there
    assert precision.multiplies("f32", "cpu")


def test_openvino_is_asked_for_itself_where_the_system_does_not_tell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    native = "avx512_bf16" in precision.processor_flags()
    monkeypatch.setattr(precision, "processor_flags", frozenset)
    assert precision.multiplies("bf16", "openvino") == native
    assert precision.multiplies("int8", "openvino")  # listed everywhere, so no reason to choose it
    assert (choose("openvino", losses=GOOD).precision == "int8") == native
