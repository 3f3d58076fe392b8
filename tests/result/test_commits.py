"""Lines wait for their pixels, for a second at most, and come in their order."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from napari_twostage.result import commits
from napari_twostage.result.commits import Commits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_twostage.result.journal import Line


class Disk:
    """A journal and its dirty files that keep the order of what happens, and may be full."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.full = False

    def sync(self) -> None:
        """Sync the pixels."""
        if self.full:
            raise OSError("full")
        self.done.append("pixels")

    def append(self, *lines: Line) -> None:
        """Append lines."""
        self.done += [line["event"] for line in lines]


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def waiting(disk: Disk) -> Iterator[Commits]:
    made = Commits(disk, disk)  # type: ignore[arg-type]
    yield made
    disk.full = False
    made.commit()


def test_pixels_come_before_the_lines_and_lines_in_their_order(
    disk: Disk, waiting: Commits
) -> None:
    waiting.add({"event": "a"})
    waiting.add({"event": "b"})
    assert disk.done == []
    waiting.commit_now({"event": "edit"})
    assert disk.done == ["pixels", "a", "b", "edit"]


def test_a_line_waits_no_longer_than_the_delay(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commits, "DELAY_S", 0.02)
    Commits(disk, disk).add({"event": "a"})  # type: ignore[arg-type]
    end = time.monotonic() + 10
    while "a" not in disk.done and time.monotonic() < end:
        time.sleep(0.01)
    assert disk.done == ["pixels", "a"]


def test_a_line_that_cannot_be_committed_now_is_forgotten_and_others_wait(
    disk: Disk, waiting: Commits
) -> None:
    waiting.add({"event": "a"})
    disk.full = True
    with pytest.raises(OSError, match="full"):
        waiting.commit_now({"event": "edit"})
    disk.full = False
    waiting.commit()
    assert disk.done == ["pixels", "a"]


def test_an_error_in_the_background_is_raised_by_the_next_call(
    disk: Disk, waiting: Commits
) -> None:
    waiting.add({"event": "a"})
    disk.full = True
    waiting._commit_later()
    with pytest.raises(OSError, match="full"):
        waiting.add({"event": "b"})
    disk.full = False
    waiting.commit()
    assert disk.done == ["pixels", "a", "b"]


def test_without_files_there_is_nothing_to_sync(disk: Disk) -> None:
    Commits(disk).commit_now({"event": "a"})  # type: ignore[arg-type]
    assert disk.done == ["a"]
