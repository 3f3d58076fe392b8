"""A double of Windows for tests on Linux: what it lacks is missing, what it refuses is refused.

``NAPARI_TWOSTAGE_TEST_AS=windows python -m pytest tests/result tests/io tests/engine`` runs tests
under it, their child processes too; `as_windows` puts it on for a while. In the folder for
temporary files, where tests write,

- a file that this process holds open is not replaced, renamed or deleted, nor its folder renamed;
- renaming does not replace, and replacing a folder is refused;
- names that differ in case only are one file, and reserved names and characters are refused;
- text without a stated encoding is that of western Windows;
- appending is two steps, seeking and writing, unless a lock keeps other processes out;
- the functions of ``os`` that Windows lacks are gone, and so is ``fcntl``;
- processes are spawned.
"""

# the functions that pathlib calls cannot be written with pathlib
# ruff: noqa: PTH100, PTH112, PTH113, PTH118, PTH206

from __future__ import annotations

import builtins
import errno
import io
import multiprocessing
import os
import shutil
import struct
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

fcntl: Any = import_module("fcntl") if sys.platform == "linux" else None
VARIABLE = "NAPARI_TWOSTAGE_TEST_AS"
MISSING = [
    "chown",
    "fchmod",
    "fchown",
    "fork",
    "forkpty",
    "killpg",
    "lchown",
    "link",
    "lockf",
    "mkfifo",
    "posix_fallocate",
    "pread",
    "preadv",
    "pwrite",
    "pwritev",
    "statvfs",
    "sync",
    "O_DIRECTORY",
    "O_NOFOLLOW",
    "O_SYNC",
]
"""Names of ``os`` that Windows lacks, without those that the libraries of Linux need."""
RESERVED = {
    "con",
    "prn",
    "aux",
    "nul",
    *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10)),
}
FORBIDDEN = set('<>:"|?*\\')
DENIED, SHARED, EXISTS, NAME = 5, 32, 183, 123
"""Numbers of Windows's errors."""

_ROOT = os.path.realpath(tempfile.gettempdir()) + os.sep


class Msvcrt:
    """The locks of Windows's C library, by those of Linux."""

    LK_UNLCK, LK_NBLCK = 0, 2

    def locking(self, descriptor: int, mode: int, count: int) -> None:
        """Lock or free bytes from the descriptor's position on."""
        kind = fcntl.F_UNLCK if mode == self.LK_UNLCK else fcntl.F_WRLCK
        start = os.lseek(descriptor, 0, os.SEEK_CUR)
        lock = struct.pack("hhqqi4x", kind, os.SEEK_SET, start, count, 0)
        try:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, lock)
        except BlockingIOError as error:
            raise PermissionError(errno.EACCES, "Permission denied") from error


class _Double:
    """The functions that stand in for those of ``os`` and ``io``."""

    def __init__(self) -> None:
        self._real = {name: getattr(os, name) for name in _CHANGED}
        self._open = io.open
        self._link = getattr(os, "link", None)
        self._appending: set[int] = set()

    # -- names ------------------------------------------------------------------------------------

    def spelt(self, path: Any) -> Any:
        """The path as the disk spells it, where there is such a file in any case."""
        if isinstance(path, int) or path is None:
            return path
        text = os.fspath(path)
        if isinstance(text, bytes):
            return path
        whole = os.path.abspath(text)
        if not whole.startswith(_ROOT):
            return path
        place = _ROOT.rstrip(os.sep)
        for name in whole[len(_ROOT) :].split(os.sep):
            _refuse_name(name, text)
            place = self._child(place, name)
        return place

    def _child(self, folder: str, name: str) -> str:
        exact = os.path.join(folder, name)
        with suppress(OSError):
            self._real["lstat"](exact)
            return exact
        with suppress(OSError):
            for other in self._real["listdir"](folder):
                if other.casefold() == name.casefold():
                    return os.path.join(folder, other)
        return exact

    # -- what is held open ------------------------------------------------------------------------

    def refuse_held(self, path: Any, *, below: bool = False) -> None:
        """Raise as Windows does where this process has the file open, or one in the folder."""
        text = os.path.abspath(os.fspath(path))
        if not text.startswith(_ROOT):
            return
        for descriptor in self._real["listdir"]("/proc/self/fd"):
            with suppress(OSError):
                held = self._real["readlink"](f"/proc/self/fd/{descriptor}")
                if held == text or (below and held.startswith(text + os.sep)):
                    break
        else:
            return
        raise _error(PermissionError, errno.EACCES, SHARED, text)

    # -- functions of os --------------------------------------------------------------------------

    def replace(self, source: Any, target: Any, **options: Any) -> None:
        source, target = self.spelt(source), self.spelt(target)
        self.refuse_held(source, below=True)
        self.refuse_held(target)
        if str(target).startswith(_ROOT) and os.path.isdir(target):
            raise _error(PermissionError, errno.EACCES, DENIED, target)
        self._real["replace"](source, target, **options)

    def rename(self, source: Any, target: Any, **options: Any) -> None:
        source, wanted = self.spelt(source), self.spelt(target)
        self.refuse_held(source, below=True)
        if not str(wanted).startswith(_ROOT) or wanted == source:
            self._real["rename"](source, target, **options)
        elif self._link and os.path.isfile(source):  # in one step, as another thread may come first
            try:
                self._link(source, wanted)
            except FileExistsError:
                raise _error(FileExistsError, errno.EEXIST, EXISTS, wanted) from None
            self._real["unlink"](source)
        elif os.path.lexists(wanted):
            raise _error(FileExistsError, errno.EEXIST, EXISTS, wanted)
        else:
            self._real["rename"](source, target, **options)

    def unlink(self, path: Any, **options: Any) -> None:
        path = self.spelt(path)
        if "dir_fd" not in options:
            self.refuse_held(path)
        self._real["unlink"](path, **options)

    def open(self, path: Any, flags: int, *arguments: Any, **options: Any) -> int:
        appending = flags & os.O_APPEND
        if appending and str(os.path.abspath(path)).startswith(_ROOT):
            flags &= ~os.O_APPEND
        descriptor: int = self._real["open"](self.spelt(path), flags, *arguments, **options)
        self._appending.discard(descriptor)
        if appending:
            self._appending.add(descriptor)
        return descriptor

    def write(self, descriptor: int, data: Any) -> int:
        if descriptor in self._appending:
            os.lseek(descriptor, 0, os.SEEK_END)
            time.sleep(0.0005)  # another process may write here now
        written: int = self._real["write"](descriptor, data)
        return written

    def spelling(self, name: str) -> Callable[..., Any]:
        """A function of ``os`` that takes a path, in whatever case."""
        real = self._real[name]

        def with_path(path: Any = ".", *arguments: Any, **options: Any) -> Any:
            return real(self.spelt(path), *arguments, **options)

        return with_path

    def open_file(
        self,
        file: Any,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        *arguments: Any,
        **options: Any,
    ) -> Any:
        if "b" not in mode and encoding in {None, "locale"} and not isinstance(file, int):
            encoding = "cp1252"
        return self._open(self.spelt(file), mode, buffering, encoding, *arguments, **options)


