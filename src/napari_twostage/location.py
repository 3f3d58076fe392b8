"""Where slides and results are: a path of this machine, or a URL that fsspec knows.

`Url` has the part of pathlib's interface that this package uses, so that most code need not know
which of both it was given. An object store differs in two ways: an object is replaced as a whole
or not at all, which makes every write atomic, and nothing can be renamed or appended to.
"""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from napari_twostage.errors import TransferError
from napari_twostage.remote import filesystem, transfer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike

_UNFINISHED = ".unfinished"
"""An object that stands in a folder by URL until it is whole."""


@dataclass(frozen=True, slots=True)
class Url:
    """A file or folder on another machine.

    Everything that touches it raises TransferError, in one line, where it cannot be reached, and
    FileNotFoundError where there is nothing.

    Parameters
    ----------
    text : str
        With scheme, without a slash at the end: ``https://host/slide.svs``.
    """

    text: str

    def __str__(self) -> str:
        return self.text

    def __truediv__(self, name: str) -> Url:
        return Url(f"{self.text}/{name}")

    @property
    def name(self) -> str:
        """The last part, without the query of a signed address."""
        return self._bare.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """The name's ending, with its dot."""
        return Path(self.name).suffix

    @property
    def parent(self) -> Url:
        """The folder that this is in."""
        return Url(self._bare.rpartition("/")[0])

    def with_name(self, name: str) -> Url:
        """Give a sibling."""
        return self.parent / name

    def absolute(self) -> Url:
        """Give itself: a URL depends on no working folder."""
        return self

    def resolve(self) -> Url:
        """Give itself: a URL knows no links."""
        return self

    def expanduser(self) -> Url:
        """Give itself: a URL knows no home."""
        return self

    @property
    def _bare(self) -> str:
        return self.text.partition("?")[0] if self.text.startswith("http") else self.text

    # -- reading ------------------------------------------------------------------------------

    def exists(self) -> bool:
        """Whether there is an object of this name, or any below it."""
        return self._kind is not None

    def is_file(self) -> bool:
        """Whether there is an object of this very name."""
        return self._kind == "file"

    @property
    def _kind(self) -> str | None:
        try:
            with transfer(self.text):
                fs, path = filesystem(self.text)
                return str(fs.info(path)["type"])
        except FileNotFoundError:
            return None

    def is_dir(self) -> bool:
        """Whether there are objects below it; web servers cannot tell."""
        return any(self.iterdir())

    def iterdir(self) -> Iterator[Url]:
        """What is directly below; nothing where there is no such folder."""
        try:
            with transfer(self.text):
                fs, path = filesystem(self.text)
                names = [str(name) for name in fs.ls(path, detail=False)]
        except (FileNotFoundError, NotADirectoryError):
            return
        yield from (self / name.rstrip("/").rpartition("/")[2] for name in names if name != path)

    def size(self) -> int:
        """Bytes of a file that can be read in parts.

        Raises
        ------
        TransferError
            Also where the server sends files as a whole only.
        """
        with transfer(self.text):
            fs, path = filesystem(self.text)
            with fs.open(path, "rb", cache_type="none") as file:
                try:  # a server that answers with the whole file is found out by its headers
                    file.seek(1)
                    file.read(1)
                except ValueError as error:
                    if fs.size(path) == 0:  # nothing has no parts
                        return 0
                    raise TransferError(
                        f"{self} cannot be read in parts: its server sends files as a whole only, "
                        "without byte ranges; download it, or convert it to OME-Zarr"
                    ) from error
                return int(file.size)

    def read_bytes(self) -> bytes:
        """All of a file."""
        with transfer(self.text):
            fs, path = filesystem(self.text)
            return bytes(fs.cat_file(path))

    def read_range(self, start: int, stop: int) -> bytes:
        """Bytes [start, stop) of a file; fewer where it ends early."""
        with transfer(self.text):
            fs, path = filesystem(self.text)
            return bytes(fs.cat_file(path, start=start, end=stop))

    def read_text(self) -> str:
        """All of a text file, in UTF-8."""
        return self.read_bytes().decode()

    # -- writing ------------------------------------------------------------------------------

    def write_bytes(self, data: bytes, *, new: bool = False) -> None:
        """Put an object in its place.

        Parameters
        ----------
        data : bytes
            All of it.
        new : bool
            Raise FileExistsError where there is one already, rather than replace it.
        """
        with transfer(self.text, writing=True):
            fs, path = filesystem(self.text)
            # only where it is needed: not every backend knows the word
            fs.pipe_file(path, data, **({"mode": "create"} if new else {}))

    def upload(self, source: Path) -> None:
        """Copy a local file or folder to here; a folder's own metadata come last."""
        with transfer(self.text, writing=True):
            fs, path = filesystem(self.text)
            if source.is_file():
                fs.put_file(str(source), path)
                return
            for file in sorted(source.rglob("*"), key=lambda one: -len(one.parts)):
                if file.is_file():
                    fs.put_file(str(file), f"{path}/{file.relative_to(source).as_posix()}")

    def unlink(self) -> None:
        """Remove an object."""
        with transfer(self.text):
            fs, path = filesystem(self.text)
            fs.rm_file(path)

    def remove_tree(self) -> None:
        """Remove all objects below."""
        with transfer(self.text):
            fs, path = filesystem(self.text)
            fs.rm(path, recursive=True)

    def mkdir(self, **_options: Any) -> None:  # noqa: ANN401 - those of pathlib
        """Do nothing: folders by URL come with what is put into them."""


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
def appearing(folder: Location) -> Iterator[Location]:
    """Fill the folder that this gives; under its name it is found whole or, see `vacant`, not."""
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


def vacant(folder: Location) -> bool:
    """Whether nothing is there but an empty folder, or one whose filling was cut short."""
    if isinstance(folder, Path) and not folder.is_dir():
        return not folder.exists()
    names = {one.name for one in folder.iterdir()}
    return not names or (isinstance(folder, Url) and _UNFINISHED in names)
