"""What a step computes: the inputs that inference makes, context, frozen and changed weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from tests.training.make_dataset import make_dataset
from tests.training.tiny_run import CROPS, WHOLE, make_config

from napari_twostage.models.bundle import read_bundle, write_bundle
from napari_twostage.models.model import Model
from napari_twostage.training.calibrate import draft_card
from napari_twostage.training.config import ConfigError, LossConfig, TrainConfig
from napari_twostage.training.loop.losses import compute_loss
from napari_twostage.training.loop.stages import (
    Stage,
    coarse_at_full_size,
    coarsen_masks,
    list_stages,
)
from napari_twostage.training.loop.tiles import join_tiles, take_images, take_tiles
from napari_twostage.training.loop.validate import predict_whole
from napari_twostage.training.run.images import open_samples
from napari_twostage.training.run.networks import build_initial_networks
from training.tables.inference import Rules, run_two_stages

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from napari_twostage.models.networks.two_stage import TwoStage

BOTH = pytest.mark.parametrize("text", [CROPS, WHOLE], ids=["crops", "whole"])
REFINER = "network.refiner={ width = 16 }"
RNG = np.random.default_rng(0)


def set_up(tmp_path: Path, text: str, *changes: str) -> tuple[TrainConfig, TwoStage, list[Stage]]:
    config = make_config(tmp_path, text, *changes)
    data = tmp_path / "data"
    if not data.exists():
        make_dataset(data)
    torch.manual_seed(0)
    module = build_initial_networks(config).eval()
    module.stage1.requires_grad_(requires_grad=True)
    return config, module, list_stages(config, module, open_samples(config, data)[0])


def record(network: nn.Module) -> list[Tensor]:
    """What goes into a network's first layer, whoever calls it."""
    seen: list[Tensor] = []
    first = next(m for m in network.modules() if isinstance(m, torch.nn.Conv2d))
    first.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    return seen


def test_training_on_crops_and_the_engine_give_stage_2_alone_identical_inputs(
    tmp_path: Path,
) -> None:
    config, module, stages = set_up(tmp_path, CROPS)
    batch = stages[1].draw(0)
    trained = record(module.stage1), record(module.stage2)
    stages[1].forward(batch, RNG)
    folder = tmp_path / "bundle"
    write_bundle(folder, draft_card(config, tmp_path), module.state_dict())
    model = Model(read_bundle(folder), "cpu")
    run = model._backend._module
    inferred = record(run.stage1), record(run.stage2)
    model.refine(list(batch.images.numpy()))
    assert torch.equal(trained[1][0], inferred[1][0][: len(batch.images)])
    assert not trained[0]
    assert not inferred[0]


def test_training_on_whole_images_and_the_papers_inference_give_identical_inputs(
    tmp_path: Path,
) -> None:
    _, module, stages = set_up(
        tmp_path, WHOLE, "stage2.batch=1", "tiles.count=16", 'tiles.selection="random"'
    )
    batch = stages[1].draw(0)
    seen = record(module.stage1), record(module.stage2)
    stages[1].forward(batch, RNG)
    run_two_stages(module, batch.images[0].numpy(), Rules(size_px=64, threshold=0))
    (trained1, inferred1), (trained2, *rows) = seen
    assert torch.equal(trained1, inferred1)
    inferred2 = torch.cat(rows)
    assert trained2.shape == inferred2.shape == (16, 3, 16, 16)
    # drawn in a random order there, row by row here
    assert {t.numpy().tobytes() for t in trained2} == {t.numpy().tobytes() for t in inferred2}


def test_context_changes_what_stage_2_says_and_is_not_trained_through(tmp_path: Path) -> None:
    outcome = {}
    for context in ("true", "false"):
        _, module, stages = set_up(tmp_path, WHOLE, f"network.context={context}")
        logits, target, *_ = stages[1].forward(stages[1].draw(0), np.random.default_rng(0))
        assert logits.shape == (len(logits), 1, *target.shape[1:])
        compute_loss(logits, target, LossConfig()).backward()
        assert all(p.grad is None for p in module.stage1.parameters())
        assert all(p.grad is not None for p in module.stage2.parameters())
        outcome[context] = logits
    assert not torch.allclose(outcome["true"], outcome["false"])


def test_stage_2_is_trained_on_crops_without_stage_1(tmp_path: Path) -> None:
    _, module, stages = set_up(tmp_path, CROPS)
    logits, target, *_ = stages[1].forward(stages[1].draw(0), RNG)
    compute_loss(logits, target, LossConfig()).backward()
    assert all(p.grad is None for p in module.stage1.parameters())
    assert all(p.grad is not None for p in module.stage2.parameters())


@BOTH
def test_without_transfer_stage_2_keeps_its_own_start(tmp_path: Path, text: str) -> None:
    _, module, _ = set_up(tmp_path, text)
    first, second = module.stage1.last.weight, module.stage2.last.weight
    assert not torch.equal(first, second)
    module.transfer()
    assert torch.equal(first, second)
    assert second.requires_grad


@BOTH
def test_a_batch_depends_on_its_step_alone(tmp_path: Path, text: str) -> None:
    stage = set_up(tmp_path, text)[2][0]
    once, other, again = stage.draw(1), stage.draw(2), stage.draw(1)
    assert torch.equal(once.images, again.images)
    assert torch.equal(once.masks, again.masks)
    assert not torch.equal(once.images, other.images)


@pytest.mark.parametrize("count", [1, 3])
def test_so_many_tiles_of_each_image_are_trained_on(tmp_path: Path, count: int) -> None:
    _, _, stages = set_up(tmp_path, WHOLE, f"tiles.count={count}")
    logits, target, *_ = stages[1].forward(stages[1].draw(0), np.random.default_rng(0))
    assert logits.shape == (2 * count, 1, 16, 16)
    assert target.shape == (2 * count, 16, 16)


