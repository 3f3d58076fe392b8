"""Files that were written are synced once, with the folders that name them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from napari_twostage.io import durable
from napari_twostage.io.durable import DirtyFiles

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Files and folders, in the order in which they are synced."""
    places: list[Path] = []
    monkeypatch.setattr(durable, "sync_file", lambda path, **_: places.append(path))
    monkeypatch.setattr(durable, "sync_folder", places.append)
    return places


def test_new_folders_are_synced_up_to_the_root(tmp_path: Path, synced: list[Path]) -> None:
    dirty = DirtyFiles(tmp_path)
    dirty.add(tmp_path / "a" / "b" / "1")
    dirty.sync()
    assert set(synced) == {
        tmp_path / "a" / "b" / "1",
        tmp_path / "a" / "b",
        tmp_path / "a",
        tmp_path,
    }
    synced.clear()
    dirty.add(tmp_path / "a" / "b" / "2")
    dirty.sync()
    assert set(synced) == {tmp_path / "a" / "b" / "2", tmp_path / "a" / "b"}
    synced.clear()
    dirty.sync()
    assert not synced


def test_only_the_name_of_a_synced_file_is_synced(tmp_path: Path, synced: list[Path]) -> None:
    dirty = DirtyFiles(tmp_path)
    dirty.add(tmp_path / "a" / "1", synced=True)
    dirty.sync()
    assert set(synced) == {tmp_path / "a", tmp_path}


def test_what_could_not_be_synced_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dirty = DirtyFiles(tmp_path)
    dirty.add(tmp_path / "1")
    dirty.add(tmp_path / "2", synced=True)

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(durable, "sync_file", fail)
        with pytest.raises(OSError, match="No space"):
            dirty.sync()
    synced: list[Path] = []
    monkeypatch.setattr(durable, "sync_file", lambda path, **_: synced.append(path))
    monkeypatch.setattr(durable, "sync_folder", synced.append)
    dirty.sync()
    assert set(synced) == {tmp_path / "1", tmp_path}
