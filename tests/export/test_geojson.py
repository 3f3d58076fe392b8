"""GeoJSON covers exactly the pixels it came from, at level 0, in the form QuPath reads."""

from __future__ import annotations

import gzip
import json
import uuid

import numpy as np
import pytest
from rasterio.features import rasterize
from shapely.affinity import translate
from shapely.geometry import shape as polygon_of
from skimage.draw import ellipse
from tests.export.fakes import FakeSegmentation

from napari_twostage.export import export
from napari_twostage.geometry import Box
from napari_twostage.measure import blocks as blocks_module
from napari_twostage.measure.object_outlines import outline_objects
from napari_twostage.measure.objects import ObjectScan
from napari_twostage.measure.outlines import simplified


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(blocks_module, "BLOCK_PX", 1)  # one tile a block


def nuclei(shape=(211, 173)):
    random = np.random.default_rng(0)
    plane = np.zeros(shape, np.uint8)
    for _ in range(60):
        centre, radii = random.integers(0, shape), random.uniform(3, 14, 2)
        inside = ellipse(*centre, *radii, shape=shape, rotation=random.uniform(0, 3))
        plane[inside] = random.integers(1, 3)
    plane[40:90, 60:120] = 2
    plane[50:60, 70:80] = 0  # a hole
    plane[53:56, 73:76] = 1  # and an island in it
    return plane


def noise(shape=(97, 61)):
    random = np.random.default_rng(1)
    return (random.random(shape) < 0.6).astype(np.uint8) * random.integers(
        1, 3, shape, dtype=np.uint8
    )


def rasterised(features, seg):
    """Draw polygons in level-0 pixels on the fine grid: a pixel is inside if its centre is."""
    down, across = seg.grid.downsample
    values = {kind.name: kind.value for kind in seg.classes}
    drawn = []
    for feature in features:
        polygon = polygon_of(feature["geometry"])
        assert polygon.is_valid
        drawn.append((polygon, values[feature["properties"]["classification"]["name"]]))
    # Holes are part of the polygons, so the order of drawing must not matter.
    return rasterize(
        drawn, out_shape=seg.grid.shape, transform=(across, 0, 0, 0, down, 0), dtype="uint8"
    )


@pytest.mark.parametrize("downsample", [(1.0, 1.0), (2.0, 2.0), (1.3, 1.3), (2.0, 1.3)])
@pytest.mark.parametrize("plane", [nuclei(), noise()], ids=["nuclei", "noise"])
def test_polygons_give_back_their_pixels(tmp_path, plane, downsample):
    seg = FakeSegmentation(plane, downsample=downsample, tile_px=32)
    path = export(seg, tmp_path / "out.geojson")
    features = json.loads(path.read_text())["features"]
    np.testing.assert_array_equal(rasterised(features, seg), plane)
    np.testing.assert_array_equal(rasterised(features[::-1], seg), plane)


def test_simplified_outlines_stay_within_half_a_pixel():
    scan = ObjectScan(FakeSegmentation(nuclei(), tile_px=64), members=True)
    outlines = np.concatenate(list(outline_objects(scan, lambda found: found.outlines)))
    for exact, simple in zip(outlines, simplified(outlines), strict=True):
        assert exact.boundary.hausdorff_distance(simple.boundary) < 0.5
        assert len(simple.exterior.coords) <= len(exact.exterior.coords)


def test_pixel_edges_are_multiplied_exactly(tmp_path):
    plane = np.zeros((33, 47), np.uint8)
    plane[7:11, 13:31] = 1
    plane[32, 46] = 2
    seg = FakeSegmentation(plane, downsample=(1.3, 2.0), tile_px=16)
    features = json.loads(export(seg, tmp_path / "out.geojson").read_text())["features"]
    bounds = [polygon_of(feature["geometry"]).bounds for feature in features]
    assert sorted(bounds) == [(26, 9.1, 62, 14.3), (92, 41.6, 94, 42.9)]


def test_features_are_what_qupath_reads(tmp_path):
    plane = np.zeros((300, 300), np.uint8)
    plane[10:20, 10:20] = 1
    plane[50:290, 50:290] = 2
    seg = FakeSegmentation(plane, slide_mpp=(0.5, 0.5))
    collection = json.loads(export(seg, tmp_path / "out.geojson").read_text())
    assert collection["type"] == "FeatureCollection"
    nucleus, gland = sorted(
        collection["features"], key=lambda f: f["properties"]["measurements"]["Area um^2"]
    )
    assert nucleus["type"] == "Feature"
    assert nucleus["properties"] == {
        "objectType": "detection",
        "classification": {"name": "nucleus", "color": [44, 160, 44]},
        "measurements": {
            "Area um^2": 25.0, "Perimeter um": 18.406, "Eccentricity": 0.0, "Solidity": 1.0,
            "Circularity": 0.9273, "Major axis um": 5.774, "Minor axis um": 5.774,
            "Refined fraction": 1.0, "Uncertainty: Mean": 0.0,
        },
    }  # fmt: skip
    assert gland["properties"]["objectType"] == "annotation"
    assert nucleus["geometry"]["coordinates"][0][0] == nucleus["geometry"]["coordinates"][0][-1]


def test_names_are_unique_and_last(tmp_path):
    def names(tile_px):
        seg = FakeSegmentation(nuclei(), tile_px=tile_px)
        features = json.loads(export(seg, tmp_path / "out.geojson").read_text())["features"]
        return [uuid.UUID(feature["id"]) for feature in features]

    first, second = names(16), names(64)
    assert len(set(first)) == len(first) > 20
    assert set(first) == set(second)


def test_gz_holds_the_same_and_nothing_of_the_clock(tmp_path):
    seg = FakeSegmentation(nuclei(), tile_px=32)
    plain = export(seg, tmp_path / "out.geojson").read_bytes()
    packed = export(seg, tmp_path / "one.geojson.gz").read_bytes()
    assert gzip.decompress(packed) == plain
    assert export(seg, tmp_path / "two.geojson.gz").read_bytes() == packed


@pytest.mark.parametrize("ending", [".geojson", ".geojson.gz"])
def test_positions_are_those_that_qupath_shows_of_a_slide_with_bounds(tmp_path, ending):
    bounds = Box(600, 1000, 900, 1500)
    whole = FakeSegmentation(nuclei(), downsample=(2.0, 1.3))
    cropped = FakeSegmentation(nuclei(), downsample=(2.0, 1.3), bounds=bounds)

    def read(seg, **options):
        data = export(seg, tmp_path / f"out{ending}", measure="shape", **options).read_bytes()
        return json.loads(gzip.decompress(data) if ending.endswith("gz") else data)

    plain, shifted, uncropped = read(whole), read(cropped), read(cropped, crop=False)
    assert "napari-twostage" not in plain
    assert shifted["napari-twostage"] == {"origin_px": [1000, 600]}
    assert uncropped["napari-twostage"] == {"origin_px": [0, 0]}
    assert uncropped["features"] == plain["features"]
    for before, after in zip(plain["features"], shifted["features"], strict=True):
        expected = translate(polygon_of(before["geometry"]), -1000, -600)
        assert polygon_of(after["geometry"]).equals_exact(expected, 2e-4)
        assert after["id"] == before["id"]


def test_nothing_found_is_an_empty_collection(tmp_path):
    seg = FakeSegmentation(np.zeros((20, 20), np.uint8))
    path = export(seg, tmp_path / "out.geojson", measure="shape")
    collection = json.loads(path.read_text())
    assert collection == {"type": "FeatureCollection", "features": []}
