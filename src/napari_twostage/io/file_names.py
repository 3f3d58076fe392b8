"""Names of files that every operating system accepts."""

from __future__ import annotations

import re

_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f]')
_DEVICES = frozenset(
    ["con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))]
)
"""Names that Windows keeps for devices, with any ending."""


def safe_name(name: str) -> str:
    """Replace what some system forbids in a file name; a name that is fine stays as it is.

    Examples
    --------
    >>> safe_name("slide 1 (a).svs")
    'slide 1 (a).svs'
    >>> safe_name("12:30?. ")
    '12_30_'
    >>> safe_name("nul.svs")
    '_nul.svs'
    """
    safe = _FORBIDDEN.sub("_", name).rstrip(". ") or "_"
    is_device = safe.split(".")[0].rstrip().casefold() in _DEVICES
    return f"_{safe}" if is_device else safe
