"""Stores for zarr: folders of this machine, and URLs through fsspec."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import FsspecStore, LocalStore

from napari_twostage.errors import TransferError
from napari_twostage.io.addresses import without_secrets
from napari_twostage.io.reading import WHOLE_BYTES, read_part
from napari_twostage.io.regular import read_regular
from napari_twostage.io.remote import filesystem, transfer

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype

    from napari_twostage.io.paths import Location

METADATA_BYTES = 4 << 20
"""Longest file of metadata; those of a slide have a few thousand bytes."""
_METADATA = ("zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata")
_NOTHING_THERE = (FileNotFoundError, IsADirectoryError, NotADirectoryError)
_CHECK_S = 5.0
"""Seconds after which a file by URL is asked again whether it is still the same."""


def store_at(place: Location) -> Path | FsspecStore:
    """Store of a folder that this package wrote, for zarr's functions.

    Raises
    ------
    TransferError
        If a URL's backend is not installed; later, from zarr, if it cannot be reached.
    """
    if isinstance(place, Path):
        return place
    fs, path = _async_filesystem(place.text)
    return _UrlStore(fs, path=path)


def read_only_store(place: Location) -> FolderStore | UrlStore:
    """Store of a folder that may hold anything.

    Pipes and devices are not opened, and longer files than `METADATA_BYTES` or the store's
    `most_bytes` are not read: both are errors, not missing files. By URL, metadata that change
    while the folder is read raise TransferError.
    """
    if isinstance(place, Path):
        return FolderStore(place, read_only=True)
    return UrlStore(*_async_filesystem(place.text), read_only=True)


def _async_filesystem(url: str) -> tuple[Any, str]:
    fs, path = filesystem(url, asynchronous=True)  # zarr awaits it in a loop of its own
    if not fs.async_impl:
        from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper

        fs = AsyncFileSystemWrapper(fs, asynchronous=True)
    return fs, path


def _span(byte_range: ByteRequest | None) -> tuple[int, int | None]:
    """First byte, negative if counted from the end, and the end of what zarr asks for."""
    if isinstance(byte_range, RangeByteRequest):
        return byte_range.start, byte_range.end
    if isinstance(byte_range, OffsetByteRequest):
        return byte_range.offset, None
    if isinstance(byte_range, SuffixByteRequest):
        return -byte_range.suffix, None
    return 0, None


def _is_metadata(key: str) -> bool:
    return key.rpartition("/")[2] in _METADATA


class FolderStore(LocalStore):
    """Folder of this machine that may hold anything; see `read_only_store`."""

    most_bytes = WHOLE_BYTES
    """Most bytes of a chunk's file that are read at once."""

    async def get(
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Read a file, or a part; None if there is none."""
        return await asyncio.to_thread(
            self.get_sync, key, prototype=prototype, byte_range=byte_range
        )

    def get_sync(
        self,
        key: str,
        *,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Do the same in the caller's thread, as newer zarr does."""
        limit = METADATA_BYTES if _is_metadata(key) else self.most_bytes
        try:
            data = read_regular(self.root / key, *_span(byte_range), limit)
        except _NOTHING_THERE:
            return None
        return (prototype or default_buffer_prototype()).buffer.from_bytes(data)


class _UrlStore(FsspecStore):
    """Store that raises TransferError if a chunk cannot be reached.

    zarr treats missing chunks as empty, and our readers treat zarr's errors as damage: neither
    must happen because of the network.
    """

    most_bytes = WHOLE_BYTES
    """Most bytes of a chunk's object that are read at once."""

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        limit = METADATA_BYTES if _is_metadata(key) else self.most_bytes
        path = f"{self.path}/{key}"
        try:
            with transfer(self._url(key)):
                part = await read_part(self.fs, path, *_span(byte_range), most_bytes=limit)
        except _NOTHING_THERE:
            return None
        self._note(key, part.data + part.tag.encode())
        return prototype.buffer.from_bytes(part.data)

    def _note(self, key: str, content: bytes) -> None:
        """Take note of what was read."""

    async def set(self, key: str, value: Buffer, byte_range: tuple[int, int] | None = None) -> None:
        with transfer(self._url(key), writing=True):
            await super().set(key, value, byte_range)

    async def delete(self, key: str) -> None:
        with transfer(self._url(key)):
            await super().delete(key)

    async def delete_dir(self, prefix: str) -> None:
        with transfer(self._url(prefix)):
            await super().delete_dir(prefix)

    def _url(self, key: str) -> str:
        return str(self.fs.unstrip_protocol(f"{self.path}/{key}"))


class UrlStore(_UrlStore):
    """Folder by URL that may hold anything; see `read_only_store`."""

    def __init__(self, fs: Any, path: str, *, read_only: bool) -> None:  # noqa: ANN401
        super().__init__(fs, path=path, read_only=read_only)
        self._first: dict[str, bytes] = {}
        self._checked = time.monotonic()

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Read an object, or a part; None if there is none."""
        found = await super().get(key, prototype, byte_range)
        if not _is_metadata(key) and time.monotonic() - self._checked > _CHECK_S:
            self._checked = time.monotonic()
            for watched in self._first:
                if await super().get(watched, prototype) is None:
                    self._note(watched, b"")
        return found

    def _note(self, key: str, content: bytes) -> None:
        """Compare metadata with what they were at first."""
        if _is_metadata(key) and self._first.setdefault(key, content) != content:
            raise TransferError(
                f"{without_secrets(self._url(key))} was changed while it was read; open it again"
            )
