"""What happened to a result, one line an event, appended as it happens."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from threading import Lock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Event = dict[str, Any]
_LOCKS: defaultdict[Path, Lock] = defaultdict(Lock)
"""One for each file, whoever opened it."""


class Journal:
    """An append-only file of JSON lines; a line cut short by a crash is dropped when it is opened.

    Parameters
    ----------
    path : Path
        Made with the first event.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # a user's edit may come while a run writes, and a run be begun before another has ended
        self._lock = _LOCKS[path.absolute()]

    def events(self) -> Iterator[Event]:
        """All whole events, the oldest first."""
        try:
            text = self._path.read_bytes()
        except FileNotFoundError:
            return
        for line in text[: text.rfind(b"\n") + 1].splitlines():
            yield json.loads(line)

    def append(self, event: Event) -> None:
        """Record an event; once this returns, killing the process does not lose it."""
        line = json.dumps(event, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                end = self._whole_lines(descriptor)
                os.ftruncate(descriptor, end)
                os.pwrite(descriptor, line, end)
            finally:
                os.close(descriptor)

    @staticmethod
    def _whole_lines(descriptor: int) -> int:
        """Where the last whole line ends: a line that a crash cut short is written over."""
        size = os.fstat(descriptor).st_size
        while size and os.pread(descriptor, 1, size - 1) != b"\n":
            size -= 1
        return size
