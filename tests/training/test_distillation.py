"""A network that learns from another one: what it is shown, and what is refused."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from tests.training.make_dataset import make_dataset
from tests.training.tiny_run import CROPS, make_config

from napari_twostage.cli import main
from napari_twostage.method.uncertainty import probabilities
from napari_twostage.training.config import ConfigError, TrainConfig
from napari_twostage.training.loop.distillation import add_teacher
from napari_twostage.training.loop.stages import coarse_at_full_size, list_stages
from napari_twostage.training.loop.train_stage import make_optimiser, train_step
from napari_twostage.training.loop.validate import predict_whole
from napari_twostage.training.run.images import open_samples
from napari_twostage.training.run.networks import (
    build_initial_networks,
    load_trained_networks,
    prepare_inference,
)
from napari_twostage.training.run.run_folder import read_run_config
from napari_twostage.training.train import train

if TYPE_CHECKING:
    from pathlib import Path

SINGLE = ("kind=single", "network.ratio=1")
HALF = ("kind=single", "network.ratio=2")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_dataset(tmp_path / "data")


@pytest.fixture
def teacher(tmp_path: Path, data: Path) -> Path:
    """The run of a network at full resolution."""
    train(make_config(tmp_path, CROPS, *SINGLE), data, tmp_path / "teacher", device="cpu")
    return tmp_path / "teacher"


def pupil(folder: Path, share: float) -> TrainConfig:
    return make_config(folder, CROPS, *HALF, f"distillation={share}")


def test_samples_carry_the_teachers_probabilities(
    tmp_path: Path, data: Path, teacher: Path
) -> None:
    config = pupil(tmp_path, 0.5)
    samples, _ = open_samples(config, data)
    soft_targets = add_teacher(samples, teacher, config)
    trained = load_trained_networks(read_run_config(teacher), teacher)
    predict = coarse_at_full_size(prepare_inference(trained), 1)
    assert len(soft_targets) == len(samples)
    for before, after in zip(samples, soft_targets[:], strict=True):
        assert after.soft_targets is not None
        assert (after.soft_targets.shape, after.soft_targets.dtype) == (
            (1, *after.mask.shape),
            np.uint8,
        )
        np.testing.assert_array_equal(after.image, before.image)
        with torch.inference_mode():
            logits = predict_whole(predict, before.image)
        np.testing.assert_array_equal(after.soft_targets, np.rint(255 * probabilities(logits)[1:]))


def test_the_share_weighs_the_teacher_against_the_truth(
    tmp_path: Path, data: Path, teacher: Path
) -> None:
    samples = add_teacher(open_samples(pupil(tmp_path, 1), data)[0], teacher, pupil(tmp_path, 1))
    losses = {}
    for share in (0.0, 0.25, 1.0):
        config = pupil(tmp_path, share)
        torch.manual_seed(0)
        (stage,) = list_stages(config, build_initial_networks(config), samples)
        losses[share] = float(
            train_step(stage, config, stage.draw(0), make_optimiser(stage), step=0)
        )
    assert losses[0.0] != pytest.approx(losses[1.0], rel=1e-3)
    assert losses[0.25] == pytest.approx(0.75 * losses[0.0] + 0.25 * losses[1.0])


def test_what_does_not_go_together_is_refused_in_one_line(
    tmp_path: Path, data: Path, teacher: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tiny.toml").write_text(CROPS)
    words = [str(tmp_path / "tiny.toml"), "--data", str(data), "--out", str(tmp_path / "out")]
    changes = [word for change in HALF for word in ("--set", change)]
    learning = ["--set", "distillation=0.5"]
    for more, message in {
        ("--teacher", str(teacher)): "found .*teacher and 0; give",
        tuple(learning): "found None and 0.5; give --teacher",
        (*learning, "--teacher", str(tmp_path / "none")): "found no stage1.safetensors; train it",
        (*learning, "--teacher", str(teacher), "--set", "seed=1"): "train both alike",
    }.items():
        assert main(["train", *words, *changes, *more]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert re.search(message, said)


def test_only_crops_can_be_taught(tmp_path: Path) -> None:
    for change in ("distillation=1.5", "distillation=-0.1"):
        with pytest.raises(ConfigError, match=r"distillation must be in \[0, 1\]"):
            make_config(tmp_path, CROPS, change)
    joint = ("kind=joint", "network.refiner={ width = 16, dilations = [1] }", "card.tile_px=32")
    with pytest.raises(ConfigError, match="no joint training"):
        make_config(tmp_path, CROPS, "distillation=0.5", *joint)
