"""Tables give areas, positions and lengths in the units that their columns name."""

from __future__ import annotations

import csv
import math
from dataclasses import replace

import numpy as np
import pytest
from tests.export.fakes import FakeSegmentation

from napari_twostage.export import export
from napari_twostage.measure.areas import areas
from napari_twostage.method.tiling import TileState


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def two_rectangles():
    plane = np.zeros((64, 48), np.uint8)
    plane[10:20, 12:20] = 1  # 80 pixels, half of them right of column 16
    plane[40:64, 32:48] = 2
    states = np.full((4, 3), TileState.COARSE, np.uint8)
    states[:, 1] = TileState.REFINED
    states[2:, 0] = TileState.OUTSIDE
    return FakeSegmentation(
        plane, states=states, tile_px=16, downsample=(2.0, 2.0), slide_mpp=(0.25, 0.5)
    )


def test_areas_per_class():
    nucleus, gland = areas(two_rectangles())
    assert (nucleus.name, nucleus.value, nucleus.color) == ("nucleus", 1, "#2ca02c")
    assert (nucleus.pixels, gland.pixels) == (80, 24 * 16)
    assert nucleus.area_mm2 == pytest.approx(80 * 0.5 * 1.0 / 1e6)
    tissue = 64 * 48 - 2 * 16 * 16
    assert gland.tissue_fraction == pytest.approx(24 * 16 / tissue)
    assert nucleus.refined_fraction == pytest.approx(0.5)
    assert gland.refined_fraction == 0


def test_areas_table(tmp_path):
    nucleus, gland = rows(export(two_rectangles(), tmp_path / "slide_areas.csv"))
    assert nucleus["class"] == "nucleus"
    assert (nucleus["pixels"], nucleus["objects"]) == ("80", "1")
    assert float(nucleus["area_mm2"]) == pytest.approx(4e-5)
    assert float(nucleus["percent_refined"]) == 50
    assert float(gland["percent_of_tissue"]) == pytest.approx(15, abs=1e-3)


@pytest.mark.parametrize("name", ["slide_areas.csv", "slide_objects.csv"])
def test_a_class_named_like_a_formula_is_text(tmp_path, name):
    seg = two_rectangles()
    seg.classes = tuple(replace(kind, name=f"=cmd|{kind.value}") for kind in seg.classes)
    assert {row["class"] for row in rows(export(seg, tmp_path / name))} == {"'=cmd|1", "'=cmd|2"}


def test_an_empty_slide_has_areas_of_zero():
    seg = FakeSegmentation(np.zeros((8, 8), np.uint8), states=np.zeros((1, 1), np.uint8))
    assert [kind.pixels for kind in areas(seg)] == [0, 0]
    assert [kind.tissue_fraction for kind in areas(seg)] == [0, 0]


def test_objects_table(tmp_path):
    nucleus, gland = rows(export(two_rectangles(), tmp_path / "objects.csv"))
    expected = {
        "centroid_x_px": 32.0, "centroid_y_px": 30.0,
        "centroid_x_um": 16.0, "centroid_y_um": 7.5,
        "area_um2": 40.0, "refined_fraction": 0.5,
        "left_px": 24, "top_px": 20, "right_px": 40, "bottom_px": 40,
    }  # fmt: skip
    assert {key: float(nucleus[key]) for key in expected} == expected
    assert (nucleus["class"], nucleus["tile_state"]) == ("nucleus", "refined")
    assert nucleus["touches_slide_edge"] == "no"
    assert (gland["touches_slide_edge"], gland["tile_state"]) == ("yes", "coarse")


@pytest.mark.parametrize("radius", [8, 20.3, 60])
def test_perimeter_of_a_disc(tmp_path, radius):
    y, x = np.mgrid[:150, :150]
    plane = ((y - 75.2) ** 2 + (x - 74.6) ** 2 < radius**2).astype(np.uint8)
    (disc,) = rows(export(FakeSegmentation(plane), tmp_path / "objects.csv"))
    assert float(disc["perimeter_um"]) == pytest.approx(2 * math.pi * radius * 0.25, rel=0.015)


def test_both_tables_count_alike(tmp_path):
    plane = (np.random.default_rng(0).random((90, 70)) < 0.4).astype(np.uint8)
    seg = FakeSegmentation(plane)
    (nucleus, _) = rows(export(seg, tmp_path / "areas.csv"))
    objects = rows(export(seg, tmp_path / "objects.csv"))
    assert int(nucleus["objects"]) == len(objects)
    total = sum(float(item["area_um2"]) for item in objects)
    assert total / 1e6 == pytest.approx(float(nucleus["area_mm2"]), abs=1e-6)
