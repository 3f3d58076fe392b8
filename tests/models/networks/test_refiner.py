"""The local refiner: what it starts as, how far it sees, that it can learn to correct."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from napari_twostage.errors import ModelError
from napari_twostage.models.networks.build import build_refiner
from napari_twostage.models.networks.lite_unet import LiteUNet
from napari_twostage.models.networks.refiner import LocalRefiner


def random_refiner(**options: object) -> LocalRefiner:
    torch.manual_seed(0)
    refiner = LocalRefiner(1, 4, **options).eval()  # type: ignore[arg-type]
    for parameter in refiner.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return refiner


@pytest.mark.parametrize("ratio", [1, 2, 4])
def test_untrained_it_leaves_stage_1_as_it_is(ratio: int) -> None:
    torch.manual_seed(0)
    images, logits = torch.rand(2, 3, 32, 48), torch.randn(2, 3, 32 // ratio, 48 // ratio)
    refined = LocalRefiner(3, 4).eval()(images, logits, torch.randn(2, 4, *logits.shape[-2:]))
    enlarged = functional.interpolate(logits, (32, 48), mode="bilinear", align_corners=False)
    torch.testing.assert_close(refined, enlarged, rtol=0, atol=0)


@pytest.mark.parametrize("dilations", [(1,), (1, 1, 2)])
def test_it_sees_as_far_as_it_says_and_no_further(dilations: tuple[int, ...]) -> None:
    refiner = random_refiner(dilations=dilations)
    images = torch.rand(1, 3, 96, 96, requires_grad=True)
    logits, features = torch.zeros(1, 1, 48, 48), torch.zeros(1, 4, 48, 48)
    refiner(images, logits, features)[0, 0, 48, 48].backward()
    assert images.grad is not None
    rows = torch.nonzero(images.grad.abs().sum(dim=(0, 1, 3)))[:, 0]
    assert rows.min() == 48 - refiner.reach_px + 2
    assert rows.max() < 48 + refiner.reach_px


def test_it_learns_what_only_fine_pixels_show() -> None:
    refiner = LocalRefiner(1, 4)
    optimiser = torch.optim.Adam(refiner.parameters(), lr=0.01)
    generator = torch.Generator().manual_seed(0)
    for _ in range(40):
        fine = (torch.rand(4, 1, 32, 32, generator=generator) > 0.5).float()
        images = fine.expand(-1, 3, -1, -1) - 0.5
        flat = torch.zeros(4, 1, 16, 16)
        logits = refiner(images, flat, torch.zeros(4, 4, 16, 16))
        loss = functional.binary_cross_entropy_with_logits(logits, fine)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.1


def test_options_that_do_not_fit_are_one_line() -> None:
    stage1 = LiteUNet(widths=(16, 16, 8, 8, 8))
    assert build_refiner({"width": 32}, 1, stage1).last.in_channels == 32
    with pytest.raises(ModelError, match="refiner does not take"):
        build_refiner({"depth": 3}, 1, stage1)
    with pytest.raises(ModelError, match="1 and more, found 0"):
        build_refiner({"width": 0}, 1, stage1)
