"""What computes a model's two networks: torch on any device, OpenVINO on a CPU.

`choose` decides which, and says why; `start` makes it ready. A backend takes windows of 8-bit
pixels and gives logits, and nothing above it knows whose kernels ran.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_twostage.models.backends.base import Backend, Compute, Stage
from napari_twostage.models.backends.choice import DEVICES, PRECISIONS, choose

if TYPE_CHECKING:
    from napari_twostage.models.bundle import Bundle

__all__ = ["DEVICES", "PRECISIONS", "Backend", "Compute", "Stage", "choose", "start"]


def start(bundle: Bundle, compute: Compute) -> Backend:
    """Make a model ready to run.

    Raises
    ------
    ModelError
        If the weights do not fit the architecture.
    """
    if compute.backend == "openvino":
        from napari_twostage.models.backends.openvino import OpenVinoBackend

        return OpenVinoBackend(bundle, compute)
    from napari_twostage.models.backends.eager import EagerBackend

    return EagerBackend(bundle, compute)
