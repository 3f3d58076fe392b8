"""File operations that keep their promises on every system.

Windows differs from POSIX in three ways that matter here. A file that any program holds open, if
only for the moment of a read, cannot be replaced, renamed or deleted: everything here waits up to
two seconds for it, then raises BusyFileError. Appending is no single step there: a lock keeps
processes apart, where POSIX does so by itself. And renaming never replaces a file, which POSIX
needs a hard link for.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import time
from contextlib import contextmanager, suppress
from importlib import import_module
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

from napari_twostage.errors import BusyFileError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    _T = TypeVar("_T")

_PATIENCE_S = 2.0
"""Longest wait for a program that holds a file."""
_FIRST_PAUSE_S = 0.001
_LONGEST_PAUSE_S = 0.1
_TAIL_BYTES = 4096
_LOCKED_BYTE = 2**31 - 2
"""Byte that is locked on Windows: beyond any data, because locked bytes are unreadable."""
_BINARY = getattr(os, "O_BINARY", 0)
_OF_THE_FILE = (
    errno.EISDIR,
    errno.ENOTDIR,
    errno.ELOOP,
    errno.EACCES,
    errno.EPERM,
    errno.EIO,
)
"""Errors that say that a file itself cannot be read: a folder, a link to nowhere, a bad sector."""
ASIDE = ".partial"
"""Ending of a file or folder before it takes its name."""
_PROCESS = secrets.token_hex(4)
_NUMBERS = count()

_msvcrt: Any = import_module("msvcrt") if os.name == "nt" else None
"""File locks of Windows; None on POSIX."""


def read_file(path: Path) -> bytes:
    """All of a file that other threads and processes may be replacing.

    POSIX: the old bytes or the new ones. Windows: the same, after a wait where it is being
    replaced at this moment.
    """
    return patiently(path.read_bytes, path)


def is_unreadable(error: OSError) -> bool:
    """Whether an error of reading is the file's own, and not that of a busy or full system."""
    return error.errno in _OF_THE_FILE and not isinstance(error, BusyFileError)


def write_file(
    path: Path,
    data: bytes,
    *,
    parents: bool = False,
    sync: Callable[[int], None] | None = None,
) -> None:
    """Write a file, or replace it, in one step: readers and crashes meet the old or the new one.

    Parameters
    ----------
    path : Path
        File to write.
    data : bytes
        Content.
    parents : bool
        Make the folder if need be. Without it a folder that another process has removed stays
        removed.
    sync : callable, optional
        Called with the descriptor of the new content before that takes the name; see `durable`.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, and none is to be made.
    """
    aside = _write_aside(path, data, parents=parents, sync=sync)
    try:
        replace_file(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def create_file(path: Path, data: bytes, *, parents: bool = True) -> bool:
    """Write a file in one step unless there is one; returns whether this call made it.

    Of several processes exactly one makes it, and nobody's file is replaced. POSIX: by a hard
    link; on a file system without links, by a lock of the system's, which a killed process lets
    go of. Windows: by renaming, which never replaces a file there.

    Parameters
    ----------
    path : Path
        File to write.
    data : bytes
        Content.
    parents : bool
        Make the folder if need be.
    """
    aside = _write_aside(path, data, parents=parents)
    try:
        if _msvcrt is not None:
            rename(aside, path)
        else:
            _link(aside, path)
    except FileExistsError:
        return False
    finally:
        aside.unlink(missing_ok=True)
    return True


def append(path: Path, data: bytes) -> int:
    """Write at the end of a file that is there; returns the offset at which the data begin.

    Processes of one machine that append at once do not meet. Machines that share a file system
    may: they must not append to one file.

    Raises
    ------
    FileNotFoundError
        Where there is no file.
    OSError
        If the disk is full; a part of the data may have been written.
    """
    with _appending(path, os.O_WRONLY) as descriptor:
        return _write_at_end(descriptor, data, path)


def append_lines(path: Path, lines: bytes, *, sync: Callable[[int], None] | None = None) -> int:
    """Append whole lines, making the file if need be; returns the offset at which they begin.

    A last line that a crash cut short is dropped.

    Parameters
    ----------
    path : Path
        File of whole lines.
    lines : bytes
        Lines, each with a newline at its end.
    sync : callable, optional
        Called with the descriptor once they are written; see `durable`.

    Raises
    ------
    OSError
        If the disk is full; the part that was written counts as cut short.
    """
    with _appending(path, os.O_RDWR | os.O_CREAT) as descriptor:
        _keep_others_out(descriptor)  # half a line of theirs would be dropped
        size = os.lseek(descriptor, 0, os.SEEK_END)
        end = _end_of_whole_lines(descriptor, size)
        if end < size:
            os.ftruncate(descriptor, end)
        try:
            start = _write_at_end(descriptor, lines, path)
            if sync is not None:
                sync(descriptor)
        except OSError:  # the lines that did fit would come twice when they are written again
            with suppress(OSError):
                os.ftruncate(descriptor, end)
            raise
    return start


@contextmanager
def exclusively(path: Path) -> Iterator[None]:
    """Keep out other processes of this machine that do the same with a file that is there.

    A process that is killed lets go. On file systems without locks nobody is kept out.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    BusyFileError
        On Windows, if another process stays for over two seconds.
    """
    with patiently(lambda: path.open("r+b"), path) as file:
        if _msvcrt is not None:
            with _range_lock(file.fileno(), path):
                yield
            return
        _keep_others_out(file.fileno())
        yield


def _keep_others_out(descriptor: int) -> None:
    """Lock an open file of POSIX until it is closed; not on file systems without locks."""
    if _msvcrt is None:
        fcntl = import_module("fcntl")
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)


