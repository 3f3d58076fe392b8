"""Networks in 8-bit integers: an optional file of a bundle, for OpenVINO.

Integers need ranges, and ranges need images; who makes a model has both, so quantising is done
once, by ``napari-twostage quantise``, and everybody who runs the model has the same
integers. The file holds
OpenVINO's own format, a graph and its constants for each stage, as tensors of bytes.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_twostage.models.backends.base import Stage
    from napari_twostage.models.bundle import Bundle

ORIGIN = "sha256 of weights"


def pack(networks: Mapping[Stage, tuple[bytes, bytes]], weights: bytes) -> bytes:
    """Make the file of both stages' graphs and constants, quantised from these weights."""
    from safetensors.numpy import save

    parts = {ORIGIN: hashlib.sha256(weights).digest()}
    for stage, (graph, constants) in networks.items():
        parts |= {f"{stage}.xml": graph, f"{stage}.bin": constants}
    return save({name: np.frombuffer(part, np.uint8) for name, part in parts.items()})


def unpack(bundle: Bundle) -> dict[Stage, tuple[bytes, bytes]]:
    """Read both stages' graphs and constants.

    Raises
    ------
    ModelError
        If the bundle has none, or they are damaged, or of other weights.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    if bundle.quantised is None:
        raise ModelError(
            f"{bundle.source} has no networks in 8-bit integers; choose precision bf16 or f32, "
            "or add them with `napari-twostage quantise`"
        )
    try:
        parts = {name: part.tobytes() for name, part in load(bundle.quantised).items()}
        origin = parts[ORIGIN]
        networks: dict[Stage, tuple[bytes, bytes]] = {
            "coarse": (parts["coarse.xml"], parts["coarse.bin"]),
            "refine": (parts["refine.xml"], parts["refine.bin"]),
        }
    except (SafetensorError, KeyError) as error:
        raise ModelError(
            f"{bundle.source}: its networks in 8-bit integers are damaged: {error}; get the model "
            "again, or choose precision bf16 or f32"
        ) from error
    if origin != hashlib.sha256(bundle.weights).digest():
        raise ModelError(
            f"{bundle.source}: its networks in 8-bit integers were made from other weights; "
            "run `napari-twostage quantise` again"
        )
    return networks
