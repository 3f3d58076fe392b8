"""One writer per result folder, also on network drives; readers need no lock.

The lock is a file that names its owner. It is made in one step, so of several processes one gets
it. An owner of this machine that has died is recognised by its process number and start. Whether
one on another machine still lives cannot be told from here: the user decides.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import sys
import time
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import PurePath
from threading import Lock, RLock
from typing import TYPE_CHECKING, Self

import psutil

from napari_twostage.errors import LockedError
from napari_twostage.io.files import create_file, exclusively
from napari_twostage.io.paths import read_whole, remove_file
from napari_twostage.io.url import Url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_twostage.io.paths import Location

log = logging.getLogger(__name__)

FILE = "lock.json"
PATIENCE_S = 2.0
"""Longest wait for an owner that may be done in a moment, such as with an edit."""
POLL_S = 0.02
_SAME_START_S = 2.0
"""Two starts of one process number that are closer than this are one process."""
_OWNERS: dict[Location, WriterLock] = {}
"""Locks that this process holds, by folder."""
_OWNERS_LOCK = Lock()


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that holds a lock."""

    host: str
    process: int
    process_started: float
    """Seconds since 1970."""
    program: str
    since: str
    """UTC, ISO 8601."""

    @classmethod
    def this_process(cls) -> Self:
        """Describe this process, which takes a lock now."""
        started, program = _this_process()
        since = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(platform.node(), os.getpid(), started, program, since)

    @property
    def is_here(self) -> bool:
        """Whether it is a process of this machine."""
        return self.host == platform.node()

    @property
    def is_gone(self) -> bool:
        """Whether it is a process of this machine that has ended."""
        if not self.is_here:
            return False
        try:
            process = psutil.Process(self.process)
            started = process.create_time()
            if process.status() == psutil.STATUS_ZOMBIE:  # ended, and not asked about yet
                return True
        except (psutil.NoSuchProcess, ValueError):  # a negative number is no process
            return True
        except psutil.Error:  # of another user
            return False
        return bool(abs(started - self.process_started) > _SAME_START_S)

    def __str__(self) -> str:
        return f"{self.program}, process {self.process} on {self.host}, since {self._since_here()}"

    def _since_here(self) -> str:
        """Time in this machine's zone."""
        try:
            return f"{datetime.fromisoformat(self.since).astimezone():%Y-%m-%d %H:%M}"
        except ValueError:  # of a lock that cannot be read
            return self.since


class WriterLock:
    """The lock of one opened result; the threads that use this object share it.

    Parameters
    ----------
    folder : Path or Url
        The result folder.
    """

    def __init__(self, folder: Location) -> None:
        self._folder = folder.absolute()
        self._file = self._folder / FILE
        self._mine: Owner | None = None
        self._count = 0
        self._changing = RLock()

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._count > 0

    @contextmanager
    def hold(self) -> Iterator[bool]:
        """Hold the lock; yields whether it was free before, so others may have written.

        Raises
        ------
        LockedError
            If another process, or another object of this one, holds it for over two seconds.
        """
        with self._changing:
            first = not self._count
            if first:
                self._acquire()
            self._count += 1
        try:
            yield first
        finally:
            with self._changing:
                self._count -= 1
                if not self._count:
                    self._release()

    def take_over(self) -> None:
        """Remove the lock of a process on another machine, which the user knows to be gone.

        Raises
        ------
        LockedError
            If a process of this machine holds it and runs.
        """
        owner = self.owner
        if owner is not None and owner.is_here and not owner.is_gone:
            raise LockedError(self._folder, str(owner), here=True)
        if owner is not None:
            self._remove_stale(owner)

    @property
    def owner(self) -> Owner | None:
        """The process that holds the lock; None if there is none, or it cannot be read."""
        try:
            values = json.loads(read_whole(self._file))
            return Owner(
                str(values["host"]),
                int(values["process"]),
                float(values["process_started"]),
                str(values["program"]),
                str(values["since"]),
            )
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            # it is made whole, so this one is of before a power cut
            log.debug("%s cannot be read", self._file)
            return Owner(platform.node(), -1, 0.0, "unknown", "unknown")

    @property
    def other(self) -> Owner | None:
        """Who else is writing: another process, or another object of this one; None if nobody."""
        owner = None if self.held else self.owner
        return None if owner is None or owner.is_gone else owner

    @property
    def made(self) -> Owner | None:
        """The entry of this object in the lock's file, while it holds the lock."""
        return self._mine

    def _acquire(self) -> None:
        end = time.monotonic() + PATIENCE_S
        while True:
            held_by = self._try()
            if held_by is None:
                return
            # an owner elsewhere that is busy for hours is not waited for longer than one that edits
            if time.monotonic() > end:
                raise LockedError(self._folder, str(held_by), here=held_by.is_here)
            time.sleep(POLL_S)

    def _try(self) -> Owner | None:
        """Take the lock; returns who has it otherwise."""
        with _OWNERS_LOCK:
            if self._folder in _OWNERS:
                return self.owner or Owner.this_process()
            mine = Owner.this_process()
            if not self._create(json.dumps(asdict(mine)).encode()):
                owner = self.owner
                if owner is None or not (owner.is_gone or self._is_ours(owner)):
                    return owner or mine
                self._remove_stale(owner)
                return owner
            _OWNERS[self._folder], self._mine = self, mine
            return None

    @staticmethod
    def _is_ours(owner: Owner) -> bool:
        """Whether this process made a lock and let go of it while its folder was away."""
        mine = Owner.this_process()
        same = (owner.host, owner.process) == (mine.host, mine.process)
        held = any(other.made == owner for other in _OWNERS.values())
        return same and not held

    def _create(self, content: bytes) -> bool:
        if isinstance(self._file, Url):
            try:
                self._file.write_bytes(content, new=True)
            except FileExistsError:
                return False
            return True
        return create_file(self._file, content, parents=False)

    def _remove_stale(self, owner: Owner) -> None:
        """Remove the lock of a process that is gone, unless another one just did."""
        if isinstance(self._folder, Url):
            with suppress(FileNotFoundError):
                remove_file(self._file)
            return
        record = self._folder / "record.json"
        guard = exclusively(record) if record.is_file() else nullcontext()
        with guard:  # processes of this machine, one by one
            if self.owner == owner:
                log.info("%s: the lock of %s is stale", self._folder, owner)
                with suppress(FileNotFoundError):
                    remove_file(self._file)

    def _release(self) -> None:
        with _OWNERS_LOCK:
            _OWNERS.pop(self._folder, None)
            with suppress(OSError):  # gone with the folder, or stale when this process ends
                if self.owner == self._mine:
                    remove_file(self._file)


def _this_process() -> tuple[float, str]:
    """Start of this process in seconds since 1970, and its name."""
    program = PurePath(sys.argv[0] if sys.argv and sys.argv[0] else sys.executable).name
    return psutil.Process().create_time(), program
