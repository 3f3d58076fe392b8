"""What this machine computes with, as far as it is known without torch.

Importing torch takes seconds and half a gigabyte: whoever computes with OpenVINO goes without.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from napari_twostage.utils.timing import describe_processor

PACKAGES = ("napari-twostage", "torch", "openvino", "zarr", "tifffile", "dask")


def describe_machine() -> dict[str, str]:
    """Versions and processors: name to description."""
    return {
        "processor": describe_processor(),
        "threads": str(thread_count()),
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
    }


def describe_choice() -> dict[str, str]:
    """What ``auto`` computes with here, and why: name to description."""
    from napari_twostage.models.backends import choose

    compute = choose()
    return {"compute": str(compute), "why": compute.why}


def thread_count() -> int:
    """Threads that a model is computed with.

    Where torch is loaded its own number, which a script may have set; else ``OMP_NUM_THREADS``,
    which torch goes by as well, else the cores that this process may use.
    """
    if "torch" in sys.modules:
        import torch

        return torch.get_num_threads()
    wanted, _, _ = os.environ.get("OMP_NUM_THREADS", "").partition(",")
    if wanted.isdecimal() and int(wanted):
        return int(wanted)
    import psutil
    from dask.system import CPU_COUNT  # what containers allow, too

    # two threads of one core share what multiplies
    return min(CPU_COUNT, psutil.cpu_count(logical=False) or CPU_COUNT)


def may_have_gpu() -> bool:
    """Whether there is a driver of a GPU that torch could use, so that it is worth asking."""
    if sys.platform == "darwin" or Path("/dev/kfd").exists():  # Apple's, AMD's
        return True
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
