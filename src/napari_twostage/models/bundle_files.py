"""Files of a bundle, from a folder or a zip: each is read only if it keeps its limit."""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from napari_twostage.errors import ModelError, reason_of
from napari_twostage.io.limited import read_limited

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MOST_MEMBERS = 1000
LONGEST_DIRECTORY = 1 << 20
"""Bytes of a zip's list of members."""
HIGHEST_RATIO = 100
"""Bytes unpacked per byte of a larger member; weights hardly pack at all."""
SMALL = 1 << 20
"""Bytes unpacked of a member that may have any ratio."""
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Compressions that can be unpacked in bounded parts."""
END, END_LENGTH, LONGEST_COMMENT = b"PK\x05\x06", 22, 0xFFFF
END_OF_LARGE, END_OF_LARGE_LENGTH = b"PK\x06\x07", 20
UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    IndexError,
    KeyError,
    NotImplementedError,  # a compression that Python does not know
    OSError,
    OverflowError,
    RuntimeError,  # encrypted
    ValueError,
)


def read_folder(folder: Path, limits: Mapping[str, int]) -> dict[str, bytes]:
    """Read files of a folder.

    Parameters
    ----------
    folder : Path
    limits : mapping
        Most bytes of each file, by name; others are not read.

    Returns
    -------
    dict
        Content of those files that there are, by name.

    Raises
    ------
    ModelError
        If a file is larger than its limit, or no regular file: reading a pipe or a device may
        never end.
    """
    files = {}
    for name, limit in limits.items():
        path = folder / name
        try:
            files[name] = read_limited(path, limit)
        except FileNotFoundError:
            continue
        except ValueError as error:
            raise ModelError(f"{path} {error}; get the model again") from error
        except OSError as error:
            raise ModelError(
                f"{path} cannot be read ({error.strerror}); check its permissions, or get the "
                "model again"
            ) from error
    return files


def read_zip(path: Path, limits: Mapping[str, int]) -> dict[str, bytes]:
    """Read files at the top of a zip, or in one folder of it, as `read_folder` does.

    Raises
    ------
    ModelError
        If the zip is damaged or encrypted, names a file outside of it, or holds two models or too
        many files, or a file is larger than its limit, or packed beyond all reason.
    """
    try:
        _require_small_directory(path)
        with zipfile.ZipFile(path) as archive:
            return {
                name: _unpack(archive, member, f"{name} of {path}", limits[name])
                for name, member in _members(archive, path, limits).items()
            }
    except UNREADABLE as error:
        raise ModelError(
            f"{path} is no usable model: {reason_of(error)[:150]}; get the model again"
        ) from error


def _require_small_directory(path: Path) -> None:
    """Refuse a zip whose list of members alone would fill the memory, before it is parsed."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - LONGEST_COMMENT - END_LENGTH))
        tail = file.read()
    # where zipfile looks for the end record: first without a comment, then the last of all
    for place in (len(tail) - END_LENGTH, tail.rfind(END)):
        if place < 0 or not tail.startswith(END, place):
            continue
        count, length = struct.unpack_from("<HL", tail, place + 10)
        is_large = tail.startswith(END_OF_LARGE, max(0, place - END_OF_LARGE_LENGTH))
        if is_large or length > LONGEST_DIRECTORY or count > MOST_MEMBERS:
            raise ModelError(
                f"{path} holds more than {MOST_MEMBERS} files; zip a model's folder and no more"
            )


def _members(
    archive: zipfile.ZipFile, path: Path, limits: Mapping[str, int]
) -> dict[str, zipfile.ZipInfo]:
    """Members of the one model in a zip, by file name."""
    members: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        place = PurePosixPath(member.filename)
        if place.is_absolute() or ".." in place.parts or re.search(r"[\\:\x00]", member.filename):
            raise ModelError(
                f"{path} holds {member.filename!r:.80}, which is outside of it; zip the model again"
            )
        if place.name not in limits or member.is_dir():
            continue
        if place.name in members:
            raise ModelError(f"{path} holds {place.name} twice; zip one model")
        members[place.name] = member
    if len({PurePosixPath(member.filename).parent for member in members.values()}) > 1:
        raise ModelError(f"{path} holds files of two models; zip one model")
    return members


def _unpack(archive: zipfile.ZipFile, member: zipfile.ZipInfo, where: str, limit: int) -> bytes:
    if member.file_size > limit:
        raise ModelError(
            f"{where} takes {member.file_size:,} bytes, expected at most {limit:,}; get the model "
            "again"
        )
    if member.compress_type not in METHODS:
        raise ModelError(f"{where} is packed by another method than deflate; zip the model again")
    if member.file_size > max(SMALL, HIGHEST_RATIO * member.compress_size):
        raise ModelError(
            f"{where} unpacks to more than {HIGHEST_RATIO} times its size; zip the model again"
        )
    with archive.open(member) as file:
        return file.read(member.file_size)  # at most this, whatever it unpacks to
