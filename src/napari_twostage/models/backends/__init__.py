"""Backends that compute a model's two networks: torch on any device, OpenVINO on a CPU.

`choose` selects one and gives the reason; `start` makes it ready. A backend takes windows of 8-bit
pixels and returns logits, and nothing above it knows whose kernels ran.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_twostage.models.backends.base import Backend, Compute
from napari_twostage.models.backends.choice import DEVICES, choose
from napari_twostage.models.backends.precision import AUTO, PRECISIONS

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_twostage.models.bundle import Bundle

__all__ = ["AUTO", "DEVICES", "PRECISIONS", "Backend", "Compute", "backend_for", "choose", "start"]


def start(bundle: Bundle, compute: Compute) -> Backend:
    """Make a model ready to run.

    Raises
    ------
    ModelError
        If the weights do not fit the architecture, or networks or packages are missing.
    """
    return backend_for(compute)(bundle, compute)


def backend_for(compute: Compute) -> Callable[[Bundle, Compute], Backend]:
    """Backend's class, imported with its libraries, which takes seconds."""
    if compute.backend == "openvino":
        from napari_twostage.models.backends.openvino import OpenVinoBackend

        return OpenVinoBackend
    from napari_twostage.models.backends.torch_backend import EagerBackend

    return EagerBackend
