"""Saving our labels layer exports its result; other layers are refused in one line."""

from __future__ import annotations

import json

import numpy as np
import pytest
import zarr
from napari.components import ViewerModel
from napari.layers import Labels

from napari_twostage.errors import ExportError
from napari_twostage.viewer import reader


@pytest.fixture
def labels(result) -> Labels:
    viewer = ViewerModel()
    for data in reader.read_result(str(result.path)):
        viewer._add_layer_from_data(*data)
    return viewer.layers[-1]


@pytest.mark.usefixtures("plugin")
def test_labels_are_saved_as_ome_zarr(labels, result, tmp_path) -> None:
    (written,) = labels.save(str(tmp_path / "out.ome.zarr"))
    found = zarr.open(written, mode="r")
    level = found[found.attrs["ome"]["multiscales"][0]["datasets"][0]["path"]]
    assert np.array_equal(level[...].squeeze(), result.read_labels(result.grid.box))


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize("name", ["out.geojson", "out.geojson.gz"])
def test_labels_are_saved_as_geojson(labels, tmp_path, name) -> None:
    (written,) = labels.save(str(tmp_path / name))
    assert written == str(tmp_path / name)
    if name.endswith("json"):
        assert json.loads((tmp_path / name).read_text())["features"]


@pytest.mark.usefixtures("plugin")
def test_other_labels_are_refused_in_one_line(tmp_path) -> None:
    foreign = Labels(np.ones((20, 20), np.uint8), name="mine")
    with pytest.raises(ExportError, match="mine shows no saved result") as refused:
        foreign.save(str(tmp_path / "out.geojson"))
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.iterdir())
