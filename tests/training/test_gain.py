"""Stage 1's gain output: its target, its training, its calibration."""

from __future__ import annotations

import shutil
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tests.training.make_dataset import make_dataset
from tests.training.tiny_run import CROPS, make_config

from napari_twostage.method.tiling import TileGrid
from napari_twostage.models.bundle import read_bundle
from napari_twostage.models.networks.two_stage import coarsen
from napari_twostage.training.calibrate import GAIN_BIAS, GAIN_THRESHOLDS, shift_gain
from napari_twostage.training.config import ConfigError
from napari_twostage.training.loop.batches import make_draw
from napari_twostage.training.loop.gain import add_gain, describe
from napari_twostage.training.run.images import open_samples
from napari_twostage.training.run.networks import build_initial_networks
from napari_twostage.training.train import train

if TYPE_CHECKING:
    from pathlib import Path

    from napari_twostage.models.networks.two_stage import TwoStage
    from napari_twostage.training.config import TrainConfig

GAIN = (
    "stage1.crop_px=128",
    "stage1.halo_px=32",
    "stage2.halo_px=16",
    "gain.steps=4",
)


def tiny_config(folder: Path, *changes: str) -> TrainConfig:
    return make_config(folder, CROPS, *GAIN, *changes)


def bright(images: torch.Tensor, halo: int) -> torch.Tensor:
    """A stage 2 that finds what is bright for its window."""
    values = images[..., 0].float()
    return (values - values.mean(dim=(1, 2), keepdim=True))[:, None, halo:-halo, halo:-halo]


def blind(config: TrainConfig) -> TwoStage:
    """A stage 1 that sees the image and finds nothing, and a stage 2 that finds `bright`."""
    module = build_initial_networks(config).eval()
    module.stage1.features = lambda x: x.repeat(1, 3, 1, 1)[:, :8]  # type: ignore[method-assign]
    module.refine_maps = bright  # type: ignore[method-assign]
    with torch.no_grad():
        module.stage1.last.weight.zero_()
        module.stage1.last.bias.fill_(-9)
    return module


def test_the_target_is_what_stage_2_corrects_on_the_engine_s_own_windows(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    module = blind(config)
    training, _ = open_samples(config, make_dataset(tmp_path / "set"))
    batch = make_draw(training, config, config.stage1, 0)(0)
    features, corrected = describe(module, config, batch)
    assert corrected.shape == (2, 32, 32)  # the 64 pixels of two tiles of 32, at half the size
    for row, column in np.ndindex(2, 2):
        top, left = 32 + 32 * row, 32 + 32 * column
        window = batch.images[:, top - 16 : top + 48, left - 16 : left + 48]
        truth = batch.masks[:, top : top + 32, left : left + 32] > 0
        right = truth & (bright(window, 16)[:, 0] > 0)
        expected = right.view(2, 16, 2, 16, 2).float().mean(dim=(2, 4))
        place = slice(16 * row, 16 * row + 16), slice(16 * column, 16 * column + 16)
        assert torch.equal(corrected[:, *place], expected)
    assert corrected.any()
    seen = module.stage1.features(module.normalise(coarsen(batch.images, 2)))
    assert torch.equal(features, seen[..., 15:49, 15:49])  # and the convolution's reach


def test_a_run_ends_with_a_model_that_scores_by_gain_and_whose_labels_are_the_same(
    tmp_path: Path,
) -> None:
    data = make_dataset(tmp_path / "set")
    config = tiny_config(tmp_path)
    train(config, data, tmp_path / "with", device="cpu", progress=False)
    (tmp_path / "without").mkdir()
    for stage in ("stage1", "stage2"):  # which are trained alike
        shutil.copy(tmp_path / "with" / f"{stage}.safetensors", tmp_path / "without")
    train(replace(config, gain=None), data, tmp_path / "without", device="cpu", progress=False)
    found, plain = (read_bundle(tmp_path / name / "bundle") for name in ("with", "without"))
    assert found.card.gain_output
    assert found.card.uncertainty == "gain"
    assert found.card.default_threshold in GAIN_THRESHOLDS
    assert (plain.card.gain_output, plain.card.uncertainty) == (False, "tent")
    tensors, others = found.tensors(), plain.tensors()
    for name, tensor in tensors.items():
        own = tensor[:1] if name.startswith("stage1.last.") else tensor
        assert torch.equal(own, others[name]), name
    assert tensors["stage1.last.weight"].shape[0] == 2
    head = load_file(tmp_path / "with" / "gain.safetensors")
    assert torch.equal(tensors["stage1.last.weight"][1:], head["weight"].half().to(torch.float16))


def test_a_finished_output_is_not_trained_again(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    training, _ = open_samples(config, make_dataset(tmp_path / "set"))
    weights = []
    for samples in (training, []):
        module = blind(config)
        add_gain(module, config, samples, tmp_path, torch.device("cpu"), progress=False)
        weights.append(module.stage1.last.weight[1:])
    assert torch.equal(*weights)
    assert weights[0].any()


def test_the_output_learns_where_stage_1_is_wrong(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, "gain.steps=60", "gain.learning_rate=0.05")
    training, _ = open_samples(config, make_dataset(tmp_path / "set"))
    module = blind(config)
    add_gain(module, config, training, tmp_path, torch.device("cpu"), progress=False)
    batch = make_draw(training, config, config.stage1, 5)(0)
    with torch.inference_mode():
        gain = module.coarse_maps(coarsen(batch.images, 2))[:, 1].sigmoid()
    missed = batch.masks[:, ::2, ::2] > 0
    assert gain[missed].mean() > 3 * gain[~missed].mean()


def test_the_shift_makes_the_expected_number_of_pixels_the_measured_one() -> None:
    truth = np.zeros((64, 64), np.uint8)
    truth[:32] = 1
    outcome = SimpleNamespace(
        sample=SimpleNamespace(mask=truth),
        coarse=np.zeros((64, 64), np.uint8),
        refined=truth,
        scores=np.full((2, 2), 0.02, np.float32),
        tiles=TileGrid((64, 64), 32, 8),
    )
    tensors = {GAIN_BIAS: torch.tensor([0.5, -4.0]), "other": torch.ones(1)}
    shifted = shift_gain(tensors, [outcome])  # type: ignore[list-item]
    assert tensors[GAIN_BIAS].tolist() == [0.5, -4.0]
    assert shifted[GAIN_BIAS][0] == 0.5
    # 2,048 are corrected where 0.02 × 4,096 were expected
    assert shifted[GAIN_BIAS][1].item() == pytest.approx(-4 + np.log(2049 / 82.92), abs=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["stage1.halo_px=0"], "a tile and its halo in their middle"),
        (["stage1.crop_px=92"], "a tile and its halo in their middle"),
        (["kind=single"], "gain needs kind two_stage"),
        (["network.refiner={width=8}"], "gain needs kind two_stage"),
        (["gain.steps=0"], "steps must be positive"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(
    tmp_path: Path, changes: list[str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        tiny_config(tmp_path, *changes)
