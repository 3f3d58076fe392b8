"""Each architecture learns four images by heart; several classes train as one does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image
from tests.training.make_dataset import make_dataset
from tests.training.tiny_run import CROPS, WHOLE, make_config, shrink

from napari_twostage.models import load_model
from napari_twostage.models.backends.torch_backend import tune_allocator
from napari_twostage.models.networks.build import ARCHITECTURES
from napari_twostage.training.datasets import Sample
from napari_twostage.training.loop.stages import list_stages
from napari_twostage.training.loop.train_stage import make_optimiser, train_step
from napari_twostage.training.loop.validate import validate
from napari_twostage.training.run.networks import build_initial_networks
from napari_twostage.training.run.run_folder import BUNDLE
from napari_twostage.training.train import train

if TYPE_CHECKING:
    from pathlib import Path

SMALL = {
    "lite_unet": "{}",
    "unet": '{ backbone = "resnet18" }',
    "segnet": '{ backbone = "resnet18" }',
}

STEPS = {"fcn": 24, "deeplabv3": 24}
"""As many as it takes: heads of 512 and 1280 channels cost more, and learn as much in fewer."""


def squares(side: int, count: int = 4) -> list[Sample]:
    """Make images of one bright square each."""
    rng = np.random.default_rng(0)
    samples = []
    for index in range(count):
        mask = np.zeros((side, side), np.uint8)
        top, left = rng.integers(0, side // 2, 2)
        mask[top : top + side // 2, left : left + side // 2] = 1
        image = np.where(mask[..., None], 180, 40) + rng.integers(0, 30, (side, side, 3))
        samples.append(Sample(str(index), image.astype(np.uint8), mask))
    return samples


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_four_images_are_learnt_by_heart(tmp_path: Path, architecture: str) -> None:
    config = make_config(
        tmp_path,
        WHOLE.replace('options = { backbone = "resnet18" }', ""),
        f"network.architecture={architecture}",
        f"network.options={SMALL.get(architecture, '{}')}",
        "kind=single",
        "network.ratio=1",
        "loss.name=cross_entropy_dice",
        "whole_images={size_px = 64, flip = false, scale = 1.0}",
        f"stage1={{epochs = {STEPS.get(architecture, 40)}, batch = 4, learning_rate = 1e-3}}",
        "stage1.schedule=constant",
    )
    tune_allocator()  # as a run does
    torch.manual_seed(0)
    samples = squares(64)
    module = build_initial_networks(config)
    shrink(module.stage1)
    stage = list_stages(config, module, samples)[0]
    optimiser = make_optimiser(stage)
    for step in range(stage.steps):
        train_step(stage, config, stage.draw(step), optimiser, step)
    quality = validate(stage, module.stage1, samples, torch.device("cpu"))
    assert quality is not None
    assert quality > 0.95


def paint_classes(data: Path) -> None:
    """Give the left half of each mask another class than the right half."""
    for path in (data / "masks").iterdir():
        mask = np.asarray(Image.open(path)).astype(np.uint8)
        mask[:, mask.shape[1] // 2 :] *= 2
        Image.fromarray(mask).save(path)


def test_two_classes_train_to_a_bundle_that_the_engine_takes(tmp_path: Path) -> None:
    data, out = make_dataset(tmp_path / "data"), tmp_path / "out"
    paint_classes(data)
    config = make_config(
        tmp_path,
        CROPS,
        "stage1.steps=10",
        "stage2.steps=10",
        "loss.name=focal_dice",
        "data.classes=[{name = 'left'}, {name = 'right', color = '#00ff00'}]",
    )
    train(config, data, out, device="cpu")
    model = load_model(out / BUNDLE, device="cpu")
    assert [entry.name for entry in model.card.classes] == ["left", "right"]
    card, side = model.card, model.card.coarse_window_px
    found = model.coarse([np.zeros((side, side, 3), np.uint8)])
    assert found.shape == (1, 3, card.coarse_core_px, card.coarse_core_px)


@pytest.mark.slow
def test_two_classes_train_on_whole_images(tmp_path: Path) -> None:
    data = make_dataset(tmp_path / "data")
    paint_classes(data)
    config = make_config(
        tmp_path,
        WHOLE,
        "data.classes=[{name = 'left'}, {name = 'right'}]",
        "stage1.epochs=10",
        "stage2.epochs=10",
    )
    train(config, data, tmp_path / "out", device="cpu")
    rows = (tmp_path / "out" / "log.csv").read_text().splitlines()
    assert [row.split(",")[:2] for row in rows[1:]] == [["stage1", "10"], ["stage2", "10"]]
