"""AnnData files hold the table of objects, as anndata itself lays files out."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from tests.export.fakes import FakeSegmentation

from napari_twostage.errors import ExportError
from napari_twostage.export import anndata_table, export, extras
from napari_twostage.measure.object_table import ObjectTables

h5py = pytest.importorskip("h5py")


def seg_of_noise():
    random = np.random.default_rng(0)
    plane = (random.random((120, 90)) < 0.5) * random.integers(1, 3, (120, 90))
    return FakeSegmentation(plane.astype(np.uint8), least_object_um2=0.2, tile_px=32)


def words(group, name):
    kinds = group[name]["categories"].asstr()[:]
    return kinds[group[name]["codes"][:]]


def test_every_column_is_that_of_the_csv(tmp_path, monkeypatch):
    monkeypatch.setattr(anndata_table, "ROWS", 64)  # several writes
    seg = seg_of_noise()
    with export(seg, tmp_path / "objects.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with h5py.File(export(seg, tmp_path / "objects.h5ad")) as file:
        assert len(file["X"]) == len(rows) > 200
        obs, names = file["obs"], file["var/name"].asstr()[:].tolist()
        assert names == [column.name for column in ObjectTables(seg).measurements]
        assert obs["id"].asstr()[:].tolist() == [row["id"] for row in rows]
        assert words(obs, "class").tolist() == [row["class"] for row in rows]
        assert words(obs, "tile_state").tolist() == [row["tile_state"] for row in rows]
        at_edge = [row["touches_slide_edge"] == "yes" for row in rows]
        assert obs["touches_slide_edge"][:].tolist() == at_edge
        columns = dict(zip(names, file["X"][:].T, strict=True))
        columns |= dict(
            zip(("centroid_x_um", "centroid_y_um"), file["obsm/spatial"][:].T, strict=True)
        )
        columns |= {name: obs[name][:] for name in ("centroid_x_px", "left_px", "bottom_px")}
        for name, values in columns.items():
            told = [float(row[name]) for row in rows]
            np.testing.assert_allclose(values, told, rtol=1e-6, atol=6e-3)
        about = {name: item[()] for name, item in file["uns"].items()}
        assert (about["slide"], about["model"]) == (b"fake", b"fake 1.0")
        assert about["least_object_um2"] == 0.2
        assert json.loads(about["note"])["left_out"]["nucleus"] > 0


def test_groups_and_arrays_say_how_they_are_read(tmp_path):
    with h5py.File(export(seg_of_noise(), tmp_path / "objects.h5ad")) as file:
        assert dict(file.attrs) == {"encoding-type": "anndata", "encoding-version": "0.1.0"}
        assert set(file) == {"X", "layers", "obs", "obsm", "obsp", "uns", "var", "varm", "varp"}
        obs = file["obs"].attrs
        assert (obs["encoding-type"], obs["_index"]) == ("dataframe", "id")
        assert set(obs["column-order"]) | {"id"} == set(file["obs"])
        file.visititems(lambda _, item: _check_marked(item))


def _check_marked(item):
    assert {"encoding-type", "encoding-version"} <= set(item.attrs)


def test_a_slide_without_objects_has_an_empty_table(tmp_path):
    seg = FakeSegmentation(np.zeros((20, 20), np.uint8))
    with h5py.File(export(seg, tmp_path / "objects.h5ad", measure="shape")) as file:
        assert file["X"].shape == (0, len(file["var/name"]))
        assert file["obs/id"].shape == (0,)


def test_anndata_reads_it(tmp_path):
    anndata = pytest.importorskip("anndata")
    seg = seg_of_noise()
    read = anndata.read_h5ad(export(seg, tmp_path / "objects.h5ad"))
    assert read.obsm["spatial"].shape == (read.n_obs, 2)
    assert read.obs["class"].cat.categories.tolist() == ["nucleus", "gland"]
    assert read.to_df()["area_um2"].min() >= 0.2
    assert read.uns["slide"] == "fake"


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda _name: None)
    with pytest.raises(ExportError, match=r"needs h5py.*napari-twostage\[anndata\]"):
        export(seg_of_noise(), tmp_path / "objects.h5ad")
    assert list(tmp_path.iterdir()) == []
