"""What computes a model's two networks: torch on any device, OpenVINO on a CPU.

`choose` decides which, and says why; `start` makes it ready. A backend takes windows of 8-bit
pixels and gives logits, and nothing above it knows whose kernels ran.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_twostage.models.backends.base import Backend, Compute, Stage
from napari_twostage.models.backends.choice import DEVICES, PRECISIONS, choose

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_twostage.models.bundle import Bundle

__all__ = ["DEVICES", "PRECISIONS", "Backend", "Compute", "Stage", "backend_for", "choose", "start"]


def start(bundle: Bundle, compute: Compute) -> Backend:
    """Make a model ready to run.

    Raises
    ------
    ModelError
        If the weights do not fit the architecture.
    """
    return backend_for(compute)(bundle, compute)


def backend_for(compute: Compute) -> Callable[[Bundle, Compute], Backend]:
    """The class that computes, with the libraries that it needs: importing them takes seconds."""
    if compute.backend == "openvino":
        from napari_twostage.models.backends.openvino import OpenVinoBackend

        return OpenVinoBackend
    from napari_twostage.models.backends.torch_backend import EagerBackend

    return EagerBackend
