"""What every segmentation network of this package offers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from torch import Tensor


class Network(nn.Module):
    """A segmentation network whose last layer can be called apart from the rest."""

    feature_channels: int
    """Channels of the maps that `features` returns."""
    stride: int
    """Input pixels per pixel of the deepest map."""
    last: nn.Conv2d

    def features(self, x: Tensor) -> Tensor:
        """Compute what enters the last convolution.

        Parameters
        ----------
        x : (N, 3, H, W) tensor
            Normalised images.

        Returns
        -------
        (N, feature_channels, H, W) tensor
        """
        raise NotImplementedError

    def classify(self, features: Tensor) -> Tensor:
        """Apply the last convolution: (N, feature_channels, H, W) to (N, outputs, H, W) logits."""
        logits: Tensor = self.last(features)
        return logits

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, 3, H, W) images to (N, outputs, H, W) logits."""
        return self.classify(self.features(x))
