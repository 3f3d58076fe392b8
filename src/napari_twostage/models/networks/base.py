"""Interface of segmentation networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from torch import Tensor


class Network(nn.Module):
    """Segmentation network whose last layer can be called separately."""

    feature_channels: int
    """Number of channels of the maps that `features` returns."""
    stride: int
    """Input pixels per pixel of the deepest map."""
    last: nn.Conv2d

    def features(self, x: Tensor) -> Tensor:
        """Compute the input of the last convolution.

        Parameters
        ----------
        x : (N, 3, H, W) tensor
            Normalised images.

        Returns
        -------
        (N, feature_channels, H, W) tensor
        """
        raise NotImplementedError

    def inner_features(self, x: Tensor, spare: int) -> Tensor:
        """Compute the features without `spare` pixels at each side; subclasses may save work.

        Returns
        -------
        (N, feature_channels, H - 2 spare, W - 2 spare) tensor
        """
        return trim(self.features(x), spare)

    def classify(self, features: Tensor) -> Tensor:
        """Apply the last convolution: (N, feature_channels, H, W) to (N, outputs, H, W) logits."""
        logits: Tensor = self.last(features)
        return logits

    def forward(self, x: Tensor, halo: int = 0) -> Tensor:
        """Map (N, 3, H, W) images to (N, outputs, H - 2 halo, W - 2 halo) logits.

        Pixels of the halo are context: their logits need not be computed.
        """
        if halo == 0:
            return self.classify(self.features(x))
        reach = self.last.kernel_size[0] // 2
        return trim(self.classify(self.inner_features(x, halo - reach)), reach)

    def fold(self) -> None:
        """Rearrange for inference, once, after normalisation was folded in; default: no change."""


def trim(maps: Tensor, rim: int) -> Tensor:
    """Cut `rim` pixels off each side of (N, C, H, W) maps."""
    return maps[..., rim:-rim, rim:-rim] if rim else maps
