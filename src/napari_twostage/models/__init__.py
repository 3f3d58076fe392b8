"""Models: networks, the two-stage module, bundles of weights and card, and running them.

Apart from training, only this package knows torch, and imports it only to compute or convert.
"""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING

from napari_twostage.errors import ModelError, brief
from napari_twostage.models.card import LabelClass, ModelCard

if TYPE_CHECKING:
    from pathlib import Path

    from napari_twostage.models.model import Model

__all__ = ["LabelClass", "ModelCard", "load_model"]


def load_model(model: str | Path, *, device: str = "auto", precision: str = "auto") -> Model:
    """Load a model.

    Parameters
    ----------
    model : str or path
        A bundled name (``nuclei``), or a folder or zip with ``card.json``,
        ``weights.safetensors`` and, optionally, ``openvino.safetensors`` (for OpenVINO without
        torch) and ``int8.safetensors`` (for precision ``int8``). What ``napari-twostage import``
        makes of an ONNX network has ``model.onnx`` in place of the weights.
    device : str
        ``auto`` takes a GPU if torch finds one, else OpenVINO; or ``cpu`` (torch), ``openvino``,
        ``cuda``, ``mps``; for an ONNX network ``openvino`` or ``onnxruntime``. `Model.compute`
        holds the choice and its reason.
    precision : str
        ``auto`` takes the fastest that the device multiplies in and that loses less than 0.1
        points of Dice by the model's card, and keeps that of a result that is resumed. Or
        ``f32``, or, if the device has them, ``bf16``, ``fp16`` or, with OpenVINO and a model
        that carries it, ``int8``: faster, with labels that differ a little.

    Returns
    -------
    Model
        Both stages, ready to run, and the ``card``.

    Raises
    ------
    ModelError
        If it is not a bundle, cannot run on the device or in that precision, or needs a package
        that is not installed.
    """
    from napari_twostage.models.bundle import read_bundle
    from napari_twostage.models.model import Model

    if not _names_something(model):
        raise ModelError(
            f"model must be a bundled name or the path of a model; found {brief(model)}; "
            "pass 'nuclei', say"
        )
    for name, value, example in (("device", device, "auto"), ("precision", precision, "auto")):
        if not isinstance(value, str):
            raise ModelError(
                f"{name} must be a word; found {brief(value)}; pass {name}='{example}'"
            )
    return Model(read_bundle(model), device, precision)


def _names_something(model: object) -> bool:
    return isinstance(model, str | PathLike) and bool(str(model).strip())