_SPELLING = ("stat", "lstat", "mkdir", "listdir", "scandir", "rmdir", "chmod", "utime", "access")
_CHANGED = ("replace", "rename", "unlink", "open", "write", "readlink", *_SPELLING)


def _refuse_name(name: str, path: str) -> None:
    stem = name.partition(".")[0].rstrip().casefold()
    if stem in RESERVED or FORBIDDEN & set(name) or (name != name.rstrip(" .") and name != ".."):
        raise _error(OSError, errno.EINVAL, NAME, path)


def _error(kind: type[OSError], number: int, windows: int, path: Any) -> OSError:
    error = kind(number, f"[WinError {windows}] refused by the double", str(path))
    error.winerror = windows  # type: ignore[attr-defined]
    return error


@contextmanager
def as_windows() -> Iterator[None]:
    """Behave like Windows, as far as files and processes go; on other systems than Linux, as is."""
    if sys.platform != "linux":
        yield
        return
    double, files = _Double(), import_module("napari_twostage.io.files")
    functions: dict[str, Any] = {name: double.spelling(name) for name in _SPELLING}
    own = ("replace", "rename", "unlink", "open", "write")
    functions |= {name: getattr(double, name) for name in own} | {"remove": double.unlink}
    before = multiprocessing.get_start_method(allow_none=True)
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(files, "_msvcrt", Msvcrt()))
        stack.enter_context(mock.patch.multiple(os, **functions))
        for module in (builtins, io):
            stack.enter_context(mock.patch.object(module, "open", double.open_file))
        stack.enter_context(_without(os, MISSING))
        stack.enter_context(mock.patch.object(shutil, "_use_fd_functions", new=False))
        stack.enter_context(mock.patch.dict(sys.modules, {"fcntl": None}))
        local = import_module("zarr.storage._local")
        if hasattr(local, "_safe_move"):  # as zarr itself chooses on Windows
            stack.enter_context(mock.patch.object(local, "_safe_move", double.rename))
        multiprocessing.set_start_method("spawn", force=True)
        stack.callback(multiprocessing.set_start_method, before, force=True)
        yield


@contextmanager
def _without(module: Any, names: list[str]) -> Iterator[None]:
    held = {name: getattr(module, name) for name in names if hasattr(module, name)}
    for name in held:
        delattr(module, name)
    try:
        yield
    finally:
        for name, value in held.items():
            setattr(module, name, value)


def install() -> None:
    """Behave like Windows from now on, child processes too, if the environment asks for it."""
    if os.environ.get(VARIABLE) != "windows":
        return
    here = Path(__file__).parent
    known = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    paths = [str(here / "as_windows"), str(here.parent)]
    added = [path for path in paths if path not in known]
    os.environ["PYTHONPATH"] = os.pathsep.join([*added, *filter(None, known)])
    _FOR_GOOD.enter_context(as_windows())


_FOR_GOOD = ExitStack()
