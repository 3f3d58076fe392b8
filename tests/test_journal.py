"""The journal: whole events only, whatever a crash left behind."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from napari_twostage.journal import Journal

if TYPE_CHECKING:
    from pathlib import Path

EVENTS = [
    {"event": "window", "core": [0, 0, 8, 8], "unreadable": []},
    {"event": "failed", "tiles": [[1, 2]], "reason": "line\nbreak, \r\n, \u2028 and µm"},
    {"event": "refined", "tiles": [[0, 0], [0, 1]]},
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def write(path: Path, events: list[dict[str, object]]) -> bytes:
    for event in events:
        Journal(path).append(event)
    return path.read_bytes()


def test_events_come_back_in_order_from_another_process(path: Path) -> None:
    text = write(path, EVENTS)
    assert list(Journal(path).events()) == EVENTS
    assert text.count(b"\n") == len(EVENTS), "one line an event"


def test_there_are_no_events_before_the_first(path: Path) -> None:
    assert list(Journal(path).events()) == []
    assert not path.exists()


def test_a_last_line_cut_anywhere_is_dropped_and_written_over(path: Path) -> None:
    whole = write(path, EVENTS)
    kept = len(b"".join(whole.splitlines(keepends=True)[:2]))
    for cut in range(kept, len(whole)):
        path.write_bytes(whole[:cut])
        assert list(Journal(path).events()) == EVENTS[:2]
        Journal(path).append(EVENTS[0])
        assert list(Journal(path).events()) == [*EVENTS[:2], EVENTS[0]]


def test_a_first_line_cut_short_is_written_over(path: Path) -> None:
    path.write_bytes(b'{"event": "wi')
    assert list(Journal(path).events()) == []
    Journal(path).append(EVENTS[2])
    assert list(Journal(path).events()) == [EVENTS[2]]


def test_an_event_is_on_disk_when_append_returns(path: Path) -> None:
    journal = Journal(path)
    for count, event in enumerate(EVENTS, start=1):
        journal.append(event)
        assert list(Journal(path).events()) == EVENTS[:count]


def test_two_threads_lose_no_event(path: Path) -> None:
    journal = Journal(path)
    with ThreadPoolExecutor(4) as pool:
        for number in range(200):
            pool.submit(journal.append, {"event": "edit", "number": number})
    numbers = [event["number"] for event in journal.events()]
    assert sorted(numbers) == list(range(200))
