"""Bytes of a slide's file, on disk or by URL, read by several threads at any position."""

from __future__ import annotations

import io
import os
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_twostage.errors import TransferError
from napari_twostage.io.regular import open_regular
from napari_twostage.io.url import Url
from napari_twostage.slides.tile_cache import TileCache

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_twostage.io.paths import Location
    from napari_twostage.io.reading import Part

_BLOCK_BYTES = 1 << 18
"""Bytes of one request by URL: about eight JPEG tiles, stored row by row in most files."""
_HELD_BYTES = 64 << 20
_MOST_BYTES = 1 << 30
"""Most bytes of one read; no table or tile of a slide is longer."""
_CHECK_S = 5.0
"""Seconds after which an object store is asked again whether a file is still the same."""
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

    Raises
    ------
    OSError
        If there is none, or it is a pipe or a device.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = open_regular(path)
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
        If the server does not; here or in later calls, if it cannot be reached, or the file is
        no longer the one that was opened.
    """

    def __init__(self, url: Url) -> None:
        self._url = url
        first = url.state()
        self.size = first.size or 0
        self._tag = first.tag
        self._checked = time.monotonic()
        self._held = TileCache(_HELD_BYTES)
        self._closed = False

    def read(self, offset: int, count: int) -> bytes:
        """Read `count` bytes; fewer if the file ends early."""
        if self._closed:
            raise ValueError("the slide was closed")
        end = min(offset + count, self.size)
        if end <= offset:
            return b""
        if end - offset > _MOST_BYTES:
            raise ValueError(
                f"{end - offset:,} bytes at once, at most {_MOST_BYTES:,} were expected"
            )
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
            part = self._url.read_part(start, stop)
            if len(part.data) == stop - start:
                self._compare(part)
                return np.frombuffer(part.data, np.uint8)
        except FileNotFoundError as error:
            raise TransferError(f"{self._url} is no longer there; check the address") from error
        raise TransferError(
            f"{self._url} gave {len(part.data):,} bytes where {stop - start:,} were asked for; "
            "if the file was changed meanwhile, open it again"
        )

    def _compare(self, part: Part) -> None:
        """Raise TransferError if the file is no longer the one that was opened."""
        if part.size is None and time.monotonic() - self._checked > _CHECK_S:
            # object stores do not tell with the bytes themselves
            self._checked = time.monotonic()
            part = self._url.state()
        # a server of several machines may leave the tag out here and there
        if part.size in {None, self.size} and (not part.tag or part.tag == self._tag):
            return
        raise TransferError(
            f"{self._url} was changed while it was read; open it again, and begin anew with what "
            "was made of it"
        )


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

    def read(self, size: int | None = -1) -> bytes:
        """Read bytes, up to the end of the file.

        The buffer of the base class would be as large as what is asked for, however small the file.
        """
        left = max(0, self._source.size - self._position)
        data = self._source.read(self._position, left if size is None or size < 0 else size)
        self._position += len(data)
        return data

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - anything with the buffer protocol
        """Fill a buffer, up to the end of the file, and return the number of bytes."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
