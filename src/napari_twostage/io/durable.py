"""Files that outlast a power cut: on the disk itself, not only in the system's memory.

A file that was written is safe from a crash of this program. It is safe from a power cut once the
system was told to sync it, and once the folder that names it was synced too. Syncing takes a few
milliseconds, so what need not be safe at once is collected in `DirtyFiles` and synced together.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any

from napari_twostage.io import files

_BINARY = getattr(os, "O_BINARY", 0)
_NO_SYNC = {errno.EINVAL, errno.EBADF, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
"""Errors of file systems that cannot sync on demand, as some network shares."""


def sync_descriptor(descriptor: int, *, drive: bool = True) -> None:
    """Put what was written to an open file on the disk.

    Parameters
    ----------
    descriptor : int
        File that is open for writing.
    drive : bool
        Empty the drive's own memory as well. Only macOS makes a difference.

    Raises
    ------
    OSError
        If the disk is full or broken, which may show only now.
    """
    with suppress(ImportError, AttributeError, OSError):
        if drive:
            fcntl: Any = import_module("fcntl")
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)  # macOS
            return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise


def sync_file(path: Path, *, drive: bool = True) -> None:
    """Put a file on the disk; nothing happens where there is none any more."""
    try:
        descriptor = files.patiently(lambda: os.open(path, os.O_RDWR | _BINARY), path)
    except FileNotFoundError:
        return
    try:
        sync_descriptor(descriptor, drive=drive)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Put the names in a folder on the disk.

    Windows does so by itself, in the order of the changes, and cannot be told to.
    """
    if os.name == "nt":
        return
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        sync_descriptor(descriptor, drive=False)
    finally:
        os.close(descriptor)


def sync_tree(path: Path) -> None:
    """Put a file, or a folder with all that is in it, on the disk."""
    if not path.is_dir():
        sync_file(path)
        return
    for folder, _, names in os.walk(path, topdown=False):
        for name in names:
            sync_file(Path(folder, name), drive=False)
        sync_folder(Path(folder))


def write_durably(path: Path, data: bytes) -> None:
    """Write a file, or replace it, in one step, also before a power cut.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    """
    files.write_file(path, data, sync=sync_descriptor)
    sync_folder(path.parent)


def make_folders(folder: Path, inside: Path) -> None:
    """Make a folder below one that must exist: who removed that does not get it back.

    Raises
    ------
    FileNotFoundError
        If there is no folder `inside`.
    """
    if folder == inside:
        if not folder.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder))
        return
    try:
        folder.mkdir(exist_ok=True)
    except FileNotFoundError:
        if inside not in folder.parents:
            raise
        make_folders(folder.parent, inside)
        folder.mkdir(exist_ok=True)


class DirtyFiles:
    """Files below a folder that were written since the last `sync`; any thread may call.

    Parameters
    ----------
    root : Path
        Folder that was synced when it was made.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._files: set[Path] = set()
        self._names: set[Path] = set()
        self._folders: set[Path] = {root}
        self._lock = Lock()

    def add(self, path: Path, *, synced: bool = False) -> None:
        """Note a file that was written, replaced, appended to or removed.

        Parameters
        ----------
        path : Path
            The file.
        synced : bool
            Whether its content is on the disk already, and only its name is not.
        """
        with self._lock:
            (self._names if synced else self._files).add(path)

    def sync(self) -> None:
        """Put all of them on the disk, and the folders that name them.

        Raises
        ------
        OSError
            If the disk is full or broken; the files are still noted.
        """
        with self._lock:
            dirty, self._files = self._files, set()
            names, self._names = self._names, set()
        try:
            self._sync(sorted(dirty), names)
        except BaseException:
            with self._lock:
                self._files |= dirty
                self._names |= names
            raise

    def _sync(self, dirty: list[Path], names: set[Path]) -> None:
        # one order to the drive, the last, is enough for all that came before it
        for path in dirty[:-1]:
            sync_file(path, drive=False)
        changed = {path.parent for path in (*dirty, *names)}
        for folder in changed:
            sync_folder(folder)
        for folder in self._new_above(changed):
            sync_folder(folder)
        if dirty:
            sync_file(dirty[-1])

    def _new_above(self, changed: set[Path]) -> set[Path]:
        """Folders that name a folder which was not synced before."""
        above: set[Path] = set()
        for folder in changed - self._folders:
            while folder not in self._folders and self.root in folder.parents:
                self._folders.add(folder)
                folder = folder.parent  # noqa: PLW2901 - one step up
                above.add(folder)
        return above
