"""Which backend, device and precision a model runs on."""

from __future__ import annotations

from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING

from napari_twostage.errors import ModelError
from napari_twostage.models.backends.base import Compute
from napari_twostage.models.machine import may_have_gpu
from napari_twostage.utils.timing import processor_flags

if TYPE_CHECKING:
    import torch

DEVICES = ("auto", "cpu", "openvino", "cuda", "mps")
"""``cpu`` is torch's; torch's other names, such as ``cuda:1``, are taken as well."""
PRECISIONS = ("f32", "bf16", "fp16", "int8")
OFFERED = {
    "cpu": ("f32", "bf16"),
    "openvino": ("f32", "bf16", "int8"),
    "cuda": ("f32", "bf16", "fp16"),
    "mps": ("f32", "fp16"),
}
INSTRUCTIONS = {
    "bf16": ("avx512_bf16", "amx_bf16", "bf16"),
    "int8": ("avx512_vnni", "avx_vnni", "amx_int8", "i8mm", "asimddp", "dotprod"),
}
"""Any of them will do, as Linux or torch calls them."""


def choose(device: str = "auto", precision: str = "f32") -> Compute:
    """Decide what a model runs on.

    Parameters
    ----------
    device : str
        One of `DEVICES`, or what torch calls it. ``auto`` takes a GPU where there is one, else
        OpenVINO where it is installed, else torch on the CPU.
    precision : str
        One of `PRECISIONS`. All but ``f32`` are faster and change labels a little.

    Raises
    ------
    ModelError
        If the device is not there, or does not compute in that precision.
    """
    device, why = _best() if device == "auto" else (device, f"{device} was asked for")
    if device == "openvino":
        _require_openvino()
        _require_precision(precision, "openvino")
        return Compute("openvino", version("openvino"), "cpu", precision, why)
    import torch

    place = pick_device(device)
    _require_precision(precision, place.type)
    return Compute("torch", torch.__version__, str(place), precision, why)


def pick_device(name: str) -> torch.device:
    """The device that torch knows by that name; ``auto`` is a GPU where there is one, else the CPU.

    Raises
    ------
    ModelError
        If it is not there.
    """
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"device '{name}' cannot be used here: {reason}; try cpu") from error
    return device


def _best() -> tuple[str, str]:
    """The fastest device of this machine, and why it is that."""
    device = pick_device("auto").type if may_have_gpu() else "cpu"
    if device != "cpu":
        return device, "this machine has a GPU"
    if find_spec("openvino"):
        return "openvino", "there is no GPU; on a CPU OpenVINO is faster than torch"
    return "cpu", (
        "there is no GPU, and OpenVINO, which is faster than torch on a CPU, is not installed: "
        "pip install 'napari-twostage[openvino]'"
    )


def _require_openvino() -> None:
    if not find_spec("openvino"):
        raise ModelError(
            "device 'openvino' needs OpenVINO, which is not installed; "
            "pip install 'napari-twostage[openvino]', or take cpu"
        )


def _require_precision(precision: str, device: str) -> None:
    offered = OFFERED.get(device, ("f32",))
    if precision not in offered:
        raise ModelError(
            f"precision '{precision}' is not offered on {device}; choose {', '.join(offered)}"
        )
    if device in ("cpu", "openvino") and not multiplies(precision):
        raise ModelError(f"this CPU does not compute in {precision}; leave the precision at f32")


def multiplies(precision: str) -> bool:
    """Whether the CPU itself multiplies in a precision; where that is emulated, f32 is faster."""
    if precision == "f32":
        return True
    return not (processor_flags() or _as_torch_says()).isdisjoint(INSTRUCTIONS[precision])


def _as_torch_says() -> frozenset[str]:
    """What the CPU can do, where the system does not tell."""
    import torch

    # a function of newer torch
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return frozenset(name for name, there in capabilities.items() if there)