def replace_file(source: Path, target: Path) -> None:
    """Give a file the name of another, which it replaces in one step."""
    patiently(lambda: source.replace(target), target)


def rename(source: Path, target: Path) -> None:
    """Give a file or folder a name that is free.

    Nothing may be open in a folder on Windows; POSIX does not mind.
    """
    patiently(lambda: source.rename(target), source)


def remove_file(path: Path) -> None:
    """Remove a file; nothing happens where there is none."""
    patiently(lambda: path.unlink(missing_ok=True), path)


def remove_folder(path: Path) -> None:
    """Remove a folder with all that is in it.

    Windows: also waits for files that are held open. Network shares: also for files that another
    machine has deleted but still holds open, which keep the folder from being empty.

    Raises
    ------
    FileNotFoundError
        Where there is none.
    """
    patiently(lambda: shutil.rmtree(path), path, errno.ENOTEMPTY)


def patiently(action: Callable[[], _T], path: Path, *passing: int) -> _T:
    """Do something to a file, again and again while another program holds it open.

    Parameters
    ----------
    action : callable
        May be called several times.
    path : Path
        Named in the error.
    *passing : int
        Further error numbers that may pass by themselves.

    Raises
    ------
    BusyFileError
        If it is still held after two seconds.
    """
    pause, end = _FIRST_PAUSE_S, None
    while True:
        try:
            return action()
        except OSError as error:
            if not _may_pass(error, passing):
                raise
            now = time.monotonic()
            end = now + _PATIENCE_S if end is None else end
            if now >= end:
                raise BusyFileError(
                    f"{path} is in use by another program, or write-protected; "
                    "close it there and try again"
                ) from error
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_S)


def _may_pass(error: OSError, passing: tuple[int, ...]) -> bool:
    """Whether the error may mean that another program holds a file."""
    # a share of a Windows machine says "busy", Windows itself "access denied"
    held = {errno.EBUSY, getattr(errno, "ETXTBSY", errno.EBUSY), *passing}
    return error.errno in held or (_msvcrt is not None and isinstance(error, PermissionError))


def name_aside(path: Path) -> Path:
    """Name beside a file or folder that no other machine, process or thread uses.

    Short, so that long names have room.
    """
    return path.with_name(f"{path.name[:40]}.{_PROCESS}-{os.getpid()}-{next(_NUMBERS)}{ASIDE}")


def is_own_aside(path: Path) -> bool:
    """Whether a thread of this process may be writing a file of this name at this moment."""
    return f".{_PROCESS}-{os.getpid()}-" in path.name


def _write_aside(
    path: Path, data: bytes, *, parents: bool, sync: Callable[[int], None] | None = None
) -> Path:
    """Write a file of another name in the same folder."""
    aside = name_aside(path)
    try:
        try:
            _write(aside, data, sync)
        except FileNotFoundError:  # the first file of its folder
            if not parents:
                raise
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(aside, data, sync)
    except OSError:  # a full disk
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        raise
    return aside


def _write(path: Path, data: bytes, sync: Callable[[int], None] | None) -> None:
    with path.open("wb") as file:
        file.write(data)
        if sync is not None:
            file.flush()
            sync(file.fileno())


def _link(aside: Path, path: Path) -> None:
    """Hard-link a file; FileExistsError if the name is taken."""
    try:
        path.hardlink_to(aside)
    except FileExistsError:
        raise
    except (OSError, NotImplementedError):  # no links: FAT, some network shares
        with _file_lock(path.with_name(f"{path.name}.lock")):
            if path.exists():
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
            aside.replace(path)


@contextmanager
def _file_lock(path: Path) -> Iterator[None]:
    """Keep out other processes that lock the same file; a process that is killed lets go."""
    fcntl = import_module("fcntl")
    with path.open("ab") as file:
        with suppress(OSError):  # neither links nor locks: not safe for concurrent processes
            fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            # a process that waits on the removed file is still ordered after this one
            path.unlink(missing_ok=True)


@contextmanager
def _appending(path: Path, flags: int) -> Iterator[int]:
    """Descriptor of a file whose every write goes to its end, with no other process appending."""
    flags |= os.O_APPEND | _BINARY
    descriptor = patiently(lambda: os.open(path, flags, 0o666), path)
    try:
        if _msvcrt is None:
            yield descriptor
        else:
            with _range_lock(descriptor, path):
                yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _range_lock(descriptor: int, path: Path) -> Iterator[None]:
    """Lock a byte of a file on Windows against other processes that do so."""

    def lock(mode: int) -> None:
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        _msvcrt.locking(descriptor, mode, 1)

    patiently(lambda: lock(_msvcrt.LK_NBLCK), path)
    try:
        yield
    finally:
        lock(_msvcrt.LK_UNLCK)


def _write_at_end(descriptor: int, data: bytes, path: Path) -> int:
    """Write at the end of a file opened for appending; returns the offset of the data."""
    written = os.write(descriptor, data)
    end = os.lseek(descriptor, 0, os.SEEK_CUR)
    if written < len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    return end - written


def _end_of_whole_lines(descriptor: int, end: int) -> int:
    """Offset behind the last newline before an offset."""
    while end > 0:
        start = max(0, end - _TAIL_BYTES)
        os.lseek(descriptor, start, os.SEEK_SET)
        newline = os.read(descriptor, end - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
