"""What a model runs on, and what is said where that is not to be had."""

from __future__ import annotations

import pytest
import torch

from napari_twostage.errors import ModelError
from napari_twostage.models.backends import choice, choose


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


def test_a_gpu_is_taken_where_torch_finds_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "may_have_gpu", lambda: True)
    monkeypatch.setattr(choice, "pick_device", lambda _: torch.device("cuda"))
    compute = choose()
    assert (compute.backend, compute.device) == ("torch", "cuda")


@pytest.mark.usefixtures("no_gpu")
def test_without_a_gpu_auto_takes_openvino() -> None:
    compute = choose()
    assert (compute.backend, compute.device, compute.precision) == ("openvino", "cpu", "f32")
    assert "no GPU" in compute.why


@pytest.mark.usefixtures("no_gpu")
def test_without_openvino_auto_takes_torch_and_says_what_would_be_faster(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(choice, "find_spec", lambda _: None)
    compute = choose()
    assert (compute.backend, compute.device) == ("torch", "cpu")
    assert "pip install 'napari-twostage[openvino]'" in compute.why
    with pytest.raises(ModelError, match=r"needs OpenVINO.*take cpu"):
        choose("openvino")


@pytest.mark.parametrize("name", ["no-such-device", "cuda:99"])
def test_an_absent_device_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(ModelError, match=f"device '{name}'.*try cpu") as caught:
        choose(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("device", "precision"),
    [("cpu", "fp16"), ("openvino", "fp16"), ("cpu", "int8"), ("cpu", "f64")],
)
def test_a_precision_that_is_not_offered_is_refused(device: str, precision: str) -> None:
    with pytest.raises(ModelError, match=f"'{precision}' is not offered on {device}; choose f32"):
        choose(device, precision)


@pytest.mark.parametrize(
    ("device", "precision"), [("cpu", "bf16"), ("openvino", "bf16"), ("openvino", "int8")]
)
def test_a_cpu_is_not_given_what_it_only_emulates(
    device: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "processor_flags", lambda: frozenset({"avx2"}))
    with pytest.raises(ModelError, match=f"does not compute in {precision}"):
        choose(device, precision)


def test_torch_is_asked_where_the_system_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "processor_flags", frozenset)
    for there in (True, False):
        found = {"avx2": True, "avx512_vnni": there}
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda said=found: said, raising=False)
        assert choice.multiplies("int8") == there
    assert choice.multiplies("f32")
