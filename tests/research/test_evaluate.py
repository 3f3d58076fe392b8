"""The table of a bundle: single models and two stages over the same images."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.training.make_dataset import make_dataset
from tests.training.tiny_run import CROPS

from napari_twostage import load_model
from napari_twostage.training.config import ConfigError, load_config
from napari_twostage.training.datasets import load_split
from napari_twostage.training.evaluation.metrics import dice
from napari_twostage.training.evaluation.outcomes import run_image
from napari_twostage.training.run.run_folder import claim_folder, read_run_config
from napari_twostage.training.train import train
from training import evaluate

if TYPE_CHECKING:
    from pathlib import Path


def test_a_run_is_read_back_from_its_folder(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(CROPS)
    for kind in ("two_stage", "single"):
        config = load_config(tmp_path / "tiny.toml", [f"kind={kind}"])
        claim_folder(tmp_path / kind, config)
        assert read_run_config(tmp_path / kind) == config
    # a run of a version that did not know a setting yet has its default, and goes on
    path = tmp_path / "single" / "config.json"
    known = json.loads(path.read_text())
    del known["network"]["fine_options"]
    path.write_text(json.dumps(known))
    claim_folder(tmp_path / "single", config)
    assert "fine_options" in path.read_text()
    with pytest.raises(ConfigError, match="of another configuration"):
        claim_folder(tmp_path / "single", replace(config, seed=9))
    (tmp_path / "single" / "config.json").write_text("{}")
    for folder in ("single", "nowhere"):
        with pytest.raises(
            ConfigError, match="name the folder that `napari-twostage train` wrote to"
        ):
            read_run_config(tmp_path / folder)


def test_one_command_measures_single_models_beside_a_bundle(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = make_dataset(tmp_path / "data")
    (tmp_path / "tiny.toml").write_text(CROPS)
    single = ["kind=single", "network.ratio=1"]
    for name, changes in {"two": [], "dense": single, "half": ["kind=single"]}.items():
        config = load_config(tmp_path / "tiny.toml", changes)
        train(replace(config, seed=1), data, tmp_path / name, device="cpu")
    bundle = tmp_path / "two" / "bundle"
    singles = [word for name in ("dense", "half") for word in ("--single", str(tmp_path / name))]
    rest = ["--model", str(bundle), "--data", str(data), "--out", str(tmp_path / "out")]
    assert evaluate.main([*singles, *rest, "--write-card"]) == 0
    rows = {row["run"]: row for row in json.loads((tmp_path / "out" / "table.json").read_text())}
    assert [rows[name]["cost"] for name in ("dense", "half", "stage 1 only")] == [1.0, 0.25, 0.25]
    model = load_model(bundle, device="cpu")
    (sample,) = load_split(data, "test")
    made = run_image(model, sample)
    assert rows["every tile refined"]["images"] == [round(dice(made.refined, sample.mask), 4)]
    assert rows["stage 1 only"]["dice"] == round(dice(made.coarse, sample.mask), 4)
    assert rows["every tile refined"]["cost"] > 1
    assert f"{100 * rows['half']['object_f1']:.1f}" in capsys.readouterr().out
    assert any("half (data test)" in key for key in model.card.metrics)
    assert evaluate.main(["--single", str(tmp_path / "data"), *rest]) == 2
    assert "name the folder that `napari-twostage train` wrote to" in capsys.readouterr().err
