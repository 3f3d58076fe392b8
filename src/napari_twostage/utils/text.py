"""Text that every file and stream takes."""

from __future__ import annotations

import re

_SURROGATE = re.compile("[\ud800-\udfff]")


def printable(text: str) -> str:
    r"""Text without surrogates: Python's stand-ins for bytes of file names that are no UTF-8.

    Examples
    --------
    >>> print(printable("slide\udcff.svs"))
    slide\xff.svs
    >>> print(printable("é.svs"))
    é.svs
    """
    return _SURROGATE.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    number = ord(found.group())
    return f"\\x{number - 0xDC00:02x}" if 0xDC80 <= number <= 0xDCFF else f"\\u{number:04x}"
