"""An export is complete or absent, and says in one line why it is absent."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from tests.export.fakes import FakeSegmentation

from napari_twostage.errors import ExportError, ReadError
from napari_twostage.export import atomic, export

EVERY_NAME = (
    "out.geojson", "out.geojson.gz", "out.ome.zarr", "out.ome.tif", "areas.csv", "objects.csv",
    "out.png",
)  # fmt: skip


class Damaged(FakeSegmentation):
    """Labels that cannot be read to their end."""

    def read_labels(self, box, level=0):
        if box.bottom == self.plane.shape[0]:
            raise ReadError("a tile is damaged")
        return super().read_labels(box, level)


@pytest.fixture
def plane():
    return (np.random.default_rng(0).random((40, 30)) < 0.4).astype(np.uint8)


@pytest.mark.parametrize("name", EVERY_NAME)
def test_a_failure_keeps_the_earlier_file_and_leaves_nothing_else(tmp_path, plane, name):
    path = export(FakeSegmentation(plane), tmp_path / name)
    before = path.stat().st_mtime_ns
    with pytest.raises(ReadError):
        export(Damaged(plane), path)
    assert path.stat().st_mtime_ns == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", EVERY_NAME)
def test_what_replaces_a_file_is_on_the_disk_before(tmp_path, plane, name, monkeypatch):
    path = export(FakeSegmentation(plane), tmp_path / name)
    synced = []

    def fail(*_):
        assert [made.name for made in synced] == [f".{name}.partial"]
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(atomic, "sync_tree", synced.append)
    monkeypatch.setattr(atomic, "replace_file", fail)
    with pytest.raises(ExportError, match="could not be written"):
        export(FakeSegmentation(1 - plane), path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_was_moved_away_by_a_killed_export_does_not_stay(tmp_path, plane):
    path = export(FakeSegmentation(plane), tmp_path / "out.ome.zarr")
    path.rename(tmp_path / ".out.ome.zarr.former")
    export(FakeSegmentation(plane), path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", EVERY_NAME)
def test_progress_rises_to_the_end(tmp_path, plane, name):
    done = []
    assert export(FakeSegmentation(plane), str(tmp_path / name), progress=done.append).exists()
    assert done == sorted(done)
    assert done[-1] == pytest.approx(1)


@pytest.mark.parametrize("name", ["out", "out.csv", "labels.zarr", "out.json"])
def test_unknown_endings_list_the_known(tmp_path, plane, name):
    with pytest.raises(ExportError, match=r"\.geojson\.gz.*areas\.csv.*\.png") as refusal:
        export(FakeSegmentation(plane), tmp_path / name)
    assert "\n" not in str(refusal.value)
    assert not list(tmp_path.iterdir())


def test_endings_may_be_in_capitals(tmp_path, plane):
    assert export(FakeSegmentation(plane), tmp_path / "OUT.GeoJSON").is_file()


def test_a_missing_folder_is_named(tmp_path, plane):
    with pytest.raises(ExportError, match=r"nowhere is not a folder"):
        export(FakeSegmentation(plane), tmp_path / "nowhere" / "out.geojson")


def test_a_folder_of_somebody_else_is_not_replaced(tmp_path, plane):
    precious = tmp_path / "mine.ome.zarr"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years")
    with pytest.raises(ExportError, match="choose another name"):
        export(FakeSegmentation(plane), precious)
    assert (precious / "thesis.txt").read_text() == "years"


def test_the_segmentation_does_not_replace_itself(tmp_path, plane):
    path = tmp_path / "result.ome.zarr"
    path.mkdir()
    (path / "zarr.json").write_text("{}")
    with pytest.raises(ExportError, match="the segmentation itself"):
        export(FakeSegmentation(plane, path=path), path)
    assert (path / "zarr.json").read_text() == "{}"


def test_a_full_disk_is_one_line(tmp_path, plane, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(FakeSegmentation, "read_labels", full)
    with pytest.raises(ExportError, match=r"out\.geojson could not be written: No space left"):
        export(FakeSegmentation(plane), tmp_path / "out.geojson")
    assert not list(tmp_path.iterdir())


def test_importing_loads_nothing_heavy():
    code = (
        "import sys, napari_twostage.export\n"
        "heavy = {'torch', 'dask', 'zarr', 'matplotlib', 'rasterio', 'shapely', 'tifffile'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
