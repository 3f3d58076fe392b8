"""Where slides and results are: a path of this machine, or a URL that fsspec knows."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

from napari_twostage.io.url import Url

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike

_UNFINISHED = ".unfinished"
"""An object that stands in a folder by URL until it is whole."""

Location = Path | Url
"""A file or folder, here or elsewhere."""


def locate(place: str | PathLike[str] | Url) -> Location:
    """Tell paths from URLs.

    Examples
    --------
    >>> locate("slides/a.svs").name
    'a.svs'
    >>> locate("s3://bucket/slides/a.ome.zarr/") / "0"
    Url(text='s3://bucket/slides/a.ome.zarr/0')
    """
    if isinstance(place, Url):
        return place
    if not isinstance(place, str) or "://" not in place:
        return Path(place)
    if place.startswith("file://"):
        return Path(url2pathname(urlsplit(place).path))
    return Url(place.rstrip("/"))


def is_folder(location: Location) -> bool:
    """Whether this is a folder; of a URL its name tells, as a web server cannot."""
    if isinstance(location, Url):
        return any(part.endswith(".zarr") for part in location.text.split("/"))
    return location.is_dir()


def write_whole(location: Location, data: bytes) -> None:
    """Write a file so that a crash leaves the old one or the new one."""
    if isinstance(location, Url):
        location.write_bytes(data)
        return
    partial = location.with_name(f"{location.name}.partial")
    partial.write_bytes(data)
    partial.replace(location)


def remove_tree(location: Location) -> None:
    """Remove a folder and all that is in it."""
    if isinstance(location, Url):
        location.remove_tree()
    else:
        shutil.rmtree(location)


@contextmanager
def atomic_folder(folder: Location) -> Iterator[Location]:
    """Fill a folder that appears whole under its name, or not at all; see `is_vacant`."""
    if isinstance(folder, Url):
        mark = folder / _UNFINISHED
        mark.write_bytes(b"")
        yield folder
        mark.unlink()
        return
    unfinished = folder.with_name(f".{folder.name}.partial")
    if unfinished.exists():  # a process was killed right here
        shutil.rmtree(unfinished)
    yield unfinished
    unfinished.rename(folder)


def is_vacant(folder: Location) -> bool:
    """Whether nothing is there but an empty folder, or one whose filling was cut short."""
    if isinstance(folder, Path) and not folder.is_dir():
        return not folder.exists()
    names = {one.name for one in folder.iterdir()}
    return not names or (isinstance(folder, Url) and _UNFINISHED in names)
