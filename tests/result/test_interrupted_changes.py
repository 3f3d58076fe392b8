"""Edits on disks that refuse or have lost power: made or not made, and never a part of one."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.fakes import FakeModel, noise_slide

from napari_twostage import Box, Segmentation, segment
from napari_twostage.errors import StorageError
from napari_twostage.result.journal import Journal
from napari_twostage.result.label_pyramid import LabelPyramid
from napari_twostage.result.label_store import LabelStore
from napari_twostage.result.result_files import HANDOVER

if TYPE_CHECKING:
    from pathlib import Path

PLACE = Box.at(10, 20, 30, 40)
PAINT = np.ones(PLACE.shape, np.uint8)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Refined result without edits."""
    segment(noise_slide(), FakeModel(), tmp_path / "out.zarr", refine="all", tissue=False)
    return tmp_path / "out.zarr"


def levels_of(out: Path) -> list[np.ndarray]:
    return [np.asarray(level) for level in Segmentation.open(out).labels]


def assert_equal(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def fill_disk(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    "late", [(LabelStore, "store_edit"), (LabelPyramid, "flush")], ids=lambda late: late[1]
)
def test_a_change_stands_once_it_is_committed_though_the_disk_is_full_then(
    out: Path, late: tuple[type, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = levels_of(out)
    seg = Segmentation.open(out)
    with monkeypatch.context() as patch:
        patch.setattr(*late, fill_disk)
        seg.edit(PLACE, PAINT)
        assert (seg.read_labels(PLACE) == 1).all()
    after = levels_of(out)
    assert (after[0][PLACE.slices] == 1).all()
    with monkeypatch.context() as patch:
        patch.setattr(*late, fill_disk)
        again = Segmentation.open(out)
        if late[1] == "flush":
            assert again.undo_edit()
        else:  # the edit before it is to be stored first
            with pytest.raises(StorageError, match="the disk is full"):
                again.undo_edit()
            assert_equal(levels_of(out), after)
            patch.undo()
            assert again.undo_edit()
    assert_equal(levels_of(out), before)
    assert not Segmentation.open(out).check()


def test_a_change_that_cannot_be_committed_has_changed_nothing(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = levels_of(out)
    seg = Segmentation.open(out)
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "append", fill_disk)
        with pytest.raises(StorageError, match="the disk is full"):
            seg.edit(PLACE, PAINT)
    assert_equal([np.asarray(level) for level in seg.labels], before)
    assert_equal(levels_of(out), before)
    seg.edit(PLACE, PAINT)
    assert (levels_of(out)[0][PLACE.slices] == 1).all()
    assert len(Segmentation.open(out).edit_boxes) == 1


def test_an_edit_rebuilds_levels_that_a_power_cut_took(out: Path, tmp_path: Path) -> None:
    sound = segment(noise_slide(), FakeModel(), tmp_path / "2.zarr", refine="all", tissue=False)
    sound.edit(PLACE, PAINT)
    chunks = [path for path in (out / "overview").rglob("c/*/*") if path.is_file()]
    assert len(chunks) > 2
    for chunk in chunks:
        chunk.write_bytes(b"")
    Segmentation.open(out).edit(PLACE, PAINT)
    damaged = {finding.file for finding in Segmentation.open(out).check()}
    assert not any("/".join(path.parts[-5:]) in damaged for path in chunks if path.stat().st_size)
    assert_equal(levels_of(out), [np.asarray(level) for level in sound.labels])


def test_a_writer_stops_the_workers_of_a_run_whose_owner_was_killed(out: Path) -> None:
    marker = out / HANDOVER / "token" / "goes-on"
    marker.parent.mkdir(parents=True)
    marker.write_bytes(b"")
    Segmentation.open(out).edit(PLACE, PAINT)
    assert not (out / HANDOVER).exists()


def test_a_writer_removes_small_files_that_another_was_killed_over(out: Path) -> None:
    Segmentation.open(out).edit(PLACE, PAINT)
    left = [out / "record.json.a-1-2.partial", out / "undo" / "1.npz.a-1-3.partial"]
    waiting = out / "lock.json.b-2-1.partial"
    for file in (*left, waiting):
        file.write_bytes(b"{")
    Segmentation.open(out).edit(PLACE, PAINT)
    assert not any(file.exists() for file in left)
    assert waiting.exists()  # of another process, which gives it its name at any moment


def test_an_edit_that_was_saved_and_not_recorded_is_shown_before_a_writer_records_it(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """What no handler catches, and nothing is cleared up after."""

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "append", die)
        patch.setattr("napari_twostage.result.edits.remove_file", die)
        with pytest.raises(Killed):
            Segmentation.open(out).edit(PLACE, PAINT)
    shown = levels_of(out)
    assert (shown[0][PLACE.slices] == 1).all()
    again = Segmentation.open(out)
    assert again.edit_boxes == [PLACE]
    with again.writer.writing():
        pass
    assert again.edit_boxes == Segmentation.open(out).edit_boxes == [PLACE]
    assert not again.check()
    assert_equal(levels_of(out), shown)
    assert again.undo_edit()
    assert not again.undo_edit()
