"""What this machine computes with."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("napari-twostage", "torch", "openvino", "zarr", "tifffile", "dask")


def describe_machine() -> dict[str, str]:
    """Versions and processors: name to description."""
    import torch

    return {
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        "processors": f"{os.cpu_count()} ({torch.backends.cpu.get_cpu_capability()})",
        "threads": str(torch.get_num_threads()),
    }


def describe_choice() -> dict[str, str]:
    """What ``auto`` computes with here, and why: name to description."""
    from napari_twostage.models.backends import choose

    compute = choose()
    return {"compute": str(compute), "why": compute.why}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
