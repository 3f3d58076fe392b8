"""Reads of files from elsewhere, each with a limit that is checked before memory is taken."""

from __future__ import annotations

import stat
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def read_limited(path: Path, limit: int) -> bytes:
    """All of a regular file that has at most `limit` bytes.

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If it is larger, or a pipe, a device or a folder, which may never end; in words that follow
        the file's name.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise ValueError("is no regular file")
    if found.st_size > limit:
        raise ValueError(f"takes {found.st_size:,} bytes, expected at most {limit:,}")
    with path.open("rb") as file:
        return file.read(found.st_size)


def gunzip_limited(packed: bytes, limit: int) -> bytes:
    """Unpack gzip to at most `limit` bytes.

    Raises
    ------
    ValueError
        If it unpacks to more, or is damaged; in words that follow the file's name.
    """
    unpacker = zlib.decompressobj(wbits=31)
    try:
        content = unpacker.decompress(packed, limit)
    except zlib.error as error:
        raise ValueError(f"is no readable gzip file: {error}") from error
    if unpacker.unconsumed_tail:
        raise ValueError(f"unpacks to more than {limit:,} bytes")
    if not unpacker.eof:
        raise ValueError("is a gzip file that was cut short")
    return content
