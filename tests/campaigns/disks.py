"""Disks of their own for campaigns: ext4 that loses power, tmpfs that is full. They need root."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

Cut = Literal[1, 2]
"""1 flushes the file system's log first, so names last longer than contents; 2 does not."""
_EXT4_IOC_SHUTDOWN = 0x8004587D
_UNMOUNT_S = 10.0


class PoweredDisk:
    """ext4 in a file: what was not synced when its power is cut is gone.

    Parameters
    ----------
    folder : Path
        Empty folder for the file and the place where it is mounted.
    options : str
        Mount options.
    """

    def __init__(self, folder: Path, options: str = "defaults") -> None:
        self.path = folder / "disk"
        self._image = folder / "disk.img"
        self._options = options
        self.path.mkdir(parents=True)
        with self._image.open("wb") as file:
            file.truncate(48 << 20)
        _call("mkfs.ext4", "-q", self._image)
        self.mount()

    def mount(self) -> None:
        """Mount it; a log that was cut short is replayed."""
        _call("mount", "-o", f"loop,{self._options}", self._image, self.path)

    def sync(self) -> None:
        """Put all that is on it on the disk."""
        os.sync()

    def cut(self, how: Cut) -> None:
        """Cut the power; from now on every access fails."""
        import fcntl  # not on Windows

        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _EXT4_IOC_SHUTDOWN, struct.pack("I", how))
        finally:
            os.close(descriptor)

    def restart(self) -> None:
        """Mount it again after a cut, once all processes that used it have ended."""
        unmount(self.path)
        self.mount()


@contextmanager
def small_disk(path: Path, kib: int, *, files: int | None = None) -> Iterator[Path]:
    """Mount a tmpfs of a size, and at most so many files and folders; 0 files are no limit."""
    path.mkdir(parents=True)
    _call("mount", "-t", "tmpfs", "-o", _limits(kib, files), "tmpfs", path)
    try:
        yield path
    finally:
        unmount(path)


def resize(path: Path, kib: int, *, files: int | None = None, options: str = "rw") -> None:
    """Change the size of a `small_disk`, or make it read-only."""
    _call("mount", "-o", f"remount,{options},{_limits(kib, files)}", path)


def used_kib(path: Path) -> int:
    """Space that is taken on a disk."""
    found = os.statvfs(path)
    return (found.f_blocks - found.f_bfree) * found.f_frsize // 1024


def used_files(path: Path) -> int:
    """Files and folders on a disk, its root included."""
    found = os.statvfs(path)
    return found.f_files - found.f_ffree


def unmount(path: Path) -> None:
    """Unmount a disk; waits for processes that are about to end."""
    end = time.monotonic() + _UNMOUNT_S
    while subprocess.run(["umount", str(path)], capture_output=True, check=False).returncode:
        if time.monotonic() > end:
            _call("umount", "-l", path)
            return
        time.sleep(0.05)


def unmount_all_below(folder: Path) -> None:
    """Unmount what cases left that ran out of time."""
    mounts = [Path(line.split()[1]) for line in Path("/proc/mounts").read_text().splitlines()]
    for path in reversed(mounts):
        if folder.resolve() in path.parents:
            with suppress(subprocess.CalledProcessError):
                _call("umount", "-l", path)


@cache
def why_no_power_cuts() -> str:
    """Reason why this machine cannot cut the power of a disk; empty if it can."""
    reason = why_no_small_disks()
    if reason:
        return reason
    with TemporaryDirectory() as folder:
        try:
            disk = PoweredDisk(Path(folder) / "try")
        except (OSError, subprocess.CalledProcessError):
            return "power cuts need mkfs.ext4 and loop mounts"
        try:
            disk.cut(2)
        except OSError:
            return "power cuts need ext4 with EXT4_IOC_SHUTDOWN"
        finally:
            unmount(disk.path)
    return ""


@cache
def why_no_small_disks() -> str:
    """Reason why this machine cannot mount a tmpfs; empty if it can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "disks of their own need Linux and root"
    with TemporaryDirectory() as folder:
        try:
            with small_disk(Path(folder) / "try", 64):
                return ""
        except (OSError, subprocess.CalledProcessError):
            return "full disks need tmpfs mounts"


def _limits(kib: int, files: int | None) -> str:
    return f"size={kib}k,nr_inodes={files or 0}"


def _call(*words: object) -> None:
    subprocess.run([str(word) for word in words], check=True, capture_output=True)
