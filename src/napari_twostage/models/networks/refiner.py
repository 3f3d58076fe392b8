"""Local second stage: it corrects stage 1's logits from the pixels around them.

Most errors of a coarse segmentation of nuclei are within a few pixels of their boundaries. Stage 1
has found the objects; their exact outlines show in a small neighbourhood at full resolution.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from napari_twostage.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

BLOCK = 2
"""Side of a block in fine pixels: convolutions run on blocks, a quarter as many."""
TYPICAL_LOGIT = 4.0
"""Divisor of logits that enter a convolution."""


class LocalRefiner(nn.Module):
    """Network that corrects stage 1's logits from fine pixels and stage 1's features.

    An output pixel depends on pixels less than `reach_px` away, and on the coarse pixels that
    those are enlarged from.

    Parameters
    ----------
    outputs : int
        Logits per pixel.
    features : int
        Channels of stage 1's features.
    width : int
        Number of channels of its convolutions; libraries are fast for multiples of 16.
    dilations : sequence of int
        Dilations of its residual convolutions, in their order.

    Raises
    ------
    ModelError
        If a number is not positive.
    """

    def __init__(
        self,
        outputs: int = 1,
        features: int = 16,
        *,
        width: int = 16,
        dilations: Sequence[int] = (1, 1, 2),
    ) -> None:
        super().__init__()
        if min(width, *dilations) < 1:
            raise ModelError(
                f"expected a refiner's width and dilations of 1 and more, found {width}, "
                f"{tuple(dilations)}; correct the architecture"
            )
        self.dilations = tuple(dilations)
        self.stem = _convolution((3 + outputs) * BLOCK**2 + features, width, 1)
        self.body = nn.ModuleList(_convolution(width, width, step) for step in dilations)
        self.last = nn.Conv2d(width, outputs * BLOCK**2, 1)
        # Untrained, it leaves stage 1's logits as they are.
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)

    @property
    def reach_px(self) -> int:
        """Receptive field's radius in fine pixels, apart from what logits were enlarged from."""
        return BLOCK * (2 + sum(self.dilations))

    def forward(self, images: Tensor, logits: Tensor, features: Tensor) -> Tensor:
        """Correct logits.

        Parameters
        ----------
        images : (N, 3, H, W) tensor
            Normalised; H and W are even.
        logits : (N, K, H / ratio, W / ratio) tensor
            Stage 1's over the same window.
        features : (N, F, H / ratio, W / ratio) tensor
            Input of its last convolution.

        Returns
        -------
        (N, K, H, W) tensor
        """
        enlarged = enlarge(logits, images.shape[-2:])
        seen = torch.cat([images, (enlarged / TYPICAL_LOGIT).clamp(-2, 2)], dim=1)
        blocks = functional.pixel_unshuffle(seen, BLOCK)
        x = self.stem(torch.cat([blocks, enlarge(features, blocks.shape[-2:])], dim=1))
        for layer in self.body:
            x = x + layer(x)
        return enlarged + functional.pixel_shuffle(self.last(x), BLOCK)


def enlarge(maps: Tensor, shape: Sequence[int]) -> Tensor:
    """Resize (N, C, h, w) maps to (N, C, *shape) bilinearly, pixel centres aligned."""
    return functional.interpolate(maps, tuple(shape), mode="bilinear", align_corners=False)


def _convolution(inputs: int, outputs: int, dilation: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=dilation, dilation=dilation, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )
