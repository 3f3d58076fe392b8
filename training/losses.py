"""What training minimises."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor


def soft_dice_loss(logits: Tensor, target: Tensor, smooth: float = 1.0) -> Tensor:
    """One minus the Dice coefficient of probabilities, averaged over images.

    Parameters
    ----------
    logits, target : (N, 1, H, W) tensor
        `target` lies in [0, 1].
    smooth : float
        Added to numerator and denominator, so that empty images have a value.

    References
    ----------
    Milletari et al., V-Net, 3DV 2016 (without the squares).
    """
    probability = logits.sigmoid().flatten(1)
    truth = target.flatten(1)
    shared = (probability * truth).sum(1)
    total = probability.sum(1) + truth.sum(1)
    return (1 - (2 * shared + smooth) / (total + smooth)).mean()


def bce_dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy plus soft Dice loss, both over (N, 1, H, W)."""
    return functional.binary_cross_entropy_with_logits(logits, target) + soft_dice_loss(
        logits, target
    )
