"""Exports are valid by the words of others: their models, their schemas and their readers."""

from __future__ import annotations

import gzip
import json

import numpy as np
import ome_types
import pyarrow.parquet
import pytest
import pyvips
import shapely
import tifffile
import zarr
from jsonschema import Draft202012Validator
from ome_zarr_models.v05 import ImageLabel
from scipy import ndimage
from shapely.geometry import shape as polygon_of
from tests.export.fakes import FakeSegmentation

from napari_twostage.export import export, zarr_labels
from napari_twostage.measure import blocks as blocks_module

POSITION = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
RING = {"type": "array", "items": POSITION, "minItems": 4}
QUPATH_FEATURE = {
    # what QuPath 0.5 and 0.6 write and read: qupath.lib.io.QuPathTypeAdapters
    "type": "object",
    "required": ["type", "id", "geometry", "properties"],
    "properties": {
        "type": {"const": "Feature"},
        "id": {"type": "string", "pattern": "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"},
        "geometry": {
            "type": "object",
            "required": ["type", "coordinates"],
            "properties": {
                "type": {"const": "Polygon"},
                "coordinates": {"type": "array", "items": RING, "minItems": 1},
            },
        },
        "properties": {
            "type": "object",
            "required": ["objectType"],
            "properties": {
                "objectType": {"enum": ["detection", "annotation"]},
                "classification": {
                    "type": "object",
                    "required": ["name", "color"],
                    "properties": {
                        "name": {"type": "string"},
                        "color": {
                            "type": "array",
                            "items": {"type": "integer", "minimum": 0, "maximum": 255},
                            "minItems": 3,
                            "maxItems": 3,
                        },
                    },
                },
                "measurements": {
                    "type": "object",
                    "additionalProperties": {"type": "number"},
                },
            },
        },
    },
}
QUPATH = {
    "type": "object",
    "required": ["type", "features"],
    "properties": {
        "type": {"const": "FeatureCollection"},
        "features": {"type": "array", "items": QUPATH_FEATURE},
    },
}


@pytest.fixture
def seg(monkeypatch):
    """Blobs of two classes, with holes and specks, in blocks of 64 pixels."""
    monkeypatch.setattr(blocks_module, "BLOCK_PX", 64)
    monkeypatch.setattr(zarr_labels, "CHUNK_PX", 64)
    random = np.random.default_rng(0)
    height = ndimage.gaussian_filter(random.random((700, 530)), 2)
    plane = (height > np.quantile(height, 0.6)).astype(np.uint8)
    plane[:, 300:] *= 2
    return FakeSegmentation(plane, downsample=(2.0, 1.3), tile_px=64, least_object_um2=1.0)


@pytest.mark.parametrize("ending", [".geojson", ".geojson.gz"])
def test_geojson_has_valid_polygons_in_the_form_of_qupath(seg, tmp_path, ending):
    content = export(seg, tmp_path / f"out{ending}").read_bytes()
    collection = json.loads(gzip.decompress(content) if ending.endswith("gz") else content)
    Draft202012Validator(QUPATH).validate(collection)
    polygons = [polygon_of(feature["geometry"]) for feature in collection["features"]]
    assert len(polygons) > 100
    assert shapely.is_valid(polygons).all()
    assert any(len(polygon.interiors) for polygon in polygons)


def test_geoparquet_has_the_polygons_of_geojson(seg, tmp_path):
    features = json.loads(export(seg, tmp_path / "out.geojson").read_text())["features"]
    path = export(seg, tmp_path / "out.parquet")
    table = pyarrow.parquet.read_table(path)
    geo = json.loads(table.schema.metadata[b"geo"])
    assert geo["version"] == "1.1.0"
    assert geo["primary_column"] == "geometry"
    assert geo["columns"]["geometry"] == {
        "encoding": "WKB", "geometry_types": ["Polygon"], "crs": None, "edges": "planar",
    }  # fmt: skip
    expected = {feature["id"]: feature for feature in features}
    assert len(expected) == table.num_rows == len(features)
    polygons = shapely.from_wkb(table["geometry"].to_numpy())
    assert shapely.is_valid(polygons).all()
    for row, polygon in zip(table.drop_columns("geometry").to_pylist(), polygons, strict=True):
        feature = expected[row["id"]]
        properties = feature["properties"]
        assert polygon.equals(polygon_of(feature["geometry"]))
        assert row["class"] == properties["classification"]["name"]
        assert row["area_um2"] == pytest.approx(properties["measurements"]["Area um^2"], abs=1e-3)
    note = json.loads(pyarrow.parquet.read_metadata(path).metadata[b"napari-twostage"])
    assert note["least_object_um2"] == 1.0
    assert set(note["left_out"]) == {"nucleus", "gland"}


def test_ome_types_reads_the_metadata_of_the_tiff(seg, tmp_path):
    path = export(seg, tmp_path / "labels.ome.tif")
    ome = ome_types.from_tiff(path, validate=True)
    (image,) = ome.images
    pixels = image.pixels
    assert (pixels.size_x, pixels.size_y, pixels.type.value) == (530, 700, "uint8")
    assert (pixels.size_c, pixels.size_z, pixels.size_t) == (1, 1, 1)
    assert (pixels.physical_size_x, pixels.physical_size_y) == (0.325, 0.5)
    assert pixels.physical_size_x_unit.value == "µm"


def test_vips_reads_every_level_of_the_tiff(seg, tmp_path):
    path = str(export(seg, tmp_path / "labels.ome.tif"))
    for level, labels in enumerate(seg.labels):
        image = pyvips.Image.new_from_file(path, subifd=level - 1)
        np.testing.assert_array_equal(image.numpy(), labels.compute())
    with tifffile.TiffFile(path) as tiff:
        assert len(tiff.series[0].levels) == len(seg.labels)


def test_ome_zarr_models_accepts_the_labels(seg, tmp_path):
    path = export(seg, tmp_path / "labels.ome.zarr")
    image = ImageLabel.from_zarr(zarr.open_group(path, mode="r"))
    ome = image.ome_attributes
    assert [one.path for one in ome.multiscales[0].datasets] == ["0", "1", "2"]
    assert [color.label_value for color in ome.image_label.colors] == [1, 2]
