"""Objects of a list and objects under a pixel are those of the exports, whatever they cross."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import ndimage
from tests.export.fakes import FakeSegmentation
from tests.fakes import CLASSES, FakeModel, make_card, noise_slide

import napari_twostage as ts
from napari_twostage.export import export
from napari_twostage.measure import blocks, object_at
from napari_twostage.measure.areas import areas
from napari_twostage.measure.object_list import ObjectList, ObjectLister
from napari_twostage.measure.so_far import areas_so_far
from napari_twostage.measure.summary import summarise
from napari_twostage.method.instances import REACH_PX, quantised

if TYPE_CHECKING:
    from pathlib import Path

    from napari_twostage.measure.object_at import FoundObject

SHOWN = (
    "area_um2", "perimeter_um", "circularity", "major_axis_um", "minor_axis_um",
    "refined_fraction", "uncertainty_mean", "centroid_x_px", "centroid_y_um",
)  # fmt: skip


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK_PX", 32)
    monkeypatch.setattr(object_at, "FIRST_PX", 16)


@pytest.fixture
def seg(tmp_path: Path) -> ts.Segmentation:
    """Result with specks and holes below its least area, half of it refined."""
    card = make_card(classes=CLASSES, least_object_um2=3.0)
    return ts.segment(
        noise_slide(140, 170), FakeModel(card), tmp_path / "o", tissue=False, fraction=0.5
    )


def listed(seg: ts.Segmentation) -> ObjectList:
    lister = ObjectLister(seg)
    found = lister.list()
    return found.with_uncertainty(lister.uncertainty())


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_list_is_the_table_of_objects(seg: ts.Segmentation, tmp_path: Path) -> None:
    found = listed(seg)
    rows = rows_of(export(seg, tmp_path / "all.objects.csv"))
    assert len(found) == len(rows) > 10
    order = np.lexsort(
        ([float(row["centroid_x_px"]) for row in rows], [float(row["top_px"]) for row in rows])
    )
    own = np.lexsort((found.numbers["centroid_x_px"], found.numbers["top_px"]))
    for name in SHOWN:
        written = [float(rows[place][name]) for place in order]
        rounded = 6e-3 if name.endswith("_px") else 6e-4
        np.testing.assert_allclose(found.numbers[name][own], written, atol=rounded, err_msg=name)


def test_the_object_at_a_pixel_is_the_one_of_the_list(seg: ts.Segmentation, tmp_path: Path) -> None:
    found = listed(seg)
    ids = frozenset(row["id"] for row in rows_of(export(seg, tmp_path / "all.objects.csv")))
    seen = assert_found_by_pixel(seg, found, ids)
    crossing = found.boxes // 32
    assert ((crossing[:, 2] > crossing[:, 0]) | (crossing[:, 3] > crossing[:, 1])).any()
    background = np.argwhere((seg.read_labels(seg.grid.box) == 0) & ~seen)
    assert object_at.object_at(seg, *background[0]) is None
    assert object_at.object_at(seg, -1, 5) is None


def test_touching_objects_are_found_one_by_one() -> None:
    random = np.random.default_rng(3)
    hills = ndimage.gaussian_filter(random.random((160, 170)), 5)
    ranks = hills.argsort(axis=None).argsort().reshape(hills.shape)
    depth = quantised((ranks / hills.size) ** 3)
    seg = FakeSegmentation(
        np.ones(depth.shape, np.uint8), depth=depth, object_reach_px=REACH_PX, least_object_um2=1
    )
    found = listed(seg)
    assert len(found) > 10
    assert_found_by_pixel(seg, found)


def assert_found_by_pixel(seg, found: ObjectList, ids: frozenset[str] = frozenset()) -> np.ndarray:
    """Every object of a list is found by its first pixel; returns a mask of all."""
    seen = np.zeros(seg.grid.shape, int)
    for place in range(len(found)):
        one = object_at.object_at(seg, *found.first_pixel(place))
        assert one is not None
        assert found.place_of(one.first_pixel) == place
        assert (one.box, one.value) == (found.box(place), found.values[place])
        assert not ids or one.id in ids
        for name in SHOWN:
            assert one.numbers[name] == pytest.approx(found.numbers[name][place]), name
        assert one.mask.sum() == round(one.numbers["area_um2"] / seg.grid.pixel_area_um2)
        seen[one.box.slices] += one.mask
    assert seen.max() == 1  # no two share a pixel
    return seen > 0


def plane() -> np.ndarray:
    """A ring with a small hole and a large one, a speck in each, and another beside it."""
    labels = np.zeros((96, 96), np.uint8)
    labels[20:70, 10:90] = 1
    labels[30:33, 20:23] = 0
    labels[31, 21] = 2
    labels[40:60, 40:80] = 0
    labels[50, 60] = 1
    labels[80, 80] = 1
    return labels


def test_holes_and_specks_are_as_in_exports() -> None:
    seg = FakeSegmentation(plane(), least_object_um2=1.0)  # 16 pixels

    def at(row: int, column: int) -> FoundObject | None:
        return object_at.object_at(seg, row, column)

    ring = at(20, 10)
    assert ring is not None
    assert ring.mask.sum() == 50 * 80 - 20 * 40
    for inside in ((30, 20), (31, 21)):  # the small hole, and the speck in it
        found = at(*inside)
        assert found is not None
        assert found.first_pixel == ring.first_pixel
    for outside in ((45, 45), (50, 60), (80, 80), (0, 0)):
        assert at(*outside) is None


def test_too_large_an_object_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_at, "LARGEST_PX", 32)
    seg = FakeSegmentation(np.ones((200, 200), np.uint8))
    with pytest.raises(ts.TwoStageError, match="larger than 32 pixels; List objects"):
        object_at.object_at(seg, 100, 100)


def test_areas_agree_between_panel_csv_and_command_line(
    seg: ts.Segmentation, tmp_path: Path
) -> None:
    found, told = areas(seg), summarise(seg)
    rows = rows_of(export(seg, tmp_path / "all.areas.csv"))
    objects = listed(seg)
    for area, row, line in zip(found, rows, told["classes"], strict=True):
        own = objects.values == area.value
        assert area.objects == int(row["objects"]) == line["objects"] == own.sum()
        assert (
            area.area_mm2
            == line["area_mm2"]
            == pytest.approx(objects.numbers["area_um2"][own].sum() / 1e6)
        )
        assert float(row["area_mm2"]) == pytest.approx(area.area_mm2, abs=1e-6)
        assert area.tissue_mm2 == told["tissue_mm2"] == objects.tissue_mm2
        assert float(row["tissue_mm2"]) == pytest.approx(told["tissue_mm2"], abs=1e-6)
        share = area.area_mm2 / area.tissue_mm2
        assert float(row["percent_of_tissue"]) == pytest.approx(100 * share, abs=1e-3)
        assert area.describe_area().startswith(f"{100 * share:.1f} % of tissue (")


def test_areas_so_far_grow_with_the_run_to_the_whole(tmp_path: Path) -> None:
    slide, model = noise_slide(200, 200), FakeModel(make_card(classes=CLASSES))
    steps = ts.iter_segment(slide, model, tmp_path / "o", tissue=False, refine="none")
    for _ in range(8):
        next(steps)
    steps.close()
    seg = ts.Segmentation.open(tmp_path / "o", slide=slide)
    part = areas_so_far(seg)
    seg = ts.segment(slide, model, tmp_path / "o", tissue=False, refine="none")
    whole = areas_so_far(seg)
    assert whole is not None
    assert whole.share == pytest.approx(1)
    for one, other in zip(whole.classes, areas(seg), strict=True):
        assert (one.pixels, one.objects) == (other.pixels, other.objects)
        assert one.tissue_fraction == pytest.approx(other.tissue_fraction)
    if part is not None:
        assert 0 < part.share < 1
        assert part.classes[0].objects < whole.classes[0].objects
    seg.refine(seg.plan(region=ts.Box(64, 64, 80, 80)))
    for file in (seg.path / "tallies").iterdir():
        if file.name == "64.64":
            file.unlink()
    left = areas_so_far(seg)
    assert left is not None
    assert 0.9 < left.share < 1
    assert left.classes[0].tissue_mm2 == pytest.approx(left.share * whole.classes[0].tissue_mm2)
