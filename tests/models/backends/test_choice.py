"""Choice of what a model runs on, and errors if that is missing."""

from __future__ import annotations

import re

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


def without(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """Hide an installed package from the choice."""
    monkeypatch.setattr(choice, "find_spec", lambda name: None if name == package else True)


@pytest.mark.usefixtures("no_gpu")
def test_without_a_gpu_auto_takes_openvino() -> None:
    compute = choose()
    assert (compute.backend, compute.device, compute.precision) == ("openvino", "cpu", "f32")
    assert "no GPU" in compute.why


@pytest.mark.usefixtures("no_gpu")
def test_without_openvino_auto_takes_torch_and_says_what_would_be_faster(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    without(monkeypatch, "openvino")
    compute = choose()
    assert (compute.backend, compute.device) == ("torch", "cpu")
    assert "pip install openvino" in compute.why
    with pytest.raises(ModelError, match=r"needs OpenVINO.*take cpu"):
        choose("openvino")


@pytest.mark.parametrize("device", ["cpu", "cuda", "mps"])
def test_without_torch_its_devices_are_refused_in_one_line(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch, "torch")
    said = r"needs torch, .*; pip install 'napari-twostage\[torch\]', or take openvino"
    with pytest.raises(ModelError, match=f"device '{device}' {said}") as caught:
        choose(device)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("gpu", [True, False])
def test_without_torch_auto_takes_openvino(gpu: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "torch")
    monkeypatch.setattr(choice, "may_have_gpu", lambda: gpu)
    compute = choose()
    assert compute.backend == "openvino"
    assert ("pip install 'napari-twostage[torch]'" in compute.why) == gpu


@pytest.mark.parametrize(
    ("name", "advice"), [("no-such-device", "choose auto, cpu, openvino"), ("cuda:99", "try cpu")]
)
def test_an_absent_device_is_refused_in_one_line(name: str, advice: str) -> None:
    with pytest.raises(ModelError, match=f"device '{name}'.*{advice}") as caught:
        choose(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("installed", "library"),
    [(("openvino", "onnxruntime"), "openvino"), (("onnxruntime",), "onnxruntime")],
)
def test_an_onnx_network_takes_the_library_that_is_there(
    installed: tuple[str, ...], library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "find_spec", lambda name: name in installed or None)
    compute = choice.choose_for_onnx("auto", "f32")
    assert (compute.backend, compute.device) == (library, "cpu")


@pytest.mark.parametrize(
    ("device", "install"),
    [("auto", "'napari-twostage[onnx]'"), ("openvino", "openvino"), ("onnxruntime", "onnx]'")],
)
def test_a_missing_library_of_onnx_networks_is_named(
    device: str, install: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "find_spec", lambda _name: None)
    with pytest.raises(ModelError, match=f"not installed; pip install .*{re.escape(install)}"):
        choice.choose_for_onnx(device, "f32")
