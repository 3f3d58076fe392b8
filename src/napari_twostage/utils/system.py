"""Facts about this system: versions, processors, and whether a GPU may be there."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("napari-twostage", "torch", "openvino", "zarr", "tifffile", "dask")
FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "sve")
"""Processor features that decide how fast it multiplies, by Linux's names."""


def describe_machine(threads: int) -> dict[str, str]:
    """Processor, threads and versions: name to description.

    Parameters
    ----------
    threads : int
        Number of threads that models are computed with.
    """
    return {
        "processor": describe_processor(),
        "threads": str(threads),
        "python": platform.python_version(),
        **{name: package_version(name) for name in PACKAGES},
    }


def package_version(name: str) -> str:
    """Version of an installed package, read without importing it; else ``not installed``."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def describe_processor() -> str:
    """Name, number and features of the processors, as far as the system reports them."""
    flags = processor_flags()
    described = [
        processor_name(),
        f"{os.cpu_count()} processors",
        *(f for f in FEATURES if f in flags),
    ]
    return ", ".join(described)


def processor_flags() -> frozenset[str]:
    """Features of the processor by Linux's names; empty on other systems."""
    facts = _cpu_facts()
    return frozenset(facts.get("flags", facts.get("Features", "")).split())


def processor_name() -> str:
    """Name of the processor; Python itself knows it on few systems."""
    return _cpu_facts().get("model name") or platform.processor() or platform.machine()


def may_have_gpu() -> bool:
    """Whether there is a driver of a GPU that torch could use.

    Without one, torch need not be imported to ask: that takes seconds and half a gigabyte.
    """
    if sys.platform == "darwin" or Path("/dev/kfd").exists():  # Apple's, AMD's
        return True
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def _cpu_facts() -> dict[str, str]:
    """Linux's description of the first processor; empty on other systems."""
    try:
        first, _, _ = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("\n\n")
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}
