"""Interface of backends."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_twostage.models.card import Stage


@dataclass(frozen=True, slots=True)
class Compute:
    """Backend, device and precision that run a model, and the reason for them."""

    backend: str
    """``torch`` or ``openvino``."""
    version: str
    device: str
    """Backend's name for it: ``cpu``, ``cuda:0``, ``mps``."""
    precision: str
    """Precision of weights and activations, one of `PRECISIONS`; logits are always float32."""
    why: str
    """Reason in words, for users who wonder why it is slow."""

    def as_dict(self) -> dict[str, str]:
        """Fields by name, for the record of a run."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.backend} {self.version} on {self.device}, {self.precision}"


class Backend(Protocol):
    """Model that is ready to run; any number of threads may call it concurrently."""

    notices: list[str]
    """Events that a run's record should state, such as a batch that had to be halved."""

    @property
    def concurrent_batches(self) -> int:
        """Number of concurrent calls of `run` that keep it busy."""

    @property
    def threads(self) -> int:
        """Number of the processor's threads that it keeps busy."""

    def batch(self, stage: Stage, side_px: int) -> int:
        """Best number of windows of that side for one call of `run`."""

    def run(self, stage: Stage, windows: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Map (N, H, W, 3) pixels to (N, K, H - 2 halo, W - 2 halo) logits.

        A window's logits depend neither on the other windows nor on their number.
        """
