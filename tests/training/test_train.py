"""A run from its command to its bundle."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from tests.training.make_dataset import make_dataset
from tests.training.tiny_run import CROPS, LIGHT, make_config

from napari_twostage import load_model
from napari_twostage.cli import main
from napari_twostage.engine.api import segment
from napari_twostage.slides import open_slide
from napari_twostage.training.config import load_config
from napari_twostage.training.evaluation.outcomes import Cost
from napari_twostage.training.loop import train_stage
from napari_twostage.training.run.run_folder import BUNDLE
from napari_twostage.training.train import train

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_dataset(tmp_path / "data")


def start(folder: Path, text: str, data: Path, *more: str) -> int:
    (folder / "tiny.toml").write_text(text)
    paths = ["--data", str(data), "--out", str(folder / "out"), "--device", "cpu"]
    return main(["train", str(folder / "tiny.toml"), *paths, *more])


def test_a_run_with_a_card_ends_in_a_model_that_segments(tmp_path: Path, data: Path) -> None:
    assert start(tmp_path, CROPS, data) == 0
    model = load_model(tmp_path / "out" / BUNDLE, device="cpu")
    assert model.card.name == "squares"
    assert model.card.tile_px + 2 * model.card.halo_px == 64
    assert model.card.training_data == "data"
    assert 0 < model.card.default_threshold < 1
    pixels = np.asarray(Image.open(data / "images" / "d.png"))
    seg = segment(open_slide(pixels, mpp=(0.5, 0.5)), model, tmp_path / "seg.zarr", tissue=False)
    assert seg.read_labels(seg.grid.box).shape == pixels.shape[:2]


def test_sizes_that_do_not_fit_are_refused_before_the_training(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = CROPS.replace("halo_px = 16", "halo_px = 8").replace("crop_px = 64", "crop_px = 48")
    assert start(tmp_path, text, data) == 2
    said = capsys.readouterr().err
    assert "expected tile_px + 2 halo_px to be a multiple of 32, found 48" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_where_bfloat16_is_only_emulated_a_run_says_that_it_is_in_float32(
    tmp_path: Path,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    weights = {}
    for name, fast, precision in (("a", True, "float32"), ("b", False, "bf16")):
        monkeypatch.setattr(train_stage, "multiplies", lambda *_, fast=fast: fast)
        config = make_config(tmp_path, CROPS, "kind=single", f"precision={precision}")
        train(config, data, tmp_path / name, device="cpu")
        weights[name] = (tmp_path / name / "stage1.safetensors").read_bytes()
        said = "this CPU only emulates bfloat16: training in float32" in capsys.readouterr().err
        assert said == (name == "b")
    assert weights["a"] == weights["b"]


def test_a_run_without_a_card_ends_in_weights(tmp_path: Path, data: Path) -> None:
    text, _, _ = CROPS.partition("[card]")
    assert start(tmp_path, text, data) == 0
    out = tmp_path / "out"
    files = {path.name for path in out.iterdir()}
    weights = {"stage1.safetensors", "stage2.safetensors"}
    assert files == {"config.json", "log.csv", "log.png"} | weights


def test_single_models_become_the_stages_of_a_model_and_are_not_trained_again(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tiny.toml").write_text(CROPS)
    wide = ["kind=single", "network.ratio=1", "network.options={ widths = [16, 16, 16, 16, 16] }"]
    for name, changes in {"coarse": ["kind=single"], "wide": wide}.items():
        config = load_config(tmp_path / "tiny.toml", changes)
        train(config, data, tmp_path / name, device="cpu")
    parts = ["--parts", str(tmp_path / "coarse"), str(tmp_path / "wide")]
    differ = ["network.fine_options={ widths = [16, 16, 16, 16, 16] }", "network.transfer=false"]
    options = [word for change in differ for word in ("--set", change)]
    assert start(tmp_path, CROPS, data, *parts, *options) == 0
    out = tmp_path / "out"
    for part, stage in (("coarse", "stage1"), ("wide", "stage2")):
        single = (tmp_path / part / "stage1.safetensors").read_bytes()
        assert (out / f"{stage}.safetensors").read_bytes() == single
    card = load_model(out / BUNDLE, device="cpu").card
    assert card.architecture["widths"] == [16, 16, 8, 8, 8]
    assert card.fine_architecture == {"name": "lite_unet", "widths": [16, 16, 16, 16, 16]}
    cost = Cost.of(card)
    assert cost.coarse < cost.dense / 4  # stage 1 is the slim one
    record = tmp_path / "wide" / "config.json"
    rim = {"halo_px": 24, "crop_px": 64}
    config = json.loads(record.read_text())
    record.write_text(json.dumps({**config, "stage1": {**config["stage1"], **rim}}))
    shutil.rmtree(tmp_path / "out")
    assert start(tmp_path, CROPS, data, *parts, *options) == 2
    assert "card.halo_px: expected 24 or more, the rim of the crops" in capsys.readouterr().err
    missing = ["--parts", str(tmp_path / "nowhere"), *options]
    assert start(tmp_path, CROPS, data, *missing) == 2
    assert "found no stage1.safetensors; train it" in capsys.readouterr().err


def test_stage_1_and_a_local_refiner_are_trained_together_into_a_model(
    tmp_path: Path, data: Path
) -> None:
    changes = [
        "kind=joint",
        "network.refiner={ width = 16, dilations = [1] }",
        "card.tile_px=32",
    ]
    options = [word for change in changes for word in ("--set", change)]
    assert start(tmp_path, CROPS, data, *options) == 0
    model = load_model(tmp_path / "out" / BUNDLE, device="cpu")
    assert model.card.refiner == {"width": 16, "dilations": [1]}
    assert model.card.tile_px == 32
    pixels = np.asarray(Image.open(data / "images" / "d.png"))
    seg = segment(
        open_slide(pixels, mpp=(0.5, 0.5)),
        model,
        tmp_path / "seg.zarr",
        tissue=False,
        refine="all",
    )
    assert seg.refined.all()


def test_a_single_model_is_the_same_file_with_another_kind(tmp_path: Path, data: Path) -> None:
    assert start(tmp_path, CROPS, data, "--set", "kind=single", "--set", "network.ratio=1") == 0
    out = tmp_path / "out"
    assert (out / "stage1.safetensors").exists()
    assert not (out / "stage2.safetensors").exists()
    assert not (out / BUNDLE).exists()
    assert json.loads((out / "config.json").read_text())["network"]["ratio"] == 1


def test_the_log_has_loss_and_quality_of_both_stages_and_is_drawn(
    tmp_path: Path, data: Path
) -> None:
    assert start(tmp_path, LIGHT, data) == 0
    rows = [row.split(",") for row in (tmp_path / "out" / "log.csv").read_text().splitlines()]
    assert rows[0] == ["stage", "step", "loss", "validation_dice", "seconds"]
    assert [row[0] for row in rows[1:]] == ["stage1", "stage2"]
    assert all(0 <= float(row[3]) <= 1 and float(row[2]) > 0 for row in rows[1:])
    with Image.open(tmp_path / "out" / "log.png") as picture:
        assert picture.width > picture.height > 100


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("network.architecture=vnet", "unknown architecture 'vnet'"),
        ("network.weights=nowhere.pth", "nowhere.pth"),
        ("data.layout=atlas", "atlas"),
        ("data.split=spring", "spring"),
        ("stage1.batch=0", "batch must be 1 or more"),
        ("data.validation_fraction=0.9", "3 images"),
        ("ratio", "expected section.key=value, found 'ratio'"),
    ],
)
def test_what_a_user_must_correct_is_said_in_one_line(
    tmp_path: Path, data: Path, change: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(tmp_path, LIGHT, data, "--set", change) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
