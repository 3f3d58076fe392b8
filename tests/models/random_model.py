"""A real network with random weights: what the laws of running models are tested on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save
from tests.fakes import make_card

from napari_twostage.models.bundle import Bundle
from napari_twostage.models.networks.build import build_two_stage
from napari_twostage.models.networks.refiner import LocalRefiner

if TYPE_CHECKING:
    from napari_twostage.models.card import ModelCard
    from napari_twostage.models.networks.two_stage import TwoStage


def small_card(**changes: Any) -> ModelCard:
    """Make a card of windows of 64 pixels for stage 2, and as many for stage 1."""
    sizes = {
        "architecture": {"name": "lite_unet", "widths": [16, 16, 8, 8, 8]},
        "ratio": 2,
        "tile_px": 32,
        "halo_px": 16,
        "coarse_window_px": 64,
        "coarse_halo_px": 16,
        "context": False,
    }
    return make_card(**{**sizes, **changes})


def random_module(card: ModelCard, *, seed: int = 0) -> TwoStage:
    """Make both stages, each with weights of its own and batch statistics that are not trivial."""
    torch.manual_seed(seed)
    module = build_two_stage(card)
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.running_mean.normal_(std=0.1)
            part.running_var.uniform_(0.5, 1.5)
            part.weight.data.uniform_(0.5, 1.5)
            part.bias.data.normal_(std=0.1)
    if isinstance(module.stage2, LocalRefiner):  # whose last layer starts with zeros
        torch.nn.init.normal_(module.stage2.last.weight, std=0.3)
    return module.eval()


def random_bundle(**changes: Any) -> Bundle:
    """Bundle a random model."""
    card = small_card(**changes)
    state = {name: value.contiguous() for name, value in random_module(card).state_dict().items()}
    return Bundle(card, save(state), "random")


def overflowing_bundle(stage: str) -> Bundle:
    """Bundle a model of finite weights whose logits in a stage, stage1 or stage2, are not."""
    card = small_card()
    module = random_module(card)
    getattr(module, stage).last.weight.data.fill_(3e38)
    state = {name: value.contiguous() for name, value in module.state_dict().items()}
    return Bundle(card, save(state), "overflowing")
