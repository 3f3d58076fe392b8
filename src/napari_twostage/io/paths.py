"""Locations of slides and results: a path of this machine, or a URL that fsspec knows."""

from __future__ import annotations

import glob
import io
import os
import re
import sys
import time
import zipfile
import zlib
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from napari_twostage.errors import LocationError, brief
from napari_twostage.io import files
from napari_twostage.io.durable import sync_folder, sync_tree, write_durably
from napari_twostage.io.url import Url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

_UNFINISHED = ".unfinished"
"""Object that is in a folder by URL until the folder is whole."""
_LONGEST_NAME = 255
"""Bytes of a file's name on Linux, and 16-bit characters elsewhere."""
_WINDOWS_PATH = 259
"""Characters of the longest path that Windows takes without a prefix."""
_INSIDE_RESULT = 100
"""Characters of the longest path inside a result folder, of a file before it takes its name."""
_ABANDONED_S = 60.0
"""Age of an unfinished folder that nobody fills any more: filling one takes a moment."""
ARRAY_BYTES = 1 << 31
"""Most bytes of the arrays in one file."""
UNREADABLE = (
    ValueError,
    KeyError,
    TypeError,
    EOFError,
    OverflowError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)
"""Errors of reading a file of arrays that is damaged, or of other arrays."""
Location = Path | Url
"""A file or folder, here or elsewhere."""


def locate(place: str | PathLike[str] | Url) -> Location:
    """Tell paths from URLs; a ``file://`` URL becomes a path.

    Raises
    ------
    LocationError
        If it is neither a path nor a URL; a name is too long for any file or has a NUL character;
        or a ``file://`` URL names another machine and this one is not a Windows machine, which
        finds shares by the machine's name.

    Examples
    --------
    >>> locate("slides/a.svs").name
    'a.svs'
    >>> locate("s3://bucket/slides/a.ome.zarr/") / "0"
    Url(text='s3://bucket/slides/a.ome.zarr/0')
    """
    if isinstance(place, Url):
        return place
    if not _is_path(place):
        raise LocationError(
            f"a path or URL was expected; found {brief(place)}; pass a text or a pathlib.Path"
        )
    if isinstance(place, str) and place.startswith("file://"):
        return _local(Path(file_url_path(place)))
    # one letter before the colon is a drive: C://slides
    if not isinstance(place, str) or not re.match(r"[^/\\:]{2,}://", place):
        return _local(Path(place))
    return Url(place.rstrip("/"))


def _is_path(place: object) -> bool:
    return isinstance(place, str | PathLike) and not isinstance(os.fspath(place), bytes)


def file_url_path(url: str, *, windows: bool = os.name == "nt") -> str:
    r"""Path that a ``file://`` URL names.

    Raises
    ------
    LocationError
        If it is on another machine and `windows` is False.

    Examples
    --------
    >>> file_url_path("file:///data/a%20b.svs", windows=False)
    '/data/a b.svs'
    >>> print(file_url_path("file:///C:/data/a.svs", windows=True))
    C:\data\a.svs
    >>> print(file_url_path("file://server/share/a.svs", windows=True))
    \\server\share\a.svs
    """
    parts = urlsplit(url)
    host = "" if parts.netloc.lower() == "localhost" else parts.netloc
    path = unquote(parts.path)
    if not windows:
        if host:
            raise LocationError(
                f"{url} names a file on the machine {host}, expected one on this machine; "
                "mount the share and give its path, as in file:///mnt/share/slide.svs"
            )
        return path
    if re.match(r"/[A-Za-z]:", path):
        path = path[1:]
    return (f"//{host}{path}" if host else path).replace("/", "\\")


def extended_path(path: str) -> str:
    r"""Absolute Windows path in the form whose length has no limit.

    Examples
    --------
    >>> print(extended_path(r"C:\data\a.svs"))
    \\?\C:\data\a.svs
    >>> print(extended_path(r"\\server\share\a.svs"))
    \\?\UNC\server\share\a.svs
    """
    if path.startswith("\\\\?\\"):
        return path
    if path.startswith("\\\\"):
        return "\\\\?\\UNC\\" + path[2:]
    return "\\\\?\\" + path


def _local(path: Path) -> Path:
    """A path that this system can open, or could if there were such a file."""
    if "\0" in str(path):
        raise LocationError(
            f"{str(path)[:40]!r} has a NUL character, which no path has; correct it"
        )
    for name in path.parts:
        size = len(os.fsencode(name))
        if sys.platform != "linux":
            size = len(name.encode("utf-16-le", "surrogatepass")) // 2
        if size > _LONGEST_NAME:
            raise LocationError(
                f"{name[:40]}... is a name of {size} bytes, a file system takes {_LONGEST_NAME}; "
                "choose a shorter one"
            )
    if os.name == "nt":
        # not Path.absolute: a path in the extended form must have no ".."
        whole = os.path.abspath(path.expanduser())  # noqa: PTH100
        if len(whole) > _WINDOWS_PATH - _INSIDE_RESULT:
            return Path(extended_path(whole))
    return path


