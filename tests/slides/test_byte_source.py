"""Positioned reads: right from several threads, with the system's own call and without it."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile

from napari_twostage.geometry import Box
from napari_twostage.slides import open_slide
from napari_twostage.slides.byte_source import PositionedFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(params=["pread", "seek and read"], autouse=True)
def positioned_read(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read once as Unix does, and once as Windows does, which has no `os.pread`."""
    if request.param == "pread" and not hasattr(os, "pread"):
        pytest.skip("this system has no os.pread")
    if request.param == "seek and read":
        monkeypatch.delattr(os, "pread", raising=False)


@pytest.fixture(autouse=True)
def frequent_switches() -> Iterator[None]:
    """Threads take turns so often that a race shows."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def content(tmp_path: Path) -> tuple[Path, bytes]:
    """A file with every line ending and end-of-file mark that a text mode would change."""
    data = np.random.default_rng(0).integers(0, 256, 1 << 18, np.uint8).tobytes()
    data = b"\x1a\r\n\n\r\n\x1a" * 1000 + data
    path = tmp_path / "bytes.bin"
    path.write_bytes(data)
    return path, data


def test_threads_each_get_the_bytes_they_asked_for(content: tuple[Path, bytes]) -> None:
    path, data = content
    offsets = np.random.default_rng(1).integers(0, len(data), 3000).tolist()
    file = PositionedFile(path)
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda offset: file.read(offset, 300), offsets))
    file.close()
    assert parts == [data[offset : offset + 300] for offset in offsets]


def test_the_end_of_the_file_ends_a_read(content: tuple[Path, bytes]) -> None:
    path, data = content
    file = PositionedFile(path)
    assert file.size == len(data)
    assert file.read(0, len(data) + 5) == data
    assert file.read(len(data) - 3, 10) == data[-3:]
    assert file.read(len(data) + 10, 10) == b""
    file.close()


def test_a_read_that_comes_in_parts_is_completed(
    content: tuple[Path, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, data = content
    name = "pread" if hasattr(os, "pread") else "read"
    whole: Callable[..., bytes] = getattr(os, name)
    file = PositionedFile(path)
    monkeypatch.setattr(os, name, lambda fd, count, *at: whole(fd, min(count, 1000), *at))
    assert file.read(5, 4500) == data[5:4505]
    assert file.read(len(data) - 1500, 4500) == data[-1500:]
    file.close()


def test_a_file_that_is_closed_while_threads_read_gives_right_bytes_or_an_error(
    content: tuple[Path, bytes],
) -> None:
    path, data = content
    file = PositionedFile(path)

    def read(offset: int) -> bytes | None:
        try:
            return file.read(offset, 100)
        except (ValueError, OSError):
            return None

    with ThreadPoolExecutor(4) as pool:
        parts = [pool.submit(read, offset) for offset in range(2000)]
        parts[500].result()
        file.close()
        found = [part.result() for part in parts]
    for offset, part in enumerate(found):
        assert part in {None, data[offset : offset + 100]}
    with pytest.raises(ValueError, match="closed"):
        file.read(0, 1)


def test_threads_read_a_slide_like_one_thread(
    tmp_path: Path, picture: Callable[..., np.ndarray]
) -> None:
    path, pixels = tmp_path / "slide.tif", picture(1000, 900)
    tifffile.imwrite(path, pixels, tile=(64, 64), photometric="rgb", compression="zlib")
    boxes = [Box.at(row * 50, column * 60, 180, 90) for row in range(17) for column in range(14)]
    with open_slide(path, mpp=0.5, cache_bytes=1) as slide, ThreadPoolExecutor(8) as pool:
        for box, part in zip(boxes, pool.map(slide.read, boxes), strict=True):
            assert np.array_equal(part, pixels[box.slices])
