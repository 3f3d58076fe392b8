"""A model gets networks in integers, which the engine then runs."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.training.make_dataset import make_dataset

from napari_twostage import load_model
from napari_twostage.cli import main
from napari_twostage.errors import ModelError
from napari_twostage.models.backends import choose, openvino
from napari_twostage.models.backends.precision import multiplies
from napari_twostage.models.bundle import read_bundle
from napari_twostage.models.converted import pack
from napari_twostage.models.model import Model
from napari_twostage.training import quantise
from napari_twostage.training.datasets import load_split
from napari_twostage.training.evaluation.outcomes import run_image

if TYPE_CHECKING:
    from pathlib import Path

    from napari_twostage.models.card import Stage


@pytest.mark.skipif(not multiplies("int8", "openvino"), reason="this CPU only emulates int8")
def test_one_command_adds_networks_in_integers_that_label_alike(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, folder = make_dataset(tmp_path / "data"), tmp_path / "mine"
    bundle = read_bundle("nuclei")
    bundle.save(folder)
    (folder / "int8.safetensors").unlink()
    images = [str(data / "images" / f"{name}.png") for name in ("a", "b", "c")]
    words = ["--model", str(folder), "--mpp", "0.5", "--no-tissue", *images]
    assert main(["quantise", "--json", *words]) == 0
    assert json.loads(capsys.readouterr().out)["written"] == str(folder / "int8.safetensors")
    assert read_bundle(folder).sha256 == bundle.sha256
    (sample,) = load_split(data, "test")
    found = [
        run_image(load_model(folder, device="openvino", precision=precision), sample)
        for precision in ("f32", "int8")
    ]
    exact, rounded = (np.stack([each.coarse, each.refined]) for each in found)
    assert 0 < exact.mean() < 1
    assert (exact != rounded).mean() < 0.04  # squares in noise, which no nucleus looks like
    logits = [each.logits for each in found]
    assert not np.array_equal(*logits)  # else they are floating-point numbers after all


@pytest.mark.skipif(not multiplies("int8", "openvino"), reason="this CPU only emulates int8")
def test_networks_that_give_logits_of_the_halo_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bundle = read_bundle("nuclei")
    monkeypatch.setattr(openvino, "cache_folder", lambda: tmp_path)
    with monkeypatch.context() as earlier:
        earlier.setattr(openvino, "halo_px", lambda *_: 0)
        backend = openvino.OpenVinoBackend(bundle, choose("openvino"))
        whole = quantise._as_bytes(backend.network("refine", (160, 160, 3)))
    networks: dict[Stage, tuple[bytes, bytes]] = {"coarse": whole, "refine": whole}
    other = replace(bundle, quantised=pack(networks, bundle))
    model = Model(other, "openvino", "int8")
    with pytest.raises(ModelError, match=r"maps of \[1, 2, 160, 160\] where \[1, 2, 128, 128\]"):
        model.refine([np.zeros((160, 160, 3), np.uint8)])


@pytest.mark.parametrize(
    ("model", "image", "said"),
    [("none", "glass.png", "none' does not exist"), ("mine", "none.png", "none.png")],
)
def test_what_is_not_there_is_said_in_one_line(
    model: str, image: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    read_bundle("nuclei").save(tmp_path / "mine")
    words = ["--model", str(tmp_path / model), str(tmp_path / image), "--mpp", "0.5"]
    assert main(["quantise", *words]) == 2
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_a_model_keeps_some_of_all_windows_that_it_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(quantise, "WINDOWS", 20)
    model = quantise.RecordingModel(read_bundle("nuclei"))
    model._record("refine", [np.full((1, 1, 3), value, np.uint8) for value in range(200)])
    kept = [int(window.max()) for window in model.windows["refine"]]
    assert len(set(kept)) == 20
    assert min(kept) < 60 < 140 < max(kept)
    with pytest.raises(ModelError, match="no tissue"):
        quantise.quantise(model.bundle, model.windows)
