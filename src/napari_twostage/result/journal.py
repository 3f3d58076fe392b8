"""The journal of a result: one line an event, in the order of events."""

from __future__ import annotations

import json
import zlib
from collections import defaultdict
from functools import cached_property, partial
from itertools import count, takewhile
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from napari_twostage.errors import SegmentationError
from napari_twostage.io.durable import sync_descriptor, sync_folder, write_durably
from napari_twostage.io.files import append_lines
from napari_twostage.io.url import Url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from napari_twostage.io.paths import Location

FILE = "journal.jsonl"
Line = dict[str, Any]
"""One event as a JSON object; see `journal_events`."""
_Place = TypeVar("_Place", "Path", "Url", "Location")
_LOCKS: defaultdict[Location, Lock] = defaultdict(Lock)
"""Lock per journal path, shared within the process."""
_FULL_BYTES = 1 << 16
"""An object of this size is not written again: the next event begins another."""
_LONGEST_LINE = 1 << 24
"""Bytes of a line beyond which it is taken for damage."""
CHECKSUM = "crc"
"""Entry of a line with the checksum of the others; versions before 0.2 wrote none."""


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
        self.path = path
        # the user may edit while a run writes, and a run may begin before another has ended
        self._lock = _LOCKS[path.absolute()]
        self._seen: dict[Location, int] = {}

    def events(self) -> Iterator[Line | None]:
        """All whole events, the oldest first; None for each line that is damaged."""
        self._seen.clear()
        yield from self.new_events()

    def new_events(self) -> Iterator[Line | None]:
        """Events that came after those that were read or appended here, as `events` yields them.

        Raises
        ------
        SegmentationError
            If the journal cannot be read, or lost lines that were read before.
        """
        for part in _parts(self.path):
            start = self._seen.get(part, 0)
            try:
                text = part.read_bytes() if isinstance(part, Url) else _read_from(part, start)
            except FileNotFoundError:
                return
            except OSError as error:
                raise SegmentationError(f"{part} cannot be read: {error.strerror}") from error
            if isinstance(part, Url):
                text = text[start:]
            text = text[: text.rfind(b"\n") + 1]
            self._seen[part] = start + len(text)
            for line in text.split(b"\n")[:-1]:
                yield _decoded(line)

    @property
    def grown(self) -> bool:
        """Whether a file has lines that were neither read nor appended here.

        Always False for a URL, where looking would take a round trip.
        """
        if isinstance(self.path, Url):
            return False
        place = self._last_part
        try:
            return place.stat().st_size > self._seen.get(place, 0)
        except OSError:
            return False

    def append(self, *events: Line) -> None:
        """Record events; once this returns, neither a crash nor a power cut loses them."""
        lines = b"".join(map(_encoded, events))
        with self._lock:
            self._append(lines)

    def rewrite(self, first: list[Line]) -> None:
        """Write the journal anew without damaged lines, these events first; not by URL."""
        if isinstance(self.path, Url):
            return
        with self._lock:
            for part in takewhile(lambda part: part.exists(), _parts(self.path)):
                events = first if part == self.path else []
                text = part.read_bytes()
                whole = [line for line in text.split(b"\n")[:-1] if _decoded(line) is not None]
                write_durably(part, b"".join([*map(_encoded, events), *(w + b"\n" for w in whole)]))
                self._seen[part] = part.stat().st_size
            if not self.path.exists():
                write_durably(self.path, b"".join(map(_encoded, first)))
                self._seen[self.path] = self.path.stat().st_size

    @cached_property
    def _append(self) -> Callable[[bytes], None]:
        if isinstance(self.path, Url):
            return _Objects(_parts(self.path), self._seen).append
        return partial(self._append_to_file, self._last_part)

    def _append_to_file(self, place: Path, lines: bytes) -> None:
        first = not place.exists()
        start = append_lines(place, lines, sync=sync_descriptor)
        if first:
            sync_folder(place.parent)
        if start == self._seen.get(place, 0):  # otherwise lines of others are still to be read
            self._seen[place] = start + len(lines)

    @cached_property
    def _last_part(self) -> Path:
        written = list(takewhile(lambda part: part.exists(), _parts(self.path)))
        return written[-1] if written else self.path  # type: ignore[return-value]  # no URL


def _encoded(event: Line) -> bytes:
    """A line with its checksum, the newline included."""
    checksum = zlib.crc32(json.dumps(event, separators=(",", ":")).encode())
    return json.dumps({**event, CHECKSUM: checksum}, separators=(",", ":")).encode() + b"\n"


def _decoded(line: bytes) -> Line | None:
    """The event of a line; None if it is damaged."""
    if len(line) > _LONGEST_LINE:
        return None
    try:
        event = json.loads(line)
        checksum = event.pop(CHECKSUM, None)
        whole = checksum is None or _encoded(event) == line + b"\n"
    except (ValueError, AttributeError, TypeError, RecursionError):
        return None
    return event if whole else None


def _read_from(path: Path, start: int) -> bytes:
    if not path.is_file() and path.exists():
        raise OSError(0, "it is no file")
    with path.open("rb") as file:
        file.seek(start)
        return file.read()


def _parts(first: _Place) -> Iterator[_Place]:
    """Places of lines, in order, without end."""
    yield first
    folder = first.with_name("journal")
    for number in count(1):
        yield folder / f"{number:08}.jsonl"


class _Objects:
    """Lines in objects, each of one writer: none replaces what another wrote."""

    def __init__(self, places: Iterator[Url], seen: dict[Location, int]) -> None:
        self._places = places
        self._seen = seen
        self._lines = b""
        self._place: Url | None = None

    def append(self, added: bytes) -> None:
        lines = self._lines + added
        if self._place is None:
            self._place = self._begin(lines)
        else:
            self._place.write_bytes(lines)
        self._lines = lines
        self._seen[self._place] = len(lines)
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
