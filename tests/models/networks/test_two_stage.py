"""The two-stage module: what is copied, what is seen, what is trained."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.fakes import noise
from tests.models.random_model import random_module, small_card
from torch.nn import functional

from napari_twostage.geometry import Grid
from napari_twostage.models.networks.two_stage import TwoStage, coarsen
from napari_twostage.slides import open_slide
from napari_twostage.slides.view import View


def images(count: int = 1) -> torch.Tensor:
    return torch.from_numpy(np.stack([noise(64, 64, seed=seed) for seed in range(count)]))


def test_transfer_copies_model_1_and_leaves_two_networks() -> None:
    module = random_module(small_card())
    first, second = module.stage1.state_dict(), module.stage2.state_dict()
    assert not all(torch.equal(first[name], second[name]) for name in first)
    module.transfer()
    second = module.stage2.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    with torch.no_grad():
        module.stage2.last.bias.add_(1)
    assert not torch.equal(module.stage1.last.bias, module.stage2.last.bias)


def test_stage_2_may_compute_on_averaged_pixels() -> None:
    cards = [small_card(ratio=4, fine_ratio=ratio) for ratio in (1, 2)]
    whole, halved = map(random_module, cards)
    with torch.inference_mode():
        small = whole.refine(coarsen(images(2), 2))
        found = halved.refine(images(2))
    assert found.shape == (2, 1, 64, 64)
    enlarged = functional.interpolate(small, (64, 64), mode="bilinear", align_corners=False)
    assert torch.equal(found, enlarged)


@pytest.fixture(
    scope="module",
    params=[
        {},
        {"ratio": 4, "fine_ratio": 2},
        {"refiner": {"width": 16}},
        {"architecture": {"name": "fcn"}},
        {"architecture": {"name": "deeplabv3"}},
        *({"architecture": {"name": name, "backbone": "resnet18"}} for name in ("unet", "segnet")),
    ],
    ids=str,
)
def module(request: pytest.FixtureRequest) -> TwoStage:
    return random_module(small_card(**request.param))


@pytest.mark.parametrize("halo", [1, 2, 3, 8, 16, 23])
def test_a_halo_is_seen_and_left_out(module: TwoStage, halo: int) -> None:
    with torch.inference_mode():
        for stage in (module.coarse, module.refine):
            whole, inner = stage(images(2)), stage(images(2), halo)
            expected = whole[..., halo:-halo, halo:-halo]
            assert inner.shape == expected.shape
            torch.testing.assert_close(inner, expected, rtol=1e-4, atol=1e-4)


def test_training_stage_2_leaves_model_1_alone() -> None:
    module = random_module(small_card()).train()
    module.refine(images(2)).square().mean().backward()
    assert all(weight.grad is None for weight in module.stage1.parameters())
    assert all(weight.grad is not None for weight in module.stage2.parameters())


@pytest.mark.parametrize("ratio", [1, 2, 4])
def test_training_and_slides_coarsen_to_the_same_pixels(ratio: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 96, 3)).astype(np.uint8)
    slide = open_slide(pixels, mpp=0.5)
    grid = Grid(pixels.shape[:2], (1.0, 1.0), (0.5, 0.5)).coarser(ratio)
    averaged = coarsen(torch.from_numpy(pixels)[None], ratio)[0].numpy()
    assert np.array_equal(averaged, View(slide, grid).read(grid.box))
