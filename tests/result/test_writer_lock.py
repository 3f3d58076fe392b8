"""One writer at a time; a lock outlives its owner only on another machine."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from tests.servers import memory

from napari_twostage.errors import LockedError
from napari_twostage.io.url import Url
from napari_twostage.result import writer_lock
from napari_twostage.result.writer_lock import FILE, Owner, WriterLock

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_lock, "PATIENCE_S", 0.1)


def leave(folder: Path, **changes: Any) -> None:
    """Leave the lock of this process, but for some entries."""
    values = {**asdict(Owner.this_process()), **changes}
    (folder / FILE).write_text(json.dumps(values), encoding="utf-8")


def ended_process() -> int:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_the_lock_is_a_file_while_it_is_held(tmp_path: Path) -> None:
    lock = WriterLock(tmp_path)
    with lock.hold() as first:
        assert first
        assert lock.held
        assert lock.owner == Owner(**json.loads((tmp_path / FILE).read_bytes()))
        assert lock.owner.process == os.getpid()
        with lock.hold() as again:
            assert not again, "held already"
        assert lock.held
    assert not lock.held
    assert list(tmp_path.iterdir()) == []


def test_threads_of_one_object_share_it_and_other_objects_do_not(tmp_path: Path) -> None:
    lock, other = WriterLock(tmp_path), WriterLock(tmp_path)

    def hold(which: WriterLock) -> bool:
        with which.hold():
            return True

    with lock.hold(), ThreadPoolExecutor(1) as thread:
        assert thread.submit(hold, lock).result()
        with pytest.raises(LockedError, match=f"process {os.getpid()} on .*wait until it is done"):
            thread.submit(hold, other).result()
    assert hold(other)


def test_the_lock_is_given_back_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), WriterLock(tmp_path).hold():
        raise ZeroDivisionError
    assert not (tmp_path / FILE).exists()


def test_a_lock_of_a_process_that_has_ended_is_stale(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text("{}")
    leave(tmp_path, process=ended_process())
    with WriterLock(tmp_path).hold():
        pass


def test_a_process_with_the_number_of_the_owner_is_not_the_owner(tmp_path: Path) -> None:
    leave(tmp_path, process=os.getppid(), process_started=psutil.Process().create_time() - 1e6)
    with WriterLock(tmp_path).hold():
        pass


@pytest.mark.parametrize("content", [b"", b"\0" * 50, b"[]", b"{}", b'"text"', b"[" * 9999])
def test_a_lock_that_a_power_cut_left_is_stale(content: bytes, tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(content)
    with WriterLock(tmp_path).hold():
        pass


def test_a_lock_of_another_machine_is_the_users_to_take_over(tmp_path: Path) -> None:
    leave(tmp_path, host="elsewhere")
    lock = WriterLock(tmp_path)
    with pytest.raises(LockedError, match=r"elsewhere.*--take-over"), lock.hold():
        pass
    lock.take_over()
    with lock.hold():
        pass
    lock.take_over()  # there is none


def test_a_lock_of_a_process_that_runs_is_not_taken_over(tmp_path: Path) -> None:
    with WriterLock(tmp_path).hold():
        with pytest.raises(LockedError, match="is being written") as caught:
            WriterLock(tmp_path).take_over()
        assert (tmp_path / FILE).exists()
    copied = pickle.loads(pickle.dumps(caught.value))
    assert str(copied) == str(caught.value)


def test_a_lock_that_somebody_took_over_is_not_removed_by_its_old_owner(tmp_path: Path) -> None:
    with WriterLock(tmp_path).hold():
        leave(tmp_path, host="elsewhere")
    assert (tmp_path / FILE).exists()


def test_a_folder_that_is_removed_takes_its_lock_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "result"
    folder.mkdir()
    with WriterLock(folder).hold():
        (folder / FILE).unlink()
        folder.rmdir()
    assert not folder.exists()


def test_there_is_a_lock_on_an_object_store_too() -> None:
    with memory():
        folder = Url("memory://bucket/result")
        lock, other = WriterLock(folder), WriterLock(folder)
        with lock.hold(), pytest.raises(LockedError), other.hold():
            pass
        with other.hold():
            pass