def test_tiles_are_taken_from_where_their_numbers_say() -> None:
    image = torch.arange(2 * 8 * 8 * 3).reshape(2, 8, 8, 3)
    tiles = take_images(image, torch.tensor([[0, 6], [5, 15]]), 4)
    rows = slice(2, 4)
    assert torch.equal(tiles[0], image[0, :2, :2])
    assert torch.equal(tiles[1], image[0, rows, 4:6])
    assert torch.equal(tiles[2], image[1, rows, rows])
    assert torch.equal(tiles[3], image[1, 6:, 6:])


def test_joining_all_tiles_gives_the_image_back() -> None:
    maps = torch.rand(3, 5, 8, 12)
    every = torch.arange(16).expand(3, -1)
    assert torch.equal(join_tiles(take_tiles(maps, every, 4).unflatten(0, (3, 16)), 4), maps)


def test_a_coarse_mask_has_the_commonest_value_of_each_block() -> None:
    mask = torch.tensor([[[2, 2, 0, 0], [2, 1, 1, 0]]])
    assert coarsen_masks(mask, 2, 3).tolist() == [[[2, 0]]]


@pytest.mark.parametrize("ratio", [2, 4])
def test_resampling_reads_as_averaging_does(tmp_path: Path, ratio: int) -> None:
    """A ratio that is nearly whole gives nearly what the whole one gives."""
    _, module, _ = set_up(tmp_path, CROPS)
    smooth = np.linspace(0, 255, 128)[:, None, None] * np.ones((1, 128, 3))
    images = torch.from_numpy(smooth.astype(np.uint8))[None]
    with torch.inference_mode():
        whole = coarse_at_full_size(module, ratio)(images)
        near = coarse_at_full_size(module, ratio + 1e-9)(images)
    assert whole.shape == near.shape == (1, 1, 128, 128)
    inner = (..., slice(32, 96), slice(32, 96))
    assert (whole[inner] - near[inner]).abs().max() < 0.1 * whole.std()


@pytest.mark.parametrize("ratio", [1.414, 2, 3, 8])
def test_single_models_read_any_size_at_any_ratio(tmp_path: Path, ratio: float) -> None:
    changes = ("kind=single", f"network.ratio={ratio}", "stage1.crop_px=72")
    _, module, stages = set_up(tmp_path, CROPS, *changes)
    logits, target, *_ = stages[0].forward(stages[0].draw(0), RNG)
    assert logits.shape == (2, 1, 72, 72)
    assert target.shape == (2, 72, 72)
    with torch.inference_mode():
        odd = coarse_at_full_size(module, ratio)(torch.zeros(1, 77, 101, 3, dtype=torch.uint8))
    assert odd.shape == (1, 1, 77, 101)


@pytest.mark.parametrize("kind", ["two_stage", "joint"])
def test_images_of_any_size_are_validated_at_a_ratio_of_4(tmp_path: Path, kind: str) -> None:
    second = (REFINER,) if kind == "joint" else ()
    crops = "network.ratio=4", "stage1.crop_px=128", "stage2.crop_px=128"
    _, module, stages = set_up(tmp_path, CROPS, f"kind={kind}", *second, *crops)
    module.eval()
    image = RNG.integers(0, 256, (77, 170, 3), np.uint8)
    for stage in stages:
        with torch.inference_mode():
            logits = predict_whole(stage.predict, image, multiple=stage.multiple_px)
        assert logits.shape == (1, 77, 170)
        assert np.isfinite(logits).all()


@pytest.mark.parametrize(
    ("changes", "place", "unit"),
    [
        (("network.ratio=4", "stage2.crop_px=104"), "stage2", 32),
        (("kind=joint", REFINER, "stage1.crop_px=96"), "stage1", 64),
        (("kind=single", "network.ratio=1", "stage1.crop_px=72"), "stage1", 32),
    ],
)
def test_crops_that_networks_cannot_halve_are_refused(
    tmp_path: Path, changes: tuple[str, ...], place: str, unit: int
) -> None:
    with pytest.raises(ConfigError, match=rf"{place}.crop_px: expected a multiple of {unit}"):
        set_up(tmp_path, CROPS, *changes)


def test_windows_need_the_halo_that_padded_crops_leave_unlearnt(tmp_path: Path) -> None:
    """96 pixels at half the resolution are 48, padded to 64: 32 fine ones beside the halo of 8."""
    padded = "stage1.crop_px=96", "stage1.halo_px=8"
    with pytest.raises(ConfigError, match=r"coarse_halo_px: expected 20 or more.*multiple of 64"):
        set_up(tmp_path, CROPS, *padded)
    set_up(tmp_path, CROPS, *padded, "card.coarse_halo_px=20")
    set_up(tmp_path, CROPS, "stage1.crop_px=128", "stage1.halo_px=8")


def test_both_stages_learn_from_both_outputs(tmp_path: Path) -> None:
    _, module, stages = set_up(tmp_path, CROPS, "kind=joint", REFINER)
    assert [stage.name for stage in stages] == ["joint"]
    logits, target, *_ = stages[0].forward(stages[0].draw(0), RNG)
    assert logits.shape == (4, 1, 64, 64)
    assert torch.equal(target[:2], target[2:])
    module.zero_grad()
    logits[2:].square().mean().backward()  # what is refined alone
    assert module.stage1.last.weight.grad is not None
    assert module.stage1.stem[0].weight.grad.abs().sum() > 0
    assert module.stage2.last.weight.grad.abs().sum() > 0