def same_file(first: Location, second: Location) -> bool:
    """Whether two locations are one file, however their names are spelt."""
    if first == second:
        return True
    if isinstance(first, Url) or isinstance(second, Url):
        return False
    try:
        return first.samefile(second)
    except OSError:
        return False


def is_folder(location: Location) -> bool:
    """Whether this is a folder; for a URL judged by its name, as web servers cannot tell."""
    if isinstance(location, Url):
        return any(part.endswith(".zarr") for part in location.text.split("/"))
    try:
        return location.is_dir()
    except OSError:  # such as a path longer than the system takes; opening it tells
        return False


def read_whole(location: Location) -> bytes:
    """All of a file that may be replaced at this moment; FileNotFoundError where there is none."""
    return location.read_bytes() if isinstance(location, Url) else files.read_file(location)


def write_whole(location: Location, data: bytes) -> None:
    """Write a file so that a crash or a power cut leaves the old one or the new one."""
    if isinstance(location, Url):
        location.write_bytes(data)
    else:
        write_durably(location, data)


def save_arrays(location: Location, **arrays: ArrayLike) -> None:
    """Write small arrays by name into one ``.npz`` file; see `write_whole`."""
    import numpy as np  # importing the package does not

    data = io.BytesIO()
    np.savez_compressed(data, **arrays)  # type: ignore[arg-type]  # its one flag
    write_whole(location, data.getvalue())


def load_arrays(location: Location, limit: int = ARRAY_BYTES) -> dict[str, NDArray[Any]]:
    """Read the arrays of `save_arrays`; FileNotFoundError where there is no file.

    Parameters
    ----------
    location : Path or Url
        The file.
    limit : int
        Bytes that all arrays may take together.

    Raises
    ------
    one of `UNREADABLE`
        If it is no such file, or holds more than the limit.
    """
    import numpy as np

    data = io.BytesIO(read_whole(location))
    with zipfile.ZipFile(data) as members:
        if sum(member.file_size for member in members.infolist()) > limit:
            raise ValueError(f"it holds more than {limit} bytes")
    with np.load(data, allow_pickle=False) as saved:
        return dict(saved)


def remove_tree(location: Location) -> None:
    """Remove a folder and all that is in it."""
    if isinstance(location, Url):
        location.remove_tree()
    else:
        files.remove_folder(location)


def remove_file(location: Location) -> None:
    """Remove a file."""
    if isinstance(location, Url):
        location.unlink()
    else:
        files.remove_file(location)


@contextmanager
def atomic_folder(folder: Location) -> Iterator[Location]:
    """Fill a folder that appears whole under its name, or not at all; see `is_vacant`.

    Raises
    ------
    OSError
        If another process came first: a folder that is not empty has the name.
    """
    if isinstance(folder, Url):
        mark = folder / _UNFINISHED
        mark.write_bytes(b"")
        yield folder
        mark.unlink()
        return
    _remove_abandoned(folder)
    unfinished = files.name_aside(folder.with_name(f".{folder.name}"))
    try:
        yield unfinished
        sync_tree(unfinished)
        with suppress(OSError):
            folder.rmdir()  # an empty one may be in the way
        files.rename(unfinished, folder)
    except BaseException:
        if unfinished.exists():
            files.remove_folder(unfinished)
        raise
    sync_folder(folder.parent)


def _remove_abandoned(folder: Path) -> None:
    """Remove what processes left that were killed while they filled this folder."""
    start = files.name_aside(folder.with_name(f".{folder.name}")).name.rsplit(".", 2)[0]
    for place in folder.parent.glob(f"{glob.escape(start)}.*{files.ASIDE}"):
        with suppress(OSError):
            if time.time() - place.stat().st_mtime > _ABANDONED_S:
                files.remove_folder(place)


def is_vacant(folder: Location) -> bool:
    """Whether nothing is there but an empty folder, or one whose filling was cut short."""
    if isinstance(folder, Path) and not folder.is_dir():
        return not folder.exists()
    names = {one.name for one in folder.iterdir()}
    return not names or (isinstance(folder, Url) and _UNFINISHED in names)


def seen_from(folder: Location, place: Location | None) -> str | None:
    """Path of a place as seen from a folder, with slashes on every system.

    None by URL, from another drive of Windows, and of no place.

    Examples
    --------
    >>> seen_from(Path("out/a.zarr"), Path("slides/a.svs"))
    '../../slides/a.svs'
    """
    if not isinstance(place, Path) or not isinstance(folder, Path):
        return None
    try:
        return Path(os.path.relpath(place.absolute(), folder.absolute())).as_posix()
    except ValueError:
        return None
