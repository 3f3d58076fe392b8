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

    def inner_features(self, x: Tensor, spare: int) -> Tensor:
        """Compute the same less `spare` pixels at each side, or less of it where that is possible.

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

        What lies in the halo is seen, and need not be computed.
        """
        if halo == 0:
            return self.classify(self.features(x))
        reach = self.last.kernel_size[0] // 2
        return trim(self.classify(self.inner_features(x, halo - reach)), reach)

    def fold(self) -> None:
        """Rearrange for inference, once, where normalisation is folded in; not by default."""


def trim(maps: Tensor, rim: int) -> Tensor:
    """Cut so many pixels off each side of (N, C, H, W) maps."""
    return maps[..., rim:-rim, rim:-rim] if rim else maps
