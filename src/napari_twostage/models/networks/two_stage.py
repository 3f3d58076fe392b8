"""Two-stage module of Cruz et al. (Sensors 2023): one network everywhere, another where needed.

Its input are pixels as they come from a slide, 8-bit and channels last; normalising them is part of
the module, so training and inference cannot differ in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import nn

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
    """Stage 1 for coarse windows, stage 2 for fine ones.

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
        Whether stage 2 adds stage 1's features of the whole image to its own, as in the paper: only
        in `training.loop.tiles`, since nothing sees a whole slide.
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
        context: bool = False,
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
        if isinstance(self.stage2, LocalRefiner):
            return self.ratio * self.stage1.stride
        return self.fine_ratio * self.stage2.stride

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
        pixels = self.normalise(coarsen(images, self.fine_ratio))
        if self.fine_ratio == 1:
            return cast("Tensor", self.stage2(pixels, halo))
        # enlarging needs the next pixel
        left_out = max(0, halo // self.fine_ratio - 1)
        small = self.stage2(pixels, left_out)
        logits = enlarge(small, [side * self.fine_ratio for side in small.shape[-2:]])
        return trim(logits, halo - left_out * self.fine_ratio)

    def run_both(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Both stages over the same fine windows, for a local refiner.

        Gradients flow through the logits and features that it takes from stage 1.

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
        return logits, self.stage2(self.normalise(images), logits, features)
