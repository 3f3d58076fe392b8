"""Bytes of a slide's file, on disk or by URL, read by several threads at any position."""

from __future__ import annotations

import io
import os
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_twostage.errors import TransferError
from napari_twostage.io.url import Url
from napari_twostage.slides.tile_cache import TileCache

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_twostage.io.paths import Location

_BLOCK_BYTES = 1 << 18
"""Bytes of one request by URL: about eight JPEG tiles, stored row by row in most files."""
_HELD_BYTES = 64 << 20
_AT_ONCE = 8
"""Concurrent requests of each caller: servers have a high latency rather than a low bandwidth."""


def byte_source(path: Location) -> PositionedFile | RemoteFile:
    """Open a file for reading."""
    return RemoteFile(path) if isinstance(path, Url) else PositionedFile(path)


class PositionedFile:
    """A file on disk that several threads read at once, each at its own position.

    Parameters
    ----------
    path : Path
        File to open.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        self.size = os.fstat(self._descriptor).st_size
        # lazy levels outlive the block that opened the slide: the last of them closes the file
        self._closing = weakref.finalize(self, os.close, self._descriptor)
        self._lock = threading.Lock()

    def read(self, offset: int, count: int) -> bytes:
        """Read `count` bytes; fewer if the file ends early."""
        data = self._read_some(offset, count)
        while len(data) < count and (
            more := self._read_some(offset + len(data), count - len(data))
        ):
            data += more  # a network drive may return a part of what was asked for
        return data

    def _read_some(self, offset: int, count: int) -> bytes:
        if hasattr(os, "pread"):
            self._check_open()
            return os.pread(self._descriptor, count, offset)
        with self._lock:  # Windows has no positioned read: seek and read must not be separated
            self._check_open()
            os.lseek(self._descriptor, offset, os.SEEK_SET)
            return os.read(self._descriptor, count)

    def _check_open(self) -> None:
        if not self._closing.alive:
            raise ValueError("the slide was closed")

    def close(self) -> None:
        """Close the file; reading afterwards raises ValueError."""
        with self._lock:
            self._closing()


class RemoteFile:
    """A file by URL, read in blocks; the blocks used last are kept in memory.

    Parameters
    ----------
    url : Url
        File to read; its server must support byte ranges.

    Raises
    ------
    TransferError
        If the server does not; here or in later calls, if it cannot be reached.
    """

    def __init__(self, url: Url) -> None:
        self._url = url
        self.size = url.size()
        self._held = TileCache(_HELD_BYTES)
        self._closed = False

    def read(self, offset: int, count: int) -> bytes:
        """Read `count` bytes; fewer if the file ends early."""
        if self._closed:
            raise ValueError("the slide was closed")
        end = min(offset + count, self.size)
        if end <= offset:
            return b""
        numbers = self._numbers(offset, end)
        blocks, start = self._blocks(numbers), numbers[0] * _BLOCK_BYTES
        return b"".join(block.data for block in blocks)[offset - start : end - start]

    def fetch(self, spans: Iterable[tuple[int, int]]) -> None:
        """Request parts (offset, count) together that will be read soon."""
        wanted = {
            block
            for offset, count in spans
            for block in self._numbers(offset, min(offset + count, self.size))
        }
        if not self._closed:
            # more would push each other out before they are read
            self._blocks(sorted(wanted)[: _HELD_BYTES // _BLOCK_BYTES // 2])

    def close(self) -> None:
        """Drop the blocks; reading afterwards raises ValueError."""
        self._closed = True
        self._held.clear()

    @staticmethod
    def _numbers(start: int, stop: int) -> range:
        """Numbers of the blocks that hold bytes [start, stop)."""
        return range(start // _BLOCK_BYTES, -(-stop // _BLOCK_BYTES))

    def _blocks(self, numbers: Sequence[int]) -> list[NDArray[Any]]:
        if len(numbers) < 2:
            return [self._block(number) for number in numbers]
        with ThreadPoolExecutor(min(_AT_ONCE, len(numbers)), "fetch") as pool:
            return list(pool.map(self._block, numbers))

    def _block(self, number: int) -> NDArray[Any]:
        return self._held.get(number, partial(self._download, number))

    def _download(self, number: int) -> NDArray[Any]:
        start = number * _BLOCK_BYTES
        stop = min(start + _BLOCK_BYTES, self.size)
        try:
            data = self._url.read_range(start, stop)
        except FileNotFoundError as error:
            raise TransferError(f"{self._url} is no longer there; check the address") from error
        if len(data) != stop - start:
            raise TransferError(
                f"{self._url} gave {len(data):,} bytes where {stop - start:,} were asked for; "
                "if the file was changed meanwhile, open it again"
            )
        return np.frombuffer(data, np.uint8)


class SeekableFile(io.RawIOBase):
    """A byte source with a position of its own, as tifffile needs it.

    Parameters
    ----------
    source : RemoteFile
        Source to read from; not closed with this.
    """

    def __init__(self, source: RemoteFile) -> None:
        super().__init__()
        self._source = source
        self._position = 0

    def readable(self) -> bool:
        """Always True."""
        return True

    def seekable(self) -> bool:
        """Always True."""
        return True

    def tell(self) -> int:
        """Position of the next byte read."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a position and return it."""
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._source.size}
        self._position = origin[whence] + offset
        return self._position

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - anything with the buffer protocol
        """Fill a buffer, up to the end of the file, and return the number of bytes."""
        data = self._source.read(self._position, len(buffer))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)
