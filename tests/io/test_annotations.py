"""Annotations as GeoJSON: what QuPath and others write is read, and what is written comes back."""

from __future__ import annotations

import json

import pytest

from napari_twostage.errors import AnnotationError
from napari_twostage.geometry import Box
from napari_twostage.io.annotations import (
    Annotation,
    even_odd,
    read_annotations,
    unique_name,
    written_annotations,
)

SQUARE = [[10, 20], [110, 20], [110, 220.5], [10, 220.5], [10, 20]]
HOLE = [[30, 40], [50, 40], [50, 60], [30, 60], [30, 40]]
AWAY = [[300, 20], [310, 20], [310, 40], [300, 20]]
QUPATH = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature",
            "id": "d1f0a9f2-5c8e-4a53-9d4c-0c3ef0a1b5aa",
            "geometry": {"type": "Polygon", "coordinates": [SQUARE, HOLE]},
            "properties": {
                "objectType": "annotation",
                "name": "Tumour bed",
                "color": [255, 0, 128],
                "classification": {"name": "Tumor", "color": [200, 0, 0]},
                "isLocked": True,
                "measurements": {"Area µm^2": 20050.5},
            },
        },
        {
            "type": "Feature",
            "id": "5b0d6e1e-3c52-4e0e-8a3f-d7a6c0f0b111",
            "geometry": {"type": "MultiPolygon", "coordinates": [[SQUARE, HOLE], [AWAY]]},
            "properties": {
                "objectType": "annotation",
                "classification": {"name": "Stroma", "colorRGB": -6895466},
                "measurements": [{"name": "Num cells", "value": 12}],
            },
        },
        {
            "type": "Feature",
            "id": "7d3a4c9c-45a1-4fd5-b3ce-9d1e0d0b2222",
            "geometry": {"type": "Point", "coordinates": [1, 2]},
            "properties": {"objectType": "annotation"},
        },
        {
            "type": "Feature",
            "id": "8d3a4c9c-45a1-4fd5-b3ce-9d1e0d0b2222",
            "geometry": {"type": "Polygon", "coordinates": [HOLE]},
            "properties": {"objectType": "detection"},
        },
    ],
}
"""As QuPath 0.5 writes it; the second feature as 0.3 does."""


def read(document: object, **options) -> tuple[list[Annotation], int]:
    return read_annotations(json.dumps(document).encode(), "a.geojson", bounds=None, **options)


def test_a_file_of_qupath_comes_back_as_it_was() -> None:
    found, left_out = read(QUPATH)
    assert left_out == 2
    first, second = found
    assert (first.name, first.kind, first.color) == ("Tumour bed", "Tumor", "#ff0080")
    assert (second.name, second.color) == ("Stroma", "#96c896")
    assert first.rings[0][0] == (20, 10)  # y, x
    assert even_odd(first.rings).area == 100 * 200.5 - 400
    assert even_odd(second.rings).area == 100 * 200.5 - 400 + 100
    assert dict(second.measurements) == {"Num cells": 12}
    again, none = read_annotations(written_annotations(found, None), "b.geojson", bounds=None)
    assert none == 0
    for before, after in zip(found, again, strict=True):
        assert even_odd(before.rings).equals(even_odd(after.rings))
        assert (before.name, before.kind, before.color) == (after.name, after.kind, after.color)
        assert (before.id, before.measurements) == (after.id, after.measurements)


def test_positions_are_counted_from_the_scanned_area_as_qupath_does() -> None:
    bounds = Box(1000, 2000, 5000, 6000)
    content = json.dumps(QUPATH).encode()
    (first, _), _ = read_annotations(content, "a.geojson", bounds=bounds)
    assert first.rings[0][0] == (1020, 2010)
    written = written_annotations([first], bounds)
    document = json.loads(written)
    assert document["features"][0]["geometry"]["coordinates"][0]
    (again,), _ = read_annotations(written, "b.geojson", bounds=None)  # the file says it itself
    assert even_odd(again.rings).equals(even_odd(first.rings))


POLYGON = {"type": "Polygon", "coordinates": [SQUARE]}


@pytest.mark.parametrize(
    "document",
    [
        POLYGON,
        [POLYGON],
        {"type": "Feature", "geometry": POLYGON, "properties": None},
        {"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": POLYGON}]},
        {"type": "GeometryCollection", "geometries": [POLYGON]},
        {"type": "Polygon", "coordinates": [[[*point, 7] for point in SQUARE]]},
    ],
)
def test_other_programs_write_it_in_other_ways(document: object) -> None:
    (one,), left_out = read(document)
    assert (one.name, left_out) == ("Region", 0)
    assert even_odd(one.rings).area == 100 * 200.5


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"a": 1}, "no GeoJSON"),
        (5, "no GeoJSON"),
        ({"type": "Point", "coordinates": [1, 2]}, "holds no area"),
        ({"type": "Polygon", "coordinates": []}, "feature 1 is empty"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}, "2 corners"),
        ({"type": "Polygon", "coordinates": [[[0, "x"]]]}, "no position"),
        ({"type": "Polygon", "coordinates": [[[0, float("nan")], [1, 1], [0, 1]]]}, "no position"),
        ({"type": "Polygon", "coordinates": 3}, "no coordinates"),
        ([POLYGON] * 2001, "2,001 areas"),
    ],
)
def test_what_is_no_region_is_told_in_a_line(document: object, message: str) -> None:
    with pytest.raises(AnnotationError, match=message):
        read(document)


def test_a_file_of_another_slide_is_told() -> None:
    with pytest.raises(AnnotationError, match="no area on this slide"):
        read(POLYGON, shape=(15, 400))


def test_names_are_made_unique() -> None:
    assert unique_name("Region 1", ["Region 1", "Region 2"]) == "Region 3"
    assert unique_name("Tumour", ["Tumour"]) == "Tumour 2"
