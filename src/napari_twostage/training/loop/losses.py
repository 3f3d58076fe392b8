"""Loss functions.

Logits are (N, K, H, W): K = 1 for a single class against the background, else one channel per
class with the background first. Targets are (N, H, W) class values, 0 the background.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

    from napari_twostage.training.config import LossConfig


def compute_loss(
    logits: Tensor, target: Tensor, config: LossConfig, miss_price: float = 1.0
) -> Tensor:
    """Compute the loss that a configuration names.

    Parameters
    ----------
    logits : (N, K, H, W) tensor
    target : (N, H, W) int tensor
    config : LossConfig
    miss_price : float
        Price of a missed pixel against that of a false one, in cross-entropy and Dice.
    """
    if config.name == "focal":
        return focal_loss(logits, target, alpha=config.alpha, gamma=config.gamma)
    dice = soft_dice_loss(logits, target, miss_price=miss_price)
    if config.name == "focal_dice":
        return focal_loss(logits, target, alpha=config.alpha, gamma=config.gamma) + dice
    return cross_entropy(logits, target, miss_price) + dice


def cross_entropy(logits: Tensor, target: Tensor, miss_price: float = 1.0) -> Tensor:
    """Mean over all pixels of −log of the true class's probability, foreground times its price."""
    if logits.shape[1] == 1:
        truth = target.to(logits.dtype)
        price = logits.new_tensor(miss_price)
        return functional.binary_cross_entropy_with_logits(logits[:, 0], truth, pos_weight=price)
    weighed = functional.cross_entropy(logits, target, reduction="none")
    return (weighed * torch.where(target > 0, miss_price, 1.0)).mean()


def focal_loss(logits: Tensor, target: Tensor, *, alpha: float, gamma: float) -> Tensor:
    """Mean over all pixels of −a (1 − p)^gamma log p, with p the true class's probability.

    Parameters
    ----------
    logits : (N, K, H, W) tensor
    target : (N, H, W) int tensor
    alpha : float
        Weight a of foreground pixels; background pixels weigh 1 − alpha.
    gamma : float
        0 gives weighted cross-entropy.

    References
    ----------
    Lin et al., Focal loss for dense object detection, ICCV 2017, equation 5.
    """
    if logits.shape[1] == 1:
        # the logit of the true class against the other
        log_p = functional.logsigmoid(torch.where(target > 0, logits[:, 0], -logits[:, 0]))
    else:
        log_p = logits.log_softmax(1).gather(1, target[:, None])[:, 0]
    weight = torch.where(target > 0, alpha, 1 - alpha)
    return (-weight * (1 - log_p.exp()) ** gamma * log_p).mean()


def distillation_loss(logits: Tensor, soft_targets: Tensor) -> Tensor:
    """Cross-entropy against a teacher's probabilities, plus one minus their Dice.

    Parameters
    ----------
    logits : (N, K, H, W) tensor
    soft_targets : (N, C, H, W) tensor
        Class probabilities without the background: C = 1 if K = 1, else K − 1.
    """
    if logits.shape[1] == 1:
        entropy = functional.binary_cross_entropy_with_logits(logits, soft_targets)
    else:
        background = 1 - soft_targets.sum(1, keepdim=True)
        entropy = functional.cross_entropy(logits, torch.cat([background, soft_targets], 1))
    return entropy + _dice_loss(logits, soft_targets, smooth=1.0)


def object_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of (N, H, W) logits of the object output against a target in [0, 1]."""
    return functional.binary_cross_entropy_with_logits(logits, target)


def soft_dice_loss(
    logits: Tensor, target: Tensor, smooth: float = 1.0, miss_price: float = 1.0
) -> Tensor:
    """One minus the Dice coefficient of probabilities, averaged over images and classes.

    Parameters
    ----------
    logits : (N, K, H, W) tensor
    target : (N, H, W) int tensor
    smooth : float
        Added to numerator and denominator, so that the Dice of an absent class is defined.
    miss_price : float
        Price of a missed pixel against that of a false one; other than 1, it is a Tversky index.

    References
    ----------
    Milletari et al., V-Net, 3DV 2016 (without the squares). Salehi et al., Tversky loss function
    for image segmentation using 3D fully convolutional deep networks, MLMI 2017.
    """
    values = torch.arange(1, max(2, logits.shape[1]), device=target.device)
    truth = (target[:, None] == values[:, None, None]).to(logits.dtype)
    return _dice_loss(logits, truth, smooth, miss_price)


def _dice_loss(logits: Tensor, truth: Tensor, smooth: float, miss_price: float = 1.0) -> Tensor:
    """One minus the Dice against (N, C, H, W) class shares, without the background."""
    probability = logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(1)[:, 1:]
    shared, found, real = (
        part.flatten(2).sum(2) for part in (probability * truth, probability, truth)
    )
    # 2 TP + FP + FN for a price of 1
    missed = 2 * miss_price / (1 + miss_price)
    total = 2 * shared + (2 - missed) * (found - shared) + missed * (real - shared)
    return (1 - (2 * shared + smooth) / (total + smooth)).mean()
