"""Files are written, replaced and removed on every system, also while somebody reads them."""

from __future__ import annotations

import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from multiprocessing import get_context
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.any_machine import as_windows
from tests.fakes import FakeModel, noise
from tests.proofs.helpers import assert_same, outcome

from napari_twostage import Segmentation, export, open_slide, segment
from napari_twostage.errors import BusyFileError
from napari_twostage.io import files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(params=["here", "windows"])
def system(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run a test as it is, and under the double of Windows."""
    with as_windows() if request.param == "windows" else nullcontext():
        yield request.param


@pytest.fixture
def windows() -> Iterator[None]:
    """Run a test under the double of Windows, or on it."""
    if sys.platform == "darwin":
        pytest.skip("the double needs Linux")
    with as_windows():
        yield


@contextmanager
def held(path: Path, seconds: float) -> Iterator[None]:
    """Another program that opens a file, and closes it after a while."""
    opened = threading.Event()

    def hold() -> None:
        with path.open("rb"):
            opened.set()
            time.sleep(seconds)

    holder = threading.Thread(target=hold)
    holder.start()
    opened.wait()
    yield
    holder.join()


def replaced(path: Path) -> None:
    files.write_file(path, b"new")
    assert path.read_bytes() == b"new"


def removed(path: Path) -> None:
    files.remove_file(path)
    assert not path.exists()


def moved(path: Path) -> None:
    files.rename(path.parent, path.parent.with_name("moved"))
    assert not path.exists()


def cleared(path: Path) -> None:
    files.remove_folder(path.parent)
    assert not path.exists()


CHANGES = [replaced, removed, moved, cleared]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "folder" / "file"
    path.parent.mkdir()
    path.write_bytes(b"old")
    return path


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.usefixtures("system")
def test_a_file_that_is_read_for_a_moment_is_waited_for(
    change: Callable[[Path], None], path: Path
) -> None:
    with held(path, 0.05):
        change(path)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.usefixtures("windows")
def test_a_file_that_stays_open_is_named_and_left_as_it_is(
    change: Callable[[Path], None], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_PATIENCE_S", 0.05)
    with held(path, 0.3), pytest.raises(BusyFileError, match="in use by another program") as error:
        change(path)
    assert str(path.parent) in str(error.value)
    assert "\n" not in str(error.value)
    assert path.read_bytes() == b"old"
    assert [one.name for one in path.parent.iterdir()] == ["file"]


@pytest.mark.usefixtures("system")
def test_a_file_is_made_by_one_of_many(tmp_path: Path) -> None:
    for number in range(20):
        path = tmp_path / "new" / str(number)
        with ThreadPoolExecutor(4) as pool:
            made = list(pool.map(lambda n: files.create_file(path, b"%d" % n), range(4)))  # noqa: B023
        assert made.count(True) == 1
        assert path.read_bytes() == b"%d" % made.index(True)
    assert all(one.name.isdecimal() for one in (tmp_path / "new").iterdir())


def test_without_links_a_file_of_another_process_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, rename = tmp_path / "shard", os.rename

    def refuse(*_: object) -> None:
        path.write_bytes(b"theirs")  # between our look and our writing
        raise OSError("no links here")

    def rename_late(*names: str) -> None:  # as Windows does instead
        path.write_bytes(b"theirs")
        rename(*names)

    monkeypatch.setattr(os, "link", refuse, raising=False)
    monkeypatch.setattr(os, "rename", rename_late)
    assert not files.create_file(path, b"ours")
    assert path.read_bytes() == b"theirs"
    assert [one.name for one in tmp_path.iterdir()] == ["shard"]


@pytest.mark.usefixtures("system")
def test_what_many_append_is_there_once(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"")
    with ThreadPoolExecutor(4) as pool:
        starts = list(pool.map(lambda n: files.append(path, b"%03d" % n), range(200)))
    data = path.read_bytes()
    assert [data[start : start + 3] for start in starts] == [b"%03d" % n for n in range(200)]
    assert len(data) == 600


@pytest.mark.usefixtures("system")
def test_a_line_longer_than_what_is_looked_at_is_cut_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    files.append_lines(path, b"first\n")
    with path.open("ab") as file:
        file.write(b"x" * 10_000)
    files.append_lines(path, b"second\n")
    assert path.read_bytes() == b"first\nsecond\n"


def read_again_and_again(folder: Path, done: threading.Event) -> None:
    """Read all files of a folder, and be slow about it."""
    while not done.is_set():
        for path in list(folder.rglob("*")):
            if path.is_file() and ".partial" not in path.name:
                try:
                    with path.open("rb") as file:
                        time.sleep(0.001)
                        file.read()
                except FileNotFoundError:
                    continue
        time.sleep(0.001)


def reopened(folder: str, labels: str) -> None:
    """Read a result, in a process of its own, and keep its labels."""
    np.save(labels, np.asarray(Segmentation.open(folder, slide=slide()).labels[0]))


def slide() -> object:
    return open_slide(noise(150, 170), mpp=0.5)


@pytest.mark.usefixtures("windows")
def test_a_run_goes_on_while_its_files_are_read(tmp_path: Path) -> None:
    options = {"refine": "all", "tissue": False}
    expected = outcome(segment(slide(), FakeModel(), tmp_path / "alone", **options))
    done, folder = threading.Event(), tmp_path / "read"
    reader = threading.Thread(target=read_again_and_again, args=(folder, done))
    reader.start()
    try:
        seg = segment(slide(), FakeModel(), folder, **options)
        exported = [export(seg, tmp_path / "labels.ome.zarr") for _ in range(2)]
    finally:
        done.set()
        reader.join()
    assert exported[0].is_dir()
    assert_same(outcome(Segmentation.open(folder, slide=slide())), expected)
    labels = tmp_path / "labels.npy"
    child = get_context().Process(target=reopened, args=(str(folder), str(labels)))
    child.start()
    child.join()
    np.testing.assert_array_equal(np.load(labels), expected["labels 0"])


def test_a_file_is_not_written_into_a_folder_that_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "gone" / "file"
    with pytest.raises(FileNotFoundError):
        files.write_file(path, b"late")
    assert not path.parent.exists()
    files.write_file(path, b"first", parents=True)
    assert path.read_bytes() == b"first"
