"""Precisions that networks can be computed in: what devices offer, and which is the fastest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_twostage.errors import ModelError
from napari_twostage.models.backends.quiet_openvino import import_openvino
from napari_twostage.utils.system import processor_flags

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

AUTO = "auto"
"""The fastest precision that `pick_precision` finds."""
PRECISIONS = ("f32", "bf16", "fp16", "int8")
OFFERED = {
    "cpu": ("f32", "bf16"),
    "openvino": ("f32", "bf16", "int8"),
    "cuda": ("f32", "bf16", "fp16"),
    "mps": ("f32", "fp16"),
}
"""Precisions by device."""
FASTEST = {"cpu": ("bf16",), "openvino": ("int8", "bf16"), "cuda": ("bf16",)}
"""Precisions that are faster than f32, the fastest first, by device; others were not measured."""
MOST_LOST = 0.1
"""Points of Dice that a precision must lose less than to be chosen unasked."""
INSTRUCTIONS = {
    "bf16": ("avx512_bf16", "amx_bf16", "bf16"),
    "int8": ("avx512_vnni", "avx_vnni", "amx_int8", "i8mm", "asimddp", "dotprod", "int8"),
}
"""Processor features, any of which suffices, as Linux, torch or OpenVINO names them."""
MEASURED = {
    "bf16": ("avx512_bf16", "amx_bf16"),
    "int8": ("avx512_vnni", "avx_vnni", "amx_int8", "avx512_bf16"),
}
"""Those of processors that are known to be faster in it than in f32; ARM's were not measured. All
that have bf16 multiply 8-bit integers as well."""
OPENVINO_FEATURES = {"BF16": "avx512_bf16", "INT8": "int8"}
"""Features by OpenVINO's names. It lists INT8 on every CPU, and BF16 where it is native."""
TENSOR_CORES = (8, 0)
"""Compute capability of the first NVIDIA GPUs that multiply in bf16."""


def pick_precision(device: str, losses: Mapping[str, float]) -> tuple[str, str]:
    """Fastest precision that a device multiplies in natively and that costs next to no Dice.

    Parameters
    ----------
    device : str
        A key of `OFFERED`, or torch's name of a GPU.
    losses : mapping of str to float
        Points of Dice that the model is known to lose against f32, by precision.

    Returns
    -------
    precision, reason : str
    """
    if not losses:
        return "f32", "f32, since the model's card states no loss of Dice in other precisions"
    good = [
        precision
        for precision in FASTEST.get(device.partition(":")[0], ())
        if losses.get(precision, MOST_LOST) < MOST_LOST and _is_fast(precision, device)
    ]
    if not good:
        return "f32", (
            "f32, since no faster precision is native to this device and known to lose less than "
            f"{MOST_LOST} points of Dice"
        )
    lost = max(0.0, losses[good[0]])
    return good[0], (
        f"{good[0]} is the fastest precision that this device multiplies in, and loses {lost:.2f} "
        "points of Dice by the model's card"
    )


def require_precision(precision: str, device: str, offered: Sequence[str]) -> None:
    """Refuse a precision that a device does not offer, or that its processor only emulates.

    Parameters
    ----------
    precision, device : str
    offered : sequence of str
        Precisions that are offered.

    Raises
    ------
    ModelError
        With the precisions that are offered.
    """
    if precision not in offered:
        raise ModelError(
            f"precision '{precision}' is not offered on {device}; choose {', '.join(offered)}"
        )
    if device in ("cpu", "openvino", "onnxruntime") and not multiplies(precision, device):
        raise ModelError(f"this CPU does not compute in {precision}; choose precision f32")


def multiplies(precision: str, device: str) -> bool:
    """Whether the CPU itself multiplies in a precision; if that is emulated, f32 is faster.

    Parameters
    ----------
    precision : str
        One of `PRECISIONS`.
    device : str
        ``cpu`` or ``openvino``, whose library is asked where the system does not tell.
    """
    return precision == "f32" or not _features(device).isdisjoint(INSTRUCTIONS[precision])


def _is_fast(precision: str, device: str) -> bool:
    """Whether a device multiplies in a precision natively, for sure."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_capability(device) >= TENSOR_CORES
    return not _features(device).isdisjoint(MEASURED[precision])


def _features(device: str) -> frozenset[str]:
    """Features of the CPU as the system lists them, else as the library of a device does."""
    if flags := processor_flags():
        return flags
    if device == "openvino":
        listed = import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        return frozenset(OPENVINO_FEATURES.get(name, name) for name in listed)
    import torch

    # a function of newer torch
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return frozenset(name for name, there in capabilities.items() if there)
