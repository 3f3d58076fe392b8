"""Keep large activations in the process: what glibc gives back, the kernel must zero again."""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEEP_BYTES = 1 << 30


def tune_allocator() -> bool:
    """Tell glibc to reuse big blocks; call it before the first large tensor is made.

    Returns
    -------
    bool
        Whether the C library took both settings; it is not glibc elsewhere than on Linux.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False  # another C library, such as musl
    return bool(mallopt(M_MMAP_THRESHOLD, KEEP_BYTES)) and bool(
        mallopt(M_TRIM_THRESHOLD, KEEP_BYTES)
    )
