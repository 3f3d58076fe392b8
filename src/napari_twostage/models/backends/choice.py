"""Choice of backend, device, precision and threads for a model."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING

from napari_twostage.errors import ModelError
from napari_twostage.models.backends.base import Compute
from napari_twostage.models.backends.precision import (
    AUTO,
    OFFERED,
    pick_precision,
    require_precision,
)
from napari_twostage.utils.system import may_have_gpu

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

DEVICES = ("auto", "cpu", "openvino", "cuda", "mps")
"""``cpu`` is torch's; torch's other names, such as ``cuda:1``, are accepted as well."""
ONNX_DEVICES = ("auto", "openvino", "onnxruntime")
"""Libraries that compute ONNX networks, on the CPU."""
ONNX_OFFERED = {"openvino": ("f32", "bf16"), "onnxruntime": ("f32",)}
"""Precisions by device."""
INSTALL_TORCH = "pip install 'napari-twostage[torch]'"
INSTALL_ONNX = "'napari-twostage[onnx]'"


def choose(
    device: str = "auto",
    precision: str = AUTO,
    losses: Mapping[str, float] | None = None,
    begun: str | None = None,
) -> Compute:
    """Decide what a model runs on.

    Parameters
    ----------
    device : str
        One of `DEVICES`, or torch's name for a device. ``auto`` takes a GPU if torch finds one,
        else OpenVINO if it is installed, else torch on the CPU.
    precision : str
        One of `PRECISIONS`, or ``auto``; see `pick_precision`. All but ``f32`` change labels a
        little.
    losses : mapping of str to float, optional
        Points of Dice that the model loses against f32, by precision; see `Bundle.losses`.
    begun : str, optional
        Precision of labels that are gone on with, which ``auto`` keeps.

    Raises
    ------
    ModelError
        If the device is missing, does not compute in that precision, or needs a package that is
        not installed.
    """
    device, why = _best() if device == "auto" else (device, f"{device} was asked for")
    if device == "openvino":
        _require_openvino()
        backend, made, place, kind = "openvino", version("openvino"), "cpu", "openvino"
    elif find_spec("torch"):
        import torch

        on = pick_device(device)
        backend, made, place, kind = "torch", torch.__version__, str(on), on.type
    else:
        raise ModelError(
            f"device '{device}' needs torch, which is not installed; {INSTALL_TORCH}, "
            "or take openvino"
        )
    precision, reason = _asked(precision, begun) or pick_precision(
        place if kind == "cuda" else kind, losses or {}
    )
    require_precision(precision, kind, OFFERED.get(kind, ("f32",)))
    return Compute(backend, made, place, precision, f"{why}; {reason}")


def choose_for_onnx(
    device: str = "auto", precision: str = AUTO, begun: str | None = None
) -> Compute:
    """Decide what an ONNX network runs on.

    Parameters
    ----------
    device : str
        One of `ONNX_DEVICES`. ``auto`` takes OpenVINO if it is installed, else onnxruntime.
    precision : str
        ``f32``, or with OpenVINO ``bf16``; ``auto`` is f32, for nobody has measured the others.
    begun : str, optional
        Precision of labels that are gone on with, which ``auto`` keeps.

    Raises
    ------
    ModelError
        If the library is not installed, or does not compute in that precision.
    """
    if device not in ONNX_DEVICES:
        raise ModelError(
            f"this model is an ONNX network, which does not run on device '{device}'; choose "
            f"{', '.join(ONNX_DEVICES)}"
        )
    why = f"{device} was asked for"
    if device == "auto":
        device = "openvino" if find_spec("openvino") else "onnxruntime"
        why = f"{device} runs ONNX networks on the CPU"
    if not find_spec(device):
        raise ModelError(
            f"device '{device}' needs {device}, which is not installed; "
            f"pip install {'openvino' if device == 'openvino' else INSTALL_ONNX}"
        )
    precision, reason = _asked(precision, begun) or ("f32", "f32 is the precision of its weights")
    require_precision(precision, device, ONNX_OFFERED[device])
    return Compute(device, version(device), "cpu", precision, f"{why}; {reason}")


def _asked(precision: str, begun: str | None) -> tuple[str, str] | None:
    """Precision that was asked for or is gone on with, and the reason; None if it is open."""
    if precision != AUTO:
        return precision, f"{precision} was asked for"
    return None if begun is None else (begun, f"the result was begun in {begun}")


def describe_choice(losses: Mapping[str, float]) -> dict[str, str]:
    """Choice of ``auto`` on this machine, and the reason: name to description.

    Parameters
    ----------
    losses : mapping of str to float
        See `choose`.
    """
    compute = choose(losses=losses)
    return {"compute": str(compute), "why": compute.why}


def pick_device(name: str) -> torch.device:
    """Device by torch's name; ``auto`` is a GPU if there is one, else the CPU.

    Raises
    ------
    ModelError
        If it is missing.
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
        if "evice string" in reason:  # it lists dozens that no model runs on
            raise ModelError(f"device '{name}' is unknown; choose {', '.join(DEVICES)}") from None
        raise ModelError(f"device '{name}' cannot be used here: {reason}; try cpu") from error
    return device


def thread_count() -> int:
    """Number of threads that a model is computed with.

    torch's own number if torch is loaded, because a script may have set it; else
    ``OMP_NUM_THREADS``, which torch obeys as well; else the cores that this process may use.
    """
    if sys.modules.get("torch"):
        import torch

        return torch.get_num_threads()
    wanted, _, _ = os.environ.get("OMP_NUM_THREADS", "").partition(",")
    if wanted.isdecimal() and int(wanted):
        return int(wanted)
    import psutil
    from dask.system import CPU_COUNT  # respects the limits of containers

    # two threads of one core share its multipliers
    return min(CPU_COUNT, psutil.cpu_count(logical=False) or CPU_COUNT)


def _best() -> tuple[str, str]:
    """Fastest device of this machine, and the reason."""
    gpu, torch_installed = may_have_gpu(), find_spec("torch") is not None
    device = pick_device("auto").type if gpu and torch_installed else "cpu"
    if device != "cpu":
        return device, "this machine has a GPU"
    if find_spec("openvino"):
        if gpu and not torch_installed:
            return "openvino", f"a GPU needs torch, which is not installed: {INSTALL_TORCH}"
        return "openvino", "there is no GPU; on a CPU OpenVINO is faster than torch"
    return "cpu", (
        "there is no GPU, and OpenVINO, which is faster than torch on a CPU, is not installed: "
        "pip install openvino"
    )


def _require_openvino() -> None:
    if not find_spec("openvino"):
        raise ModelError(
            "device 'openvino' needs OpenVINO, which is not installed; "
            "pip install openvino, or take cpu"
        )
