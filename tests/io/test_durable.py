"""What is written is synced in the right order: files, then the folders that name them."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from napari_twostage.io import durable
from napari_twostage.io.durable import DirtyFiles, make_folders, sync_tree, write_durably

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Files and folders in the order in which they are synced."""
    order: list[Path] = []
    sync_file, sync_folder = durable.sync_file, durable.sync_folder

    def file(path: Path, *, drive: bool = True) -> None:
        order.append(path)
        sync_file(path, drive=drive)

    def folder(path: Path) -> None:
        order.append(path)
        sync_folder(path)

    monkeypatch.setattr(durable, "sync_file", file)
    monkeypatch.setattr(durable, "sync_folder", folder)
    return order


def test_a_file_is_written_or_replaced_whole(tmp_path: Path) -> None:
    for data in (b"first", b"second"):
        write_durably(tmp_path / "a", data)
        assert (tmp_path / "a").read_bytes() == data
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    with pytest.raises(FileNotFoundError):
        write_durably(tmp_path / "nowhere" / "a", b"")


def test_files_come_before_the_folders_that_name_them(tmp_path: Path, synced: list[Path]) -> None:
    dirty = DirtyFiles(tmp_path)
    place = tmp_path / "a" / "b" / "chunk"
    place.parent.mkdir(parents=True)
    for name in ("chunk", "other"):
        place.with_name(name).write_bytes(b"x")
        dirty.add(place.with_name(name))
    dirty.sync()
    first, *folders, last = synced
    assert {first, last} == {place, place.with_name("other")}
    assert set(folders) == {place.parent, place.parent.parent, tmp_path}, "new folders, too"

    synced.clear()
    dirty.add(place)
    dirty.sync()
    assert set(synced) == {place, place.parent}, "folders that were synced are not synced again"
    synced.clear()
    dirty.sync()
    assert synced == []


def test_files_that_were_removed_meanwhile_are_no_error(tmp_path: Path) -> None:
    dirty = DirtyFiles(tmp_path)
    dirty.add(tmp_path / "gone" / "chunk")
    dirty.sync()


def test_what_could_not_be_synced_is_synced_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, synced: list[Path]
) -> None:
    place = tmp_path / "chunk"
    place.write_bytes(b"x")
    dirty = DirtyFiles(tmp_path)
    dirty.add(place)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            dirty.sync()
    synced.clear()
    dirty.sync()
    assert place in synced


def test_a_file_system_that_cannot_sync_is_taken_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(_: int) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "fsync", never)
    write_durably(tmp_path / "a", b"x")
    assert (tmp_path / "a").read_bytes() == b"x"


def test_a_tree_is_synced_from_its_leaves(tmp_path: Path, synced: list[Path]) -> None:
    leaf = tmp_path / "a" / "b" / "leaf"
    leaf.parent.mkdir(parents=True)
    leaf.write_bytes(b"x")
    sync_tree(tmp_path / "a")
    assert synced == [leaf, leaf.parent, tmp_path / "a"]


def test_a_root_that_is_gone_is_not_made_again(tmp_path: Path) -> None:
    make_folders(tmp_path / "a" / "b", tmp_path)
    assert (tmp_path / "a" / "b").is_dir()
    with pytest.raises(FileNotFoundError):
        make_folders(tmp_path / "gone" / "a", tmp_path / "gone")
    assert not (tmp_path / "gone").exists()


def test_only_the_name_of_a_file_that_was_synced_is_synced(
    tmp_path: Path, synced: list[Path]
) -> None:
    dirty = DirtyFiles(tmp_path)
    place = tmp_path / "a" / "1"
    place.parent.mkdir()
    write_durably(place, b"x")
    synced.clear()
    dirty.add(place, synced=True)
    dirty.sync()
    assert set(synced) == {place.parent, tmp_path}
