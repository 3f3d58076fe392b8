"""OME-Zarr labels: a round trip through zarr and through ome-zarr returns the same labels."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import zarr
from tests.export.fakes import FakeSegmentation
from zarr.storage import LocalStore

from napari_twostage.export import export, zarr_labels


@pytest.fixture
def seg(monkeypatch):
    monkeypatch.setattr(zarr_labels, "CHUNK_PX", 32)
    plane = np.random.default_rng(0).integers(0, 3, (101, 75), dtype=np.uint8)
    plane[32:64, 32:64] = 0
    return FakeSegmentation(plane, downsample=(2.0, 1.3))


def test_every_level_comes_back(seg, tmp_path):
    root = zarr.open_group(export(seg, tmp_path / "labels.ome.zarr"), mode="r")
    assert root.metadata.zarr_format == 3
    for level, labels in enumerate(seg.labels):
        np.testing.assert_array_equal(root[str(level)][:], labels.compute())
    assert sorted(root.array_keys()) == ["0", "1", "2"]


def test_every_chunk_is_written_once_and_empty_ones_never(seg, tmp_path, monkeypatch):
    written = Counter()
    original = LocalStore.set

    async def spy(store, key, value):
        written[key] += 1
        await original(store, key, value)

    monkeypatch.setattr(LocalStore, "set", spy)
    export(seg, tmp_path / "labels.ome.zarr")
    chunks = {key: count for key, count in written.items() if "/c/" in key}
    assert set(chunks.values()) == {1}
    assert "0/c/1/1" not in chunks
    assert sum(key.startswith("0/") for key in chunks) == 4 * 3 - 1


def test_metadata_places_and_names_the_labels(seg, tmp_path):
    ome = zarr.open_group(export(seg, tmp_path / "labels.ome.zarr"), mode="r").attrs["ome"]
    assert ome["version"] == "0.5"
    (image,) = ome["multiscales"]
    assert [axis["unit"] for axis in image["axes"]] == ["micrometer", "micrometer"]
    for level, dataset in enumerate(image["datasets"]):
        scale, translation = (
            transform[transform["type"]] for transform in dataset["coordinateTransformations"]
        )
        # A level's pixel edge 0 is the slide's, half a slide pixel before its first centre.
        assert scale == pytest.approx([0.5 * 2**level, 0.325 * 2**level])
        assert np.subtract(translation, np.divide(scale, 2)) == pytest.approx([-0.125, -0.125])
    assert ome["image-label"] == {
        "colors": [
            {"label-value": 1, "rgba": [44, 160, 44, 255]},
            {"label-value": 2, "rgba": [214, 39, 40, 255]},
        ],
        "properties": [
            {"label-value": 1, "class": "nucleus"},
            {"label-value": 2, "class": "gland"},
        ],
    }


def test_the_ome_zarr_library_reads_it(seg, tmp_path):
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader

    path = export(seg, tmp_path / "labels.ome.zarr")
    (node,) = Reader(parse_url(path))()
    assert [level.shape for level in node.data] == [level.shape for level in seg.labels]
    np.testing.assert_array_equal(node.data[0].compute(), seg.plane)
    assert node.metadata["properties"][2]["class"] == "gland"
    assert node.metadata["axes"][0]["name"] == "y"


def test_an_earlier_export_is_replaced_whole(seg, tmp_path):
    path = export(seg, tmp_path / "labels.ome.zarr")
    (path / "stale").write_text("")
    export(seg, path)
    assert not (path / "stale").exists()
    assert [entry.name for entry in tmp_path.iterdir()] == ["labels.ome.zarr"]
