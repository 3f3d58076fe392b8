"""What a step is trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Batch(NamedTuple):
    """Images and their truth."""

    images: Tensor
    """(N, H, W, 3) uint8."""
    masks: Tensor
    """(N, H, W) int64 class values."""
    taught: Tensor | None = None
    """(N, K, H, W) probabilities of the classes, of a teacher."""

    def to(self, device: torch.device) -> Batch:
        """Copy to a device."""
        taught = None if self.taught is None else self.taught.to(device)
        return Batch(self.images.to(device), self.masks.to(device), taught)
