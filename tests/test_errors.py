"""Errors of the file system in words."""

import errno
import os
from pathlib import Path

import pytest

from napari_twostage.errors import StorageError, TwoStageError, storage_error

WORDS = {
    errno.ENOSPC: "free space",
    errno.EDQUOT: "quota",
    errno.EFBIG: "larger",
    errno.EROFS: "read-only",
    errno.EACCES: "permission",
    errno.EPERM: "permission",
    errno.ENOENT: "no such",
    errno.ENOTDIR: "no such",
    errno.EIO: "does not respond",
    errno.EMFILE: "too many files",
}


@pytest.mark.parametrize("number", sorted(WORDS))
def test_a_storage_error_is_one_line_that_names_the_path_and_says_what_to_do(number):
    error = storage_error(OSError(number, os.strerror(number)), Path("out.zarr"))
    assert isinstance(error, TwoStageError)
    assert str(error).startswith("out.zarr: ")
    assert WORDS[number] in str(error)
    assert ";" in str(error)
    assert "\n" not in str(error)


def test_a_storage_error_names_the_file_that_the_system_named():
    error = storage_error(OSError(errno.ENOSPC, "No space left on device", "a/b"))
    assert str(error).startswith("a/b: the disk is full")
    assert str(storage_error(OSError(errno.ENOSPC, "full", b"a"))).startswith("a: ")
    assert str(storage_error(OSError(errno.ENOSPC, "full"))).startswith("the disk is full")


def test_an_unknown_number_keeps_the_words_of_the_system():
    assert "odd thing" in str(storage_error(OSError(9999, "odd\nthing"), "x"))
    assert "torn" in str(storage_error(OSError("torn"), "x"))


def test_a_full_disk_on_windows_is_told_from_an_invalid_argument():
    error = OSError(errno.EINVAL, "Handle disk full")
    error.winerror = 39
    assert isinstance(storage_error(error, "x"), StorageError)
    assert "the disk is full" in str(storage_error(error, "x"))
