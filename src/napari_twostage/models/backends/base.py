"""What every backend offers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_twostage.models.card import ModelCard

Stage = Literal["coarse", "refine"]
"""Which of the two networks, by the name of `TwoStage`'s method."""


@dataclass(frozen=True, slots=True)
class Compute:
    """What runs a model, and why that."""

    backend: str
    """``torch`` or ``openvino``."""
    version: str
    device: str
    """As the backend calls it: ``cpu``, ``cuda:0``, ``mps``."""
    precision: str
    """Of weights and activations: ``f32``, ``bf16`` or ``fp16``; logits are float32 always."""
    why: str
    """In words, for those who wonder why it is slow."""

    def as_dict(self) -> dict[str, str]:
        """For the record of a run."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.backend} {self.version} on {self.device}, {self.precision}"


class Backend(Protocol):
    """A model that is ready to run; any thread may call it, and several may at once."""

    notices: list[str]
    """What a run's record should say of it: that a batch had to be halved, say."""

    @property
    def abreast(self) -> int:
        """Calls of `run` that keep it busiest when they are under way at once."""

    @property
    def threads(self) -> int:
        """Of the processor, that it keeps busy."""

    def batch(self, stage: Stage, side_px: int) -> int:
        """Windows of that side that are best handed over at once."""

    def run(self, stage: Stage, windows: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(N, H, W, 3) pixels to logits of all but the halo: (N, K, H - 2 halo, W - 2 halo).

        A window's logits do not depend on the others, nor on how many there are.
        """


def halo_px(card: ModelCard, stage: Stage) -> int:
    """Pixels at each side of a window that a stage looks at, and gives no logits of."""
    return card.coarse_halo_px if stage == "coarse" else card.halo_px
