"""Two-stage module of Cruz et al. (Sensors 2023): one network everywhere, another where needed.

Its input are pixels as they come from a slide, 8-bit and channels last; normalising them is part of
the module, so training and inference cannot differ in it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import torch
from torch import nn
from torch.nn import functional

from napari_twostage.errors import ModelError
from napari_twostage.models.networks.base import trim
from napari_twostage.models.networks.refiner import LocalRefiner, enlarge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from napari_twostage.models.networks.base import Network


def coarsen(images: Tensor, ratio: int) -> Tensor:
    """Area-average 8-bit images by an integer ratio, rounded to 8 bits as a coarse read is.

    Parameters
    ----------
    images : (N, H, W, 3) uint8 tensor
        H and W are multiples of `ratio`.
    ratio : int
        Fine pixels per coarse pixel.

    Returns
    -------
    (N, H / ratio, W / ratio, 3) uint8 tensor
    """
    if ratio == 1:
        return images
    count, height, width, channels = images.shape
    blocks = images.view(count, height // ratio, ratio, width // ratio, ratio, channels)
    total = blocks.sum(dim=(2, 4), dtype=torch.int32)
    # halves are rounded up, as in a slide's average of whole blocks
    return torch.div(total + ratio**2 // 2, ratio**2, rounding_mode="floor").to(torch.uint8)


class TwoStage(nn.Module):
    """Model 1 for coarse windows, Model 2 for fine ones, with Model 1's features as context.

    Parameters
    ----------
    stage1 : Network
    stage2 : Network or LocalRefiner
        Another network, in the paper of the same architecture; or a local correction of stage 1's
        logits.
    ratio : int
        Fine pixels per coarse pixel.
    fine_ratio : int
        Fine pixels per pixel that stage 2 computes on; 1 for a refiner.
    context : bool
        Whether stage 2 adds Model 1's penultimate features to its own.
    mean, std : three floats
        Mean and standard deviation of each channel, in pixel values divided by 255.
    objects : bool
        Whether the last of the networks' outputs tells objects apart; the others are logits.
    gain : bool
        Whether stage 1 has one more output, behind these.

    Raises
    ------
    ModelError
        If features are to be added whose numbers of channels differ.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        stage1: Network,
        stage2: Network | LocalRefiner,
        *,
        ratio: int,
        fine_ratio: int = 1,
        context: bool,
        mean: Sequence[float],
        std: Sequence[float],
        objects: bool = False,
        gain: bool = False,
    ) -> None:
        super().__init__()
        if context and not isinstance(stage2, LocalRefiner):
            ours, theirs = stage2.feature_channels, stage1.feature_channels
            if ours != theirs:
                raise ModelError(
                    f"expected networks of as many features where context is added, found {theirs} "
                    f"in stage 1 and {ours} in stage 2; leave context out, or alter the widths"
                )
        self.stage1 = stage1
        self.stage2 = stage2
        self.ratio = ratio
        self.fine_ratio = fine_ratio
        self.context = context
        self.objects = objects
        self.gain = gain
        # the card holds them, so they are not part of the weights, and real in a module of shapes
        for name, values in (("mean", mean), ("std", std)):
            channels = torch.tensor(values, dtype=torch.float32, device="cpu").view(1, 3, 1, 1)
            self.register_buffer(name, channels, persistent=False)

    @property
    def window_multiple(self) -> int:
        """Divisor of the sides of stage 2's windows, so that networks can halve them."""
        coarse = self.ratio * self.stage1.stride
        if isinstance(self.stage2, LocalRefiner):
            return coarse
        fine = self.fine_ratio * self.stage2.stride
        return math.lcm(coarse, fine) if self.context else fine

    def transfer(self) -> None:
        """Start Model 2 as a copy of Model 1; a refiner has nothing to copy."""
        if isinstance(self.stage2, LocalRefiner):
            return
        self.stage2.load_state_dict(self.stage1.state_dict())

    def normalise(self, images: Tensor) -> Tensor:
        """Make the networks' input: (N, H, W, 3) uint8 to (N, 3, H, W), of the weights' type."""
        # the permuted view is already channels-last in memory, which convolutions want
        pixels = images.permute(0, 3, 1, 2).to(self.mean.dtype) / 255
        return ((pixels - self.mean) / self.std).to(self.stage1.last.weight.dtype)

    def coarse(self, images: Tensor, halo: int = 0) -> Tensor:
        """Stage 1.

        Parameters
        ----------
        images : (N, H, W, 3) uint8 tensor
            Windows of the slide at the coarse pixel size.
        halo : int
            Width of the context, for which no logits are computed, in pixels at each side.

        Returns
        -------
        (N, K, H - 2 halo, W - 2 halo) float tensor
            Logits: one for a single class against the background, else one per class.
        """
        maps = self.coarse_maps(images, halo)
        return self.part(maps[:, :-1] if self.gain else maps)[0]

    def coarse_maps(self, images: Tensor, halo: int = 0) -> Tensor:
        """Stage 1 with all of its outputs; see `coarse` and `part`."""
        maps: Tensor = self.stage1(self.normalise(images), halo)
        return maps

    def part(self, maps: Tensor) -> tuple[Tensor, Tensor | None]:
        """Part a network's outputs, but for the gain, into logits and object output.

        Parameters
        ----------
        maps : (N, K + 1, H, W) tensor
            All outputs; K without an object output.

        Returns
        -------
        (N, K, H, W) tensor, and (N, H, W) tensor or None
        """
        return (maps[:, :-1], maps[:, -1]) if self.objects else (maps, None)

    def refine(self, images: Tensor, halo: int = 0) -> Tensor:
        """Stage 2; depends on the window's pixels only.

        Context is computed from the window itself, averaged down to the coarse pixel size, and not
        taken from the coarse pass: its surroundings there must not matter.

        Parameters
        ----------
        images : (N, H, W, 3) uint8 tensor
            Windows of the slide at the fine pixel size.
        halo : int
            Width of the context, for which no logits are computed, in pixels at each side.

        Returns
        -------
        (N, K, H - 2 halo, W - 2 halo) float tensor
            Logits, as `coarse` gives them.
        """
        return self.part(self.refine_maps(images, halo))[0]

    def refine_maps(self, images: Tensor, halo: int = 0) -> Tensor:
        """Stage 2 with all of its outputs; see `refine` and `part`."""
        if isinstance(self.stage2, LocalRefiner):
            return trim(self.run_both(images)[1], halo)
        if self.context:
            return trim(self._refine_in_context(self.stage2, images), halo)
        return self._refine_alone(self.stage2, images, halo)

    def _refine_alone(self, stage2: Network, images: Tensor, halo: int) -> Tensor:
        pixels = self.normalise(coarsen(images, self.fine_ratio))
        if self.fine_ratio == 1:
            return cast("Tensor", stage2(pixels, halo))
        # enlarging needs the next pixel
        left_out = max(0, halo // self.fine_ratio - 1)
        logits = self._enlarged(stage2(pixels, left_out))
        return trim(logits, halo - left_out * self.fine_ratio)

    def _refine_in_context(self, stage2: Network, images: Tensor) -> Tensor:
        with torch.no_grad():  # training stage 2 leaves Model 1 as it is
            context = self.stage1.features(self.normalise(coarsen(images, self.ratio)))
        return self._add_context(stage2, images, context)

    def _add_context(self, stage2: Network, images: Tensor, context: Tensor) -> Tensor:
        features = stage2.features(self.normalise(coarsen(images, self.fine_ratio)))
        features = features + functional.interpolate(
            context, size=features.shape[-2:], mode="nearest"
        )
        return self._enlarged(stage2.classify(features))

    def _enlarged(self, logits: Tensor) -> Tensor:
        if self.fine_ratio == 1:
            return logits
        return enlarge(logits, [side * self.fine_ratio for side in logits.shape[-2:]])

    def run_both(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Both stages over the same fine windows, to train them together.

        Gradients flow through everything that stage 2 takes from stage 1: logits and features for
        a refiner, context for another network.

        Parameters
        ----------
        images : (N, H, W, 3) uint8 tensor
            Windows of the slide at the fine pixel size.

        Returns
        -------
        (N, K, H / ratio, W / ratio) and (N, K, H, W) float tensors
            Coarse and refined logits.
        """
        features = self.stage1.features(self.normalise(coarsen(images, self.ratio)))
        logits = self.stage1.classify(features)
        if isinstance(self.stage2, LocalRefiner):
            return logits, self.stage2(self.normalise(images), logits, features)
        return logits, self._add_context(self.stage2, images, features)
