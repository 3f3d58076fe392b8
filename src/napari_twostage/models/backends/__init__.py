"""Backends that compute a model's two networks: torch on any device, OpenVINO on a CPU.

ONNX networks are computed by OpenVINO or onnxruntime.

`choose` selects one and gives the reason; `start` makes it ready. A backend takes windows of 8-bit
pixels and returns logits, and nothing above it knows whose kernels ran.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_twostage.models.backends.base import Backend, Compute
from napari_twostage.models.backends.choice import DEVICES, choose, choose_for_onnx
from napari_twostage.models.backends.precision import AUTO, PRECISIONS

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_twostage.models.bundle import Bundle

__all__ = [
    "AUTO",
    "DEVICES",
    "PRECISIONS",
    "Backend",
    "Compute",
    "backend_for",
    "choose",
    "choose_for",
    "start",
]


def start(bundle: Bundle, compute: Compute) -> Backend:
    """Make a model ready to run.

    Raises
    ------
    ModelError
        If the weights do not fit the architecture, or networks or packages are missing.
    """
    if bundle.card.is_onnx:
        from napari_twostage.models.backends.onnx import OnnxBackend

        return OnnxBackend(bundle, compute)
    return backend_for(compute)(bundle, compute)


def choose_for(bundle: Bundle, device: str, precision: str, begun: str | None) -> Compute:
    """Decide what a model runs on; parameters and errors as for `choose`."""
    if bundle.card.is_onnx:
        return choose_for_onnx(device, precision, begun)
    return choose(device, precision, bundle.losses, begun)


def backend_for(compute: Compute) -> Callable[[Bundle, Compute], Backend]:
    """Backend's class for networks of ours, imported with its libraries, which takes seconds."""
    if compute.backend == "openvino":
        from napari_twostage.models.backends.openvino import OpenVinoBackend

        return OpenVinoBackend
    from napari_twostage.models.backends.torch_backend import EagerBackend

    return EagerBackend
