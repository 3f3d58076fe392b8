"""A selector that is learned: it predicts what refinement would change, and to what avail."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

CELL = 2
"""Coarse pixels along the side of a cell, the unit of its predictions."""
TYPICAL_LOGIT = 4.0


class Changes(NamedTuple):
    """Shares of a cell's fine pixels that refinement changes; any is a number or an array."""

    found: Tensor
    """Missed foreground that becomes foreground."""
    invented: Tensor
    """Background that becomes foreground."""
    removed: Tensor
    """Falsely found foreground that becomes background."""
    lost: Tensor
    """Foreground that becomes background."""


class GainHead(nn.Module):
    """Predict, for each cell of a coarse window, what refinement would change.

    It sees the coarse pixels and stage 1's logits of them, not stage 1's features: so it can be
    trained on logits of networks that have not seen an image, and run on those of one that
    was trained on all.

    Parameters
    ----------
    outputs : int
        Logits per pixel of stage 1.
    width : int
        Channels of its convolutions.
    """

    def __init__(self, outputs: int = 1, *, width: int = 16) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d((3 + 2 * outputs) * CELL**2, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=2, dilation=2, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        )
        self.last = nn.Conv2d(width, len(Changes._fields), 3, padding=1)
        # Changes are rare: start from one pixel in a hundred.
        nn.init.constant_(self.last.bias, -4.6)  # type: ignore[arg-type]  # it has a bias

    def forward(self, images: Tensor, logits: Tensor) -> Tensor:
        """Predict changes.

        Parameters
        ----------
        images : (N, 3, H, W) tensor
            Normalised coarse windows; H and W are multiples of `CELL`.
        logits : (N, K, H, W) tensor
            Stage 1's of them.

        Returns
        -------
        (N, 4, H / CELL, W / CELL) tensor
            Logits of the shares that `Changes` names.
        """
        unsure = torch.exp(-functional.softplus(logits.abs() - 1))  # peaks where classes meet
        seen = torch.cat([images, (logits / TYPICAL_LOGIT).clamp(-2, 2), unsure], dim=1)
        predicted: Tensor = self.last(self.layers(functional.pixel_unshuffle(seen, CELL)))
        return predicted
