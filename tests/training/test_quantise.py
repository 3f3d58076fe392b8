"""A model gets networks in integers, which the engine then runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.training.make_dataset import make_dataset

from napari_twostage import load_model
from napari_twostage.models.backends.choice import multiplies
from napari_twostage.models.bundle import read_bundle
from training import quantise
from training.datasets import load_split
from training.outcomes import outcome

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.skipif(not multiplies("int8"), reason="this CPU only emulates int8")
def test_one_command_adds_networks_in_integers_that_label_alike(tmp_path: Path) -> None:
    data, folder = make_dataset(tmp_path / "data"), tmp_path / "mine"
    bundle = read_bundle("nuclei")
    bundle.save(folder)
    (folder / "int8.safetensors").unlink()
    words = ["--model", str(folder), "--data", str(data), "--images", "2"]
    assert quantise.main(words) == 0
    assert read_bundle(folder).sha256 == bundle.sha256
    (sample,) = load_split(data, "test")
    found = [
        outcome(load_model(folder, device="openvino", precision=precision), sample)
        for precision in ("f32", "int8")
    ]
    exact, rounded = (np.stack([each.coarse, each.refined]) for each in found)
    assert 0 < exact.mean() < 1
    assert (exact != rounded).mean() < 0.02
    logits = [each.logits for each in found]
    assert not np.array_equal(*logits)  # else they are floating-point numbers after all


def test_what_is_no_model_or_no_data_is_said_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--model", str(tmp_path / "none"), "--data", str(tmp_path)]
    assert quantise.main(words) == 2
    assert "does not exist" in capsys.readouterr().err
    read_bundle("nuclei").save(tmp_path / "mine")
    assert quantise.main(["--model", str(tmp_path / "mine"), "--data", str(tmp_path)]) == 2
    assert "manifest.csv" in capsys.readouterr().err
