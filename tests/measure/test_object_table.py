"""Measurements of objects are those of their pixels, and one table tells them to every format."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from scipy import ndimage
from skimage.draw import ellipse
from skimage.measure import regionprops
from tests.export.fakes import FakeSegmentation

import napari_twostage as ts
from napari_twostage.errors import ReadError
from napari_twostage.export import export
from napari_twostage.measure import blocks as blocks_module
from napari_twostage.measure.merge import _added_up
from napari_twostage.measure.object_table import ObjectTables
from napari_twostage.measure.regions import Regions, concatenated
from napari_twostage.measure.shapes import ellipse_axes_um
from napari_twostage.measure.stains import STAINS, UNIT, density_tables
from napari_twostage.slides import open_slide

SHAPE = (200, 160)
MPP = (0.5, 0.25)
WHITE = np.array([240, 236, 244])


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(blocks_module, "BLOCK_PX", 1)  # one tile a block


def ellipses():
    plane = np.zeros(SHAPE, np.uint8)
    for centre, radii, turn in (
        ((40, 40), (25, 9), 0.0), ((50, 110), (12, 30), 0.6), ((140, 60), (20, 20), 0.0),
    ):  # fmt: skip
        plane[ellipse(*centre, *radii, rotation=turn)] = 1
    plane[170:190, 120:150] = 2
    plane[170:180, 120:140] = 0  # an L
    return plane


def pixels_of(stains, white=WHITE):
    """Pixels (H, W, 3) of amounts (H, W, 2) of haematoxylin and eosin on glass."""
    vectors = np.array(list(STAINS.values()))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.rint(white * 10 ** -(stains @ vectors)).astype(np.uint8)


def stained(plane, seed=0):
    random = np.random.default_rng(seed)
    amounts = 0.1 * ndimage.gaussian_filter(random.random((*plane.shape, 2)), (2, 2, 0))
    amounts[..., 0] += 0.6 * (plane == 1)
    amounts[..., 1] += 0.4 * (plane == 2)
    amounts[plane == 0] = 0
    return amounts, pixels_of(amounts)


def table_of(seg, **options):
    tables = ObjectTables(seg, **options)
    parts = list(tables.made(lambda part: part))
    found = {
        name: np.concatenate([part.numbers[name] for part in parts])
        for name in (column.name for column in tables.columns)
    }
    order = np.lexsort((found["centroid_x_px"], found["centroid_y_px"]))
    return {name: values[order] for name, values in found.items()}


def seg_of(plane, picture=None, tile_px=48, **options):
    slide = None if picture is None else open_slide(picture, mpp=MPP)
    return FakeSegmentation(plane, slide_mpp=MPP, slide=slide, tile_px=tile_px, **options)


def regions(plane):
    numbers = ndimage.label(plane > 0)[0]
    return sorted(regionprops(numbers), key=lambda region: region.centroid), numbers


@pytest.mark.parametrize("tile_px", [16, 48, 256])
def test_axes_are_those_of_the_ellipse_of_equal_moments(tile_px):
    plane = ellipses()
    found = table_of(seg_of(plane, tile_px=tile_px), measure="shape")
    for place, region in enumerate(regions(plane)[0]):
        y, x = (region.coords - region.centroid).T * np.array(MPP)[:, None]
        covariance = np.cov([y, x], bias=True) + np.diag(MPP) ** 2 / 12
        minor, major = 4 * np.sqrt(np.linalg.eigvalsh(covariance))
        assert found["major_axis_um"][place] == pytest.approx(major, rel=1e-9)
        assert found["minor_axis_um"][place] == pytest.approx(minor, rel=1e-9)
        assert found["eccentricity"][place] == pytest.approx(np.sqrt(1 - (minor / major) ** 2))


def test_an_upright_ellipse_has_its_own_axes_and_an_l_its_own_hull():
    found = table_of(seg_of(ellipses()), measure="shape")
    assert found["major_axis_um"][0] == pytest.approx(2 * 25 * 0.5, rel=0.02)
    assert found["minor_axis_um"][0] == pytest.approx(2 * 9 * 0.25, rel=0.02)
    hull = 20 * 30 - 10 * 20 / 2
    assert found["solidity"][-1] == pytest.approx((20 * 30 - 10 * 20) / hull)
    assert (found["solidity"][:-1] > 0.93).all()
    assert (found["circularity"] < 1).all()


@pytest.mark.parametrize("tile_px", [16, 48, 256])
def test_means_are_those_of_the_objects_own_pixels(tile_px):
    plane = ellipses()
    amounts, picture = stained(plane)
    doubt = np.random.default_rng(1).random((50, 40)).astype(np.float32)
    found = table_of(seg_of(plane, picture, tile_px=tile_px, uncertainty=doubt))
    for place, region in enumerate(regions(plane)[0]):
        y, x = region.coords.T
        own = {
            "haematoxylin_od_mean": amounts[y, x, 0].mean(),
            "eosin_od_mean": amounts[y, x, 1].mean(),
        }
        for name, mean in own.items():
            assert found[name][place] == pytest.approx(mean, abs=0.01)  # of 8-bit pixels
        for channel, name in enumerate(("red_mean", "green_mean", "blue_mean")):
            assert found[name][place] == pytest.approx(picture[y, x, channel].mean(), abs=1e-9)
        mean = doubt[y // 4, x // 4].mean(dtype=float)
        assert found["uncertainty_mean"][place] == pytest.approx(mean)


def test_pure_stains_are_told_apart_on_any_glass():
    for white in (np.array([255, 255, 255]), np.array([200, 220, 190])):
        tables = density_tables(white / 255)
        pixels = pixels_of(np.array([[[0.5, 0.0], [0.0, 0.7], [0.4, 0.3]]]), white)[0]
        seen = tables[:, [0, 1, 2], pixels].sum(axis=-1) * UNIT
        np.testing.assert_allclose(seen.T, [[0.5, 0], [0, 0.7], [0.4, 0.3]], atol=0.02)


def test_a_dark_field_has_its_channel_and_no_stains():
    plane = ellipses()
    picture = np.where(plane > 0, 4000, 90).astype(np.uint16)
    found = table_of(seg_of(plane, picture))
    assert found["intensity_mean"].tolist() == [4000.0] * 4
    assert not any("_od_" in name for name in found)


def test_without_its_slide_all_else_is_written_and_the_file_says_so(tmp_path):
    seg = seg_of(ellipses())
    collection = json.loads(export(seg, tmp_path / "out.geojson").read_text())
    assert "fake.svs is gone" in collection["napari-twostage"]["slide_not_measured"]
    for feature in collection["features"]:
        assert "Uncertainty: Mean" in feature["properties"]["measurements"]
        assert "Red: Mean" not in feature["properties"]["measurements"]
    with export(seg, tmp_path / "objects.csv").open(encoding="utf-8") as file:
        assert "uncertainty_mean" in (header := next(csv.reader(file)))
        assert "red_mean" not in header


def test_what_cannot_be_read_is_left_empty(tmp_path, monkeypatch):
    plane = ellipses()
    seg = seg_of(plane, stained(plane)[1])
    whole, read = table_of(seg), seg.slide.read_at

    def damaged(box, downsample):
        if box.height < 100 and box.top >= 144:  # not the overview, which is read at once
            raise ReadError("a tile is damaged")
        return read(box, downsample)

    monkeypatch.setattr(seg.slide, "read_at", damaged)
    found = table_of(seg)
    lost = np.isnan(found["red_mean"])
    assert lost.tolist() == [False, False, True, True]
    np.testing.assert_array_equal(found["red_mean"][~lost], whole["red_mean"][~lost])
    np.testing.assert_array_equal(found["area_um2"], whole["area_um2"])
    with export(seg, tmp_path / "objects.csv").open(encoding="utf-8") as file:
        assert sum(row["red_mean"] == "" for row in csv.DictReader(file)) == 2
    features = json.loads(export(seg, tmp_path / "out.geojson").read_text())["features"]
    assert sum("Red: Mean" in one["properties"]["measurements"] for one in features) == 2


def test_every_format_says_the_same(tmp_path):
    plane = ellipses()
    seg = seg_of(plane, stained(plane)[1])
    with export(seg, tmp_path / "objects.csv").open(encoding="utf-8") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    features = json.loads(export(seg, tmp_path / "out.geojson").read_text())["features"]
    for feature in features:
        row, own = rows[feature["id"]], feature["properties"]["measurements"]
        for column in ObjectTables(seg).measurements:
            assert own[column.qupath] == float(row[column.name])


@pytest.mark.parametrize(("option", "asked"), [("measure", "colour"), ("cell_um", 0)])
def test_unknown_options_are_refused_in_one_line(tmp_path, option, asked):
    with pytest.raises(ts.TwoStageError, match="found") as error:
        export(seg_of(ellipses()), tmp_path / "objects.csv", **{option: asked})
    assert "\n" not in str(error.value)


def rectangle(top, left, height, width):
    """A region far larger than any block, in one table."""
    rows, columns = height * (height - 1) // 2, width * (width - 1) // 2
    squares = [side * (side - 1) * (2 * side - 1) // 6 for side in (height, width)]
    whole = (
        1, height * width, 0, width * (rows + top * height), height * (columns + left * width),
        top, left, left, top + height, left + width,
    )  # fmt: skip
    exact = [width * squares[0], height * squares[1], rows * columns]  # beyond 64 bits
    numbers = [np.array([number], np.int64) for number in whole]
    return Regions(*numbers, *(np.array([number], float) for number in exact))


def test_moments_hold_on_the_largest_slides():
    """A rectangle of sides a and b has the axes 2 a / √3 and 2 b / √3."""
    halves = [rectangle(0, 10, 120_000, 200_000), rectangle(120_000, 10, 80_000, 200_000)]
    joined, _ = _added_up(concatenated(halves), np.zeros(2, np.int64))
    major, minor = ellipse_axes_um(joined, (0.25, 0.5))
    assert major[0] == pytest.approx(2 * 200_000 * 0.5 / np.sqrt(3), rel=1e-9)
    assert minor[0] == pytest.approx(2 * 200_000 * 0.25 / np.sqrt(3), rel=1e-9)
