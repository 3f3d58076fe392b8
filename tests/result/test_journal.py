"""The journal: whole events only, whatever a crash left behind."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from tests.servers import memory

from napari_twostage.errors import SegmentationError
from napari_twostage.io.paths import Location, is_vacant
from napari_twostage.io.url import Url
from napari_twostage.result.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Iterator
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


# -- on an object store --------------------------------------------------------------------------


@pytest.fixture
def url() -> Iterator[Url]:
    with memory() as folder:
        yield Url(f"{folder}/result/journal.jsonl")


def parts(path: Location) -> list[str]:
    """Names of all that a journal is kept in."""
    return [path.name, *sorted(one.name for one in path.with_name("journal").iterdir())]


def copy(source: Location, target: Location) -> None:
    """Copy a journal between a disk and a store."""
    target.write_bytes(source.read_bytes())
    if not is_vacant(source.with_name("journal")):
        target.with_name("journal").mkdir(exist_ok=True)
        for part in source.with_name("journal").iterdir():
            (target.with_name("journal") / part.name).write_bytes(part.read_bytes())


def test_a_store_keeps_each_event_when_append_returns(url: Url) -> None:
    journal = Journal(url)
    for count, event in enumerate(EVENTS, start=1):
        journal.append(event)
        assert list(Journal(url).events()) == EVENTS[:count]
    assert parts(url) == ["journal.jsonl"], "one writer, one object"


def test_writers_in_turn_share_no_object(url: Url) -> None:
    first, second = Journal(url), Journal(url)
    first.append(EVENTS[0])
    second.append(EVENTS[1])
    first.append(EVENTS[2])
    events = list(Journal(url).events())
    assert sorted(map(str, events)) == sorted(map(str, EVENTS)), "nothing is lost"
    assert parts(url) == ["journal.jsonl", "00000001.jsonl"]


def test_writers_at_once_lose_no_event(url: Url) -> None:
    journals = [Journal(url) for _ in range(4)]
    with ThreadPoolExecutor(8) as pool:
        for number in range(200):
            pool.submit(journals[number % 4].append, {"event": "edit", "number": number})
    numbers = [event["number"] for event in Journal(url).events()]
    assert sorted(numbers) == list(range(200))


def test_a_full_object_is_not_written_again(url: Url, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_twostage.result.journal._FULL_BYTES", 100)
    journal = Journal(url)
    events = [{"event": "edit", "number": number} for number in range(20)]
    for event in events:
        journal.append(event)
    assert list(Journal(url).events()) == events
    assert len(parts(url)) > 3
    assert max(len(part.read_bytes()) for part in url.with_name("journal").iterdir()) < 200


def test_an_event_that_could_not_be_kept_is_not_there(
    url: Url, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(url)
    journal.append(EVENTS[0])
    with monkeypatch.context() as broken:
        broken.setattr(Url, "write_bytes", _fail)
        with pytest.raises(OSError, match="gone"):
            journal.append(EVENTS[1])
    journal.append(EVENTS[2])
    assert list(Journal(url).events()) == [EVENTS[0], EVENTS[2]]


def _fail(*_: object, **__: object) -> None:
    raise OSError("gone")


def test_a_journal_may_move_between_disk_and_store(url: Url, path: Path) -> None:
    numbers = iter(range(100))
    expected = []

    def add(journal: Journal) -> None:
        for number in (next(numbers), next(numbers)):
            expected.append({"event": "edit", "number": number})
            journal.append(expected[-1])

    add(Journal(path))
    for source, target in ((path, url), (url, path), (path, url)):
        copy(source, target)
        add(Journal(target))
        assert list(Journal(target).events()) == expected


APPENDER = """
import sys
from pathlib import Path
from napari_twostage.result.journal import Journal

journal = Journal(Path(sys.argv[1]))
for number in range(300):
    journal.append({"event": "refined", "tiles": [[int(sys.argv[2]) * 10 ** (number % 5), number]]})
"""


def test_lines_of_processes_that_append_at_once_stay_whole(path: Path) -> None:
    started = [
        subprocess.Popen([sys.executable, "-c", APPENDER, str(path), str(who)]) for who in (1, 2)
    ]
    assert [one.wait() for one in started] == [0, 0]
    events = [event for event in Journal(path).events() if event is not None]
    assert len(path.read_bytes().splitlines()) == len(events) == 600
    for who in (1, 2):
        own = [event for event in events if str(event["tiles"][0][0]).startswith(str(who))]
        assert [event["tiles"][0][1] for event in own] == list(range(300))


def test_a_missing_line_is_noticed(path: Path) -> None:
    journal = Journal(path)
    for event in EVENTS:
        journal.append(event)
    first, _, last = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + last)
    again = Journal(path)
    assert list(again.events()) == [EVENTS[0], None, EVENTS[2]]
    assert again.lines == 3, "the missing one counts"


def test_a_damaged_line_is_told_from_the_others(path: Path) -> None:
    whole = write(path, EVENTS)
    path.write_bytes(whole.replace(b'"line', b'"Line'))
    assert list(Journal(path).events()) == [EVENTS[0], None, EVENTS[2]]


def test_a_journal_written_anew_has_only_what_makes_sense(path: Path) -> None:
    journal = Journal(path)
    journal.append(*EVENTS)
    old = Journal(path)
    list(old.events())
    journal.rewrite([{"event": "created"}], lambda event: event["event"] != "failed")
    kept = [{"event": "created"}, EVENTS[0], EVENTS[2]]
    assert list(Journal(path).events()) == kept
    journal.append(EVENTS[1])
    assert list(Journal(path).events()) == [*kept, EVENTS[1]]
    with pytest.raises(SegmentationError, match="written anew since it was opened"):
        list(old.new_events())


def test_half_a_line_is_not_looked_at_again_and_again(path: Path) -> None:
    whole = write(path, EVENTS)
    path.write_bytes(whole[:-5])
    journal = Journal(path)
    list(journal.events())
    assert not journal.grown
    path.write_bytes(whole)
    assert journal.grown
    assert list(journal.new_events()) == [EVENTS[2]]
