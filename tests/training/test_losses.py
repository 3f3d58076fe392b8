"""Losses against values worked out by hand, and the paper's one against what it is known to do."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.optimize import minimize_scalar

from napari_twostage.training.config import LossConfig
from napari_twostage.training.loop.losses import (
    compute_loss,
    cross_entropy,
    distillation_loss,
    focal_loss,
    soft_dice_loss,
)

SURE, UNSURE = math.log(9), 0.0
"""Logits of the probabilities 0.9 and 0.5."""
LOGITS = torch.tensor([SURE, SURE, UNSURE, -SURE]).reshape(1, 1, 2, 2)
TARGET = torch.tensor([1, 0, 1, 0]).reshape(1, 2, 2)
# the true class's probability is 0.9, 0.1, 0.5, 0.9
BCE = -(math.log(0.9) + math.log(0.1) + math.log(0.5) + math.log(0.9)) / 4
FOCAL = (
    -(
        0.25 * 0.1**2 * math.log(0.9)
        + 0.75 * 0.9**2 * math.log(0.1)
        + 0.25 * 0.5**2 * math.log(0.5)
        + 0.75 * 0.1**2 * math.log(0.9)
    )
    / 4
)
DICE = 1 - (2 * (0.9 + 0.5) + 1) / (0.9 + 0.9 + 0.5 + 0.1 + 2 + 1)


def paper(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return focal_loss(logits, target, alpha=0.25, gamma=2)


def test_single_class_by_hand() -> None:
    assert cross_entropy(LOGITS, TARGET).item() == pytest.approx(BCE, rel=1e-5)
    assert paper(LOGITS, TARGET).item() == pytest.approx(FOCAL, rel=1e-5)
    assert soft_dice_loss(LOGITS, TARGET).item() == pytest.approx(DICE, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("focal", FOCAL), ("focal_dice", FOCAL + DICE), ("cross_entropy_dice", BCE + DICE)],
)
def test_a_configuration_names_its_loss(name: str, expected: float) -> None:
    config = LossConfig(name=name)
    assert compute_loss(LOGITS, TARGET, config).item() == pytest.approx(expected, rel=1e-5)


def test_misses_have_their_price() -> None:
    """At 3: cross-entropy counts foreground three times, Tversky misses 1.5 and extras 0.5."""
    ce = -(3 * math.log(0.9) + math.log(0.1) + 3 * math.log(0.5) + math.log(0.9)) / 4
    shared, missed, extra = 0.9 + 0.5, 0.1 + 0.5, 0.9 + 0.1
    tversky = 1 - (2 * shared + 1) / (2 * shared + 1.5 * missed + 0.5 * extra + 1)
    found = compute_loss(LOGITS, TARGET, LossConfig(), miss_price=3)
    assert found.item() == pytest.approx(ce + tversky, rel=1e-5)


@pytest.mark.parametrize("price", [1.0, 3.0])
def test_one_class_costs_the_same_as_a_class_and_a_background(price: float) -> None:
    both = torch.cat([torch.zeros_like(LOGITS), LOGITS], 1)
    one, two = (
        compute_loss(logits, TARGET, LossConfig(), miss_price=price) for logits in (LOGITS, both)
    )
    torch.testing.assert_close(one, two)


def test_three_values_by_hand() -> None:
    probability = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])
    logits = probability.log().T.reshape(1, 3, 1, 2)
    target = torch.tensor([[[0, 2]]])
    ce = -(math.log(0.7) + math.log(0.6)) / 2
    assert cross_entropy(logits, target).item() == pytest.approx(ce, rel=1e-5)
    focal = -(0.75 * 0.3**2 * math.log(0.7) + 0.25 * 0.4**2 * math.log(0.6)) / 2
    assert paper(logits, target).item() == pytest.approx(focal, rel=1e-5)
    # class 1 is nowhere and 0.5 of it is predicted; class 2 is on one pixel, 0.7 predicted
    dice = 1 - ((0 + 1) / (0.5 + 0 + 1) + (2 * 0.6 + 1) / (0.7 + 1 + 1)) / 2
    assert soft_dice_loss(logits, target).item() == pytest.approx(dice, rel=1e-5)


def test_a_teacher_that_is_sure_is_the_truth() -> None:
    expected = cross_entropy(LOGITS, TARGET) + soft_dice_loss(LOGITS, TARGET)
    torch.testing.assert_close(distillation_loss(LOGITS, TARGET[:, None].float()), expected)
    three = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    classes = three.argmax(1).roll(1, 0)
    shares = torch.stack([classes == value for value in (1, 2)], 1).float()
    expected = cross_entropy(three, classes) + soft_dice_loss(three, classes)
    torch.testing.assert_close(distillation_loss(three, shares), expected)


@pytest.mark.parametrize("loss", [cross_entropy, paper, soft_dice_loss])
def test_two_values_are_one_class_against_the_background(loss: object) -> None:
    both = torch.cat([torch.zeros_like(LOGITS), LOGITS], dim=1)
    assert callable(loss)
    torch.testing.assert_close(loss(both, TARGET), loss(LOGITS, TARGET))


def test_the_papers_focal_loss_says_half_where_the_truth_is_three_quarters() -> None:
    """Its minimum over a constant prediction, where 75 % of pixels are foreground."""
    target = torch.tensor([1, 1, 1, 0]).reshape(1, 2, 2)

    def value(logit: float) -> float:
        return paper(torch.full((1, 1, 2, 2), logit, dtype=torch.float64), target).item()

    best = minimize_scalar(value, bounds=(-5, 5), method="bounded").x
    assert best == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("logit", [-200.0, 200.0])
def test_losses_and_gradients_stay_finite_however_sure_the_network_is(logit: float) -> None:
    for name in ("focal_dice", "cross_entropy_dice"):
        logits = torch.full((1, 1, 2, 2), logit, requires_grad=True)
        loss = compute_loss(logits, TARGET, LossConfig(name=name))
        loss.backward()
        assert logits.grad is not None
        assert torch.isfinite(logits.grad).all()
