"""URLs with the part of pathlib's interface that this package uses.

Most code need not know whether it was given a path or a URL. An object store differs in two
ways: an object is replaced as a whole or not at all, which makes every write atomic, and nothing
can be renamed or appended to.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from napari_twostage.io.addresses import without_password
from napari_twostage.io.reading import (
    WHOLE_BYTES,
    Part,
    in_whole_only,
    is_web,
    linked_names,
    look_at,
    read_part_now,
    run,
)
from napari_twostage.io.remote import filesystem, transfer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


_TAGS = ("ETag", "etag", "LastModified", "last_modified", "updated", "mtime", "created")
"""Facts of an object that change with it, by the names that fsspec's backends give them."""


@dataclass(frozen=True, slots=True)
class Url:
    """A file or folder on another machine.

    Every access raises TransferError, in one line, if the file cannot be reached, and
    FileNotFoundError if there is none.

    Parameters
    ----------
    text : str
        URL with its scheme, without a slash at the end: ``https://host/slide.svs``. A user
        and password in it are used, but not shown: ``str``, and so records, are without them.
    """

    text: str

    def __str__(self) -> str:
        return without_password(self.text)

    def __repr__(self) -> str:
        return f"Url(text={str(self)!r})"

    def __truediv__(self, name: str) -> Url:
        return Url(f"{self.text}/{name}")

    @property
    def name(self) -> str:
        """Last part of the path, without the query of a signed address."""
        return without_password(self._bare).rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """Ending of the name, with its dot."""
        return PurePosixPath(self.name).suffix

    @property
    def parent(self) -> Url:
        """Folder that contains it."""
        return Url(self._bare.rpartition("/")[0])

    def with_name(self, name: str) -> Url:
        """URL of a sibling."""
        return self.parent / name

    def absolute(self) -> Url:
        """The same URL, which depends on no working folder."""
        return self

    def resolve(self) -> Url:
        """The same URL, which has no links."""
        return self

    def expanduser(self) -> Url:
        """The same URL, which has no home folder."""
        return self

    @property
    def _bare(self) -> str:
        return self.text.partition("?")[0] if self.text.startswith("http") else self.text

    # -- reading ------------------------------------------------------------------------------

    def exists(self) -> bool:
        """Whether there is an object of this name, or one below it."""
        return self._kind is not None

    def is_file(self) -> bool:
        """Whether there is an object of exactly this name."""
        return self._kind == "file"

    @property
    def _kind(self) -> str | None:
        try:
            with transfer(self.text):
                fs, path = filesystem(self.text)
                if is_web(fs):
                    run(fs, look_at, fs, path)
                    return "file"
                return str(fs.info(path)["type"])
        except FileNotFoundError:
            return None

    def is_dir(self) -> bool:
        """Whether there are objects below it; a web server may not tell."""
        return any(self.iterdir())

    def iterdir(self) -> Iterator[Url]:
        """URLs directly below; none if there is no such folder."""
        try:
            with transfer(self.text):
                fs, path = filesystem(self.text)
                if is_web(fs):
                    names = run(fs, linked_names, fs, path)
                else:
                    names = [str(name) for name in fs.ls(path, detail=False)]
        except (FileNotFoundError, NotADirectoryError):
            return
        yield from (self / name.rstrip("/").rpartition("/")[2] for name in names if name != path)

    def size(self) -> int:
        """Size in bytes of a file that can be read in parts.

        Raises
        ------
        TransferError
            Also if the server sends files as a whole only.
        """
        return self.state().size or 0

    def state(self) -> Part:
        """Size of a file that can be read in parts, and a tag that changes with it; no data.

        Raises
        ------
        TransferError
            Also if the server sends files as a whole only.
        """
        with transfer(self.text):
            fs, path = filesystem(self.text)
            if is_web(fs):
                found: Part = run(fs, look_at, fs, path)
                if found.size is None:
                    raise in_whole_only(self.text)
                return found
            info = fs.info(path)
            tags = (str(info[key]) for key in _TAGS if info.get(key))
            return Part(b"", int(info["size"] or 0), next(tags, ""))

    def read_bytes(self) -> bytes:
        """Bytes of a whole file; ReadError if it is longer than any that is read as a whole."""
        with transfer(self.text):
            fs, path = filesystem(self.text)
            return read_part_now(fs, path, most_bytes=WHOLE_BYTES).data

    def read_range(self, start: int, stop: int) -> bytes:
        """Bytes [start, stop) of a file; fewer if it ends early."""
        return self.read_part(start, stop).data

    def read_part(self, start: int, stop: int) -> Part:
        """Bytes [start, stop) of a file, with the size and tag that came with them."""
        if stop <= start:
            return Part(b"")
        with transfer(self.text):
            fs, path = filesystem(self.text)
            return read_part_now(fs, path, start, stop, most_bytes=stop - start)

    def read_text(self) -> str:
        """Text of a whole file, in UTF-8."""
        return self.read_bytes().decode()

    # -- writing ------------------------------------------------------------------------------

    def write_bytes(self, data: bytes, *, new: bool = False) -> None:
        """Write an object, replacing any older one.

        Parameters
        ----------
        data : bytes
            Content of the object.
        new : bool
            Raise FileExistsError if there is one already.
        """
        with transfer(self.text, writing=True):
            fs, path = filesystem(self.text)
            # passed only if needed: not every backend knows this argument
            fs.pipe_file(path, data, **({"mode": "create"} if new else {}))

    def upload(self, source: Path) -> None:
        """Copy a local file or folder to this URL; files at the top of a folder come last."""
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
