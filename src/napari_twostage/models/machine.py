"""What this machine computes with."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version

PACKAGES = ("napari-twostage", "torch", "zarr", "tifffile", "dask")


def describe_machine() -> dict[str, str]:
    """Versions, processors and the device that ``auto`` takes: name to description."""
    import torch

    from napari_twostage.models.model import pick_device

    return {
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
        "processors": f"{os.cpu_count()} ({torch.backends.cpu.get_cpu_capability()})",
        "threads": str(torch.get_num_threads()),
        "device": str(pick_device("auto")),
    }
