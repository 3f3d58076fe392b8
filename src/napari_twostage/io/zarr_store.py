"""Stores for zarr: folders of this machine, and URLs through fsspec."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from zarr.storage import FsspecStore

from napari_twostage.io.remote import filesystem, transfer

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype

    from napari_twostage.io.paths import Location


def store_at(place: Location) -> Path | FsspecStore:
    """Store of a folder, for zarr's functions.

    Raises
    ------
    TransferError
        If a URL's backend is not installed; later, from zarr, if it cannot be reached.
    """
    if isinstance(place, Path):
        return place
    fs, path = filesystem(place.text, asynchronous=True)  # zarr awaits it in a loop of its own
    if not fs.async_impl:
        from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper

        fs = AsyncFileSystemWrapper(fs, asynchronous=True)
    return _UrlStore(fs, path=path)


class _UrlStore(FsspecStore):
    """Store that raises TransferError if a chunk cannot be reached.

    zarr treats missing chunks as empty, and our readers treat zarr's errors as damage: neither
    must happen because of the network.
    """

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        with transfer(self._url(key)):
            return await super().get(key, prototype, byte_range)

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
