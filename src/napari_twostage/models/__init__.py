"""Models: networks, the two-stage module, bundles of weights and card, and running them.

The only place that knows torch, which is loaded by what computes with it or converts from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_twostage.models.card import LabelClass, ModelCard

if TYPE_CHECKING:
    from pathlib import Path

    from napari_twostage.models.model import Model

__all__ = ["LabelClass", "ModelCard", "load_model"]


def load_model(model: str | Path, *, device: str = "auto", precision: str = "f32") -> Model:
    """Load a model.

    Parameters
    ----------
    model : str or path
        A bundled name (``nuclei``), or a folder or zip with ``card.json``,
        ``weights.safetensors`` and, for ``int8``, ``int8.safetensors``.
    device : str
        ``auto`` takes a GPU where there is one, else OpenVINO where it is installed, else torch on
        the CPU; or ``cpu`` (torch), ``openvino``, ``cuda``, ``mps``. `Model.compute` says why.
    precision : str
        ``f32``, or where the device has them ``bf16``, ``fp16`` or, with OpenVINO and a model
        that carries it, ``int8``: faster, with labels that differ a little.

    Returns
    -------
    Model
        With ``.card`` and both stages.

    Raises
    ------
    ModelError
        If it is no such bundle, or cannot run on the device, or not in that precision.
    """
    from napari_twostage.models.bundle import read_bundle
    from napari_twostage.models.model import Model

    return Model(read_bundle(model), device, precision)
