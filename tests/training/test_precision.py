"""What devices and precisions cost in Dice, on real backends and the bundled model."""

from __future__ import annotations

import csv
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.training.make_dataset import make_dataset
from tests.training.tiny_run import CROPS

from napari_twostage import load_model
from napari_twostage.cli import main
from napari_twostage.models.backends.precision import multiplies
from napari_twostage.models.bundle import read_bundle, write_card
from napari_twostage.training.datasets import load_split
from napari_twostage.training.evaluation.metrics import dice
from napari_twostage.training.evaluation.outcomes import run_image

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_dataset(tmp_path / "data")


def test_one_command_compares_what_models_run_on(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["--data", str(data), "--out", str(out), "--rounds", "1"]
    assert main(["precision", *words, "--on", "cpu:f32", "openvino:f32"]) == 0
    with (out / "precision.csv").open() as file:
        rule, other = csv.DictReader(file)
    assert (rule["runs on"][:5], other["runs on"][:8]) == ("torch", "openvino")
    (sample,) = load_split(data, "test")
    model = load_model("nuclei", device="cpu", precision="f32")
    found = dice(run_image(model, sample).at(model.card.default_threshold), sample.mask)
    assert rule["Dice per image [95 %]"].startswith(f"{100 * found:.1f} [")
    assert rule["against the first"] == "–"
    assert abs(float(other["most lost"])) < 0.1
    assert float(other["pixels changed"].removesuffix(" %")) < 0.1
    assert rule["coarse window"].endswith("ms, 1.0×")


def test_a_device_that_is_not_there_is_said_in_one_line(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--data", str(data), "--out", str(tmp_path), "--on", "cuda:99:f32"]
    assert main(["precision", *words]) == 2
    assert "device 'cuda:99' cannot be used here" in capsys.readouterr().err


def test_a_card_states_what_is_lost_on_images_that_were_held_out(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, config = tmp_path / "bundle", tmp_path / "run.toml"
    read_bundle("nuclei").save(bundle)
    card = replace(read_bundle(bundle).card, precision_loss={"int8": 0.05})
    write_card(bundle, card)
    config.write_text(CROPS)
    words = ["precision", "--model", str(bundle), "--data", str(data), "--out", str(tmp_path)]
    words += ["--rounds", "1", "--write-card"]
    assert main([*words, "--on", "cpu:f32", "openvino:f32"]) == 2
    assert "give --held-out CONFIG, and a first pair of f32" in capsys.readouterr().err
    pairs = ["openvino:f32", "cpu:f32"]
    if multiplies("bf16", "openvino"):
        pairs.append("openvino:bf16")
    assert main([*words, "--held-out", str(config), "--on", *pairs]) == 0
    with (tmp_path / "precision.csv").open() as file:
        rows = list(csv.DictReader(file))
    lower = [float(row["most lost"]) for row in rows if row["runs on"].endswith("bf16")]
    stated = {"int8": 0.05} | ({"bf16": lower[0]} if lower else {})
    assert read_bundle(bundle).card == replace(card, precision_loss=stated)
