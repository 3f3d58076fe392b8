"""What this machine computes with."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version

PACKAGES = ("napari-twostage", "torch", "zarr", "tifffile", "dask")


def describe_machine() -> dict[str, str]:
    """Versions, processors and what ``auto`` computes with: name to description."""
    import torch

    from napari_twostage.models.backends import choose

    compute = choose()
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
        "processors": f"{os.cpu_count()} ({torch.backends.cpu.get_cpu_capability()})",
        "threads": str(torch.get_num_threads()),
        "compute": str(compute),
        "why": compute.why,
    }
