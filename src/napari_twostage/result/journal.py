"""The journal of a result: one line an event, written as it happens."""

from __future__ import annotations

import json
from collections import defaultdict
from functools import cached_property, partial
from itertools import count, takewhile
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from napari_twostage.io.files import append_line
from napari_twostage.io.url import Url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from napari_twostage.io.paths import Location

Line = dict[str, Any]
"""One event as a JSON object; see `journal_events`."""
_Place = TypeVar("_Place", "Path", "Url", "Location")
_LOCKS: defaultdict[Location, Lock] = defaultdict(Lock)
"""Lock per journal path, shared within the process."""
_FULL_BYTES = 1 << 16
"""An object of this size is not written again: the next event begins another."""


class Journal:
    """Append-only JSON lines: one file or, on an object store, a series of objects.

    Lines follow each other in ``journal.jsonl``, ``journal/00000001.jsonl``,
    ``journal/00000002.jsonl`` and so on. On a disk the last of these is appended to, which mostly
    is the first; a line that a crash cut short is dropped on reading. An object store cannot
    append: there, each writer begins an object of its own and replaces it with each event
    until it is full. So a result may be copied between disk and store and resumed there.

    Parameters
    ----------
    path : Path or Url
        The first file, made with the first event.
    """

    def __init__(self, path: Location) -> None:
        self._path = path
        # the user may edit while a run writes, and a run may begin before another has ended
        self._lock = _LOCKS[path.absolute()]

    def events(self) -> Iterator[Line]:
        """All whole events, the oldest first."""
        for part in _parts(self._path):
            try:
                text = part.read_bytes()
            except FileNotFoundError:
                return
            for line in text[: text.rfind(b"\n") + 1].splitlines():
                yield json.loads(line)

    def append(self, event: Line) -> None:
        """Record an event; once this returns, killing the process does not lose it."""
        line = json.dumps(event, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            self._append(line)

    @cached_property
    def _append(self) -> Callable[[bytes], None]:
        if isinstance(self._path, Url):
            return _Objects(_parts(self._path)).append
        written = list(takewhile(lambda part: part.exists(), _parts(self._path)))
        return partial(append_line, written[-1] if written else self._path)


def _parts(first: _Place) -> Iterator[_Place]:
    """Places of lines, in order, without end."""
    yield first
    folder = first.with_name("journal")
    for number in count(1):
        yield folder / f"{number:08}.jsonl"


class _Objects:
    """Lines in objects, each of one writer: none replaces what another wrote."""

    def __init__(self, places: Iterator[Url]) -> None:
        self._places = places
        self._lines = b""
        self._place: Url | None = None

    def append(self, line: bytes) -> None:
        lines = self._lines + line
        if self._place is None:
            self._place = self._begin(lines)
        else:
            self._place.write_bytes(lines)
        self._lines = lines
        if len(lines) >= _FULL_BYTES:
            self._lines, self._place = b"", None

    def _begin(self, lines: bytes) -> Url:
        """Take the first place that is free, for good."""
        for place in self._places:
            try:
                place.write_bytes(lines, new=True)
            except FileExistsError:
                continue
            return place
        raise RuntimeError("places never end")
