"""The journal of a result: one line an event, in the order of events."""

from __future__ import annotations

import errno
import json
import stat
import zlib
from collections import defaultdict
from functools import cached_property, partial
from itertools import count, takewhile
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from napari_twostage.errors import DamagedFileError, SegmentationError, storage_error
from napari_twostage.io.durable import sync_descriptor, sync_folder, write_durably
from napari_twostage.io.files import append_lines, is_unreadable, remove_file
from napari_twostage.io.url import Url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
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
NUMBER, CHECKSUM = "n", "crc"
"""Entries of a line: its number from 0 on, by which missing lines are noticed, and the checksum of
all others; versions before 0.2 wrote neither."""


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
        self._size_seen: dict[Location, int] = {}
        """Bytes of each file when it was read: behind the whole lines there may be half of one."""
        self._file_seen: dict[Location, int] = {}
        """Number of each file, by which another one that took its name is told."""
        self.lines = 0
        """Lines that were read or appended here, those that are damaged or missing too."""

    def events(self) -> Iterator[Line | None]:
        """All whole events, the oldest first; None for each damaged line or gap between lines."""
        self._seen.clear()
        self._file_seen.clear()
        self.lines = 0
        yield from self.new_events()

    def new_events(self) -> Iterator[Line | None]:
        """Events that came after those that were read or appended here, as `events` yields them.

        Raises
        ------
        SegmentationError
            If the journal was written anew since it was read.
        DamagedFileError, StorageError
            If it cannot be read.
        """
        for part in _parts(self.path):
            try:
                text = self._new_text(part)
            except FileNotFoundError:
                return
            except OSError as error:
                if is_unreadable(error):
                    raise DamagedFileError(part, error.strerror or "") from error
                raise storage_error(error, part) from error
            for line in text.split(b"\n")[:-1]:
                event = _decoded(line)
                number = None if event is None else event.pop(NUMBER, None)
                if isinstance(number, int) and number > self.lines:
                    self.lines = number
                    yield None
                self.lines += 1
                yield event

    def _new_text(self, part: Location) -> bytes:
        """Whole lines of a part that were not read before."""
        start = self._seen.get(part, 0)
        if isinstance(part, Url):
            text = part.read_bytes()[start:]
        else:
            status = part.stat()
            if not stat.S_ISREG(status.st_mode):
                raise IsADirectoryError(errno.EISDIR, "it is no file")
            same = self._file_seen.setdefault(part, status.st_ino) == status.st_ino
            if not same or status.st_size < start:
                raise SegmentationError(
                    f"{part} was written anew since it was opened; open the result again"
                )
            with part.open("rb") as file:
                file.seek(start)
                text = file.read()
            self._size_seen[part] = start + len(text)
        text = text[: text.rfind(b"\n") + 1]
        self._seen[part] = start + len(text)
        return text

    @property
    def grown(self) -> bool:
        """Whether a file has lines that were neither read nor appended here.

        Always False for a URL, where looking would take a round trip.
        """
        if isinstance(self.path, Url):
            return False
        place = self._last_part
        try:
            size = place.stat().st_size
        except OSError:
            return False
        return size not in (self._seen.get(place, 0), self._size_seen.get(place))

    def append(self, *events: Line) -> None:
        """Record events; once this returns, neither a crash nor a power cut loses them."""
        with self._lock:
            if self._append(_joined(events, self.lines)):
                self.lines += len(events)

    def rewrite(self, first: list[Line], is_sound: Callable[[Line], bool]) -> None:
        """Write the journal anew without damaged lines; not by URL.

        Parameters
        ----------
        first : list of dict
            Events to begin with.
        is_sound : callable
            Whether an event that could be read makes sense.
        """
        if isinstance(self.path, Url):
            return
        with self._lock:
            events, parts = list(first), []
            for part in takewhile(lambda part: part.exists(), _parts(self.path)):
                found = (_decoded(line) for line in part.read_bytes().split(b"\n")[:-1])
                events += [event for event in found if event is not None and is_sound(event)]
                parts.append(part)
            write_durably(self.path, _joined(events, 0))
            for part in parts[1:]:
                remove_file(part)
            self.__dict__.pop("_last_part", None)
            self.__dict__.pop("_append", None)
            for _ in self.events():  # they are known: from here on lines count as new
                pass

    @cached_property
    def _append(self) -> Callable[[bytes], bool]:
        """Appends lines; False if lines of others come before them, which are still to be read."""
        if isinstance(self.path, Url):
            return _Objects(_parts(self.path), self._seen).append
        return partial(self._append_to_file, self._last_part)

    def _append_to_file(self, place: Path, lines: bytes) -> bool:
        first = not place.exists()
        start = append_lines(place, lines, sync=sync_descriptor)
        if first:
            sync_folder(place.parent)
        next_one = start == self._seen.get(place, 0)
        if next_one:
            self._seen[place] = start + len(lines)
        return next_one

    @cached_property
    def _last_part(self) -> Path:
        written = list(takewhile(lambda part: part.exists(), _parts(self.path)))
        return written[-1] if written else self.path  # type: ignore[return-value]  # no URL


def _joined(events: Iterable[Line], first: int) -> bytes:
    """Lines of events, numbered from `first` on."""
    numbered = enumerate(events, start=first)
    return b"".join(_encoded({**event, NUMBER: number}) for number, event in numbered)


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

    def append(self, added: bytes) -> bool:
        lines = self._lines + added
        if self._place is None:
            self._place = self._begin(lines)
        else:
            self._place.write_bytes(lines)
        self._lines = lines
        self._seen[self._place] = len(lines)
        if len(lines) >= _FULL_BYTES:
            self._lines, self._place = b"", None
        return True

    def _begin(self, lines: bytes) -> Url:
        """Take the first place that is free, for good."""
        for place in self._places:
            try:
                place.write_bytes(lines, new=True)
            except FileExistsError:
                continue
            return place
        raise RuntimeError("places never end")
