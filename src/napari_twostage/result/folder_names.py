"""Names of result folders that every operating system and disk accepts."""

from __future__ import annotations

import os
import unicodedata
from hashlib import sha256
from typing import TYPE_CHECKING

from napari_twostage.io.file_names import safe_name

if TYPE_CHECKING:
    from napari_twostage.io.paths import Location

SUFFIX = ".twostage.zarr"
_LONGEST_NAME = 200
"""Bytes: file systems take 255, and a folder has a longer name while it is made."""
_LONGEST_PATH = 180 if os.name == "nt" else None
"""Characters: Windows takes 259, and files within a result need up to 80 of them."""
_SHORTEST_NAME = 40
"""Characters that are left of a name however long the path is."""


def result_folder(folder: Location, name: str) -> Location:
    """Place a result in a folder under a name that is safe on every machine.

    Parameters
    ----------
    folder : Path or Url
        Where results are kept.
    name : str
        Name of the result, without `SUFFIX`.

    Returns
    -------
    Path or Url
        The same for the same arguments. A name that is too long is cut, and ends in a hash of
        the whole.
    """
    longest = _LONGEST_NAME
    if _LONGEST_PATH is not None:
        longest = min(longest, max(_SHORTEST_NAME, _LONGEST_PATH - len(str(folder)) - 1))
    return folder / (_cut(safe_name(name), longest - len(SUFFIX)) + SUFFIX)


def has_room(folder: Location) -> bool:
    """Whether paths of results in a folder are short enough for this system."""
    return _LONGEST_PATH is None or len(str(folder)) + 1 + _SHORTEST_NAME <= _LONGEST_PATH


def name_on_disk(name: str) -> str:
    """Key under which a disk that folds case and accents finds a name.

    Examples
    --------
    >>> name_on_disk("A.svs") == name_on_disk("a.SVS")
    True
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _cut(name: str, longest: int) -> str:
    """Shorten a name to so many bytes of UTF-8."""
    encoded = name.encode("utf-8", "surrogatepass")
    if len(encoded) <= longest:
        return name
    mark = f"~{sha256(encoded).hexdigest()[:8]}"
    return encoded[: longest - len(mark)].decode("utf-8", "ignore") + mark
