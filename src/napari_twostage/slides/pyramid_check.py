"""Verification of the coarse levels that were made for a slide, file by file."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from napari_twostage.io.regular import read_regular
from napari_twostage.io.zarr_store import METADATA_BYTES

if TYPE_CHECKING:
    from napari_twostage.io.paths import Location

MARKER = "complete.json"
"""File that is there once a pyramid is finished; without it the next run makes it again."""


def checksums(folder: Location) -> dict[str, int]:
    """Checksum of each file of a pyramid, by its name in the folder; none by URL."""
    if not isinstance(folder, Path):
        return {}
    return {name: zlib.crc32((folder / name).read_bytes()) for name in _names(folder)}


def damaged_file(folder: Location) -> str | None:
    """Find a file of a finished pyramid that is not as it was written.

    A missing chunk would be read as black, a damaged one perhaps as other pixels.

    Returns
    -------
    str or None
        Name in the folder; None if all are whole, or it is not known how they were.
    """
    if not isinstance(folder, Path) or not (folder / MARKER).exists():
        return None
    try:
        marker = json.loads(read_regular(folder / MARKER, 0, None, METADATA_BYTES))
        expected = {str(name): int(sum_) for name, sum_ in marker.get("files", {}).items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return MARKER
    there = set(_names(folder)) if expected else set()
    for name, checksum in expected.items():
        try:
            if name not in there or zlib.crc32((folder / name).read_bytes()) != checksum:
                return name
        except OSError:
            return name
    return None


def _names(folder: Path) -> list[str]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != MARKER)
    return sorted(path.relative_to(folder).as_posix() for path in files)
