"""Outlines are those that rasterio traces, ring by ring and corner by corner."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from rasterio.features import shapes
from rasterio.transform import Affine
from shapely import Polygon

from napari_twostage.measure.outlines import trace
from napari_twostage.measure.regions import _number

CHECKER = np.indices((7, 9)).sum(0) % 2
FRAME = np.pad(np.zeros((3, 4), np.uint8), 1, constant_values=1)


def traced_by_rasterio(numbers: np.ndarray, top: int, left: int) -> dict[int, Polygon]:
    moved = Affine.translation(left, top)
    return {
        int(number): Polygon(geometry["coordinates"][0], geometry["coordinates"][1:])
        for geometry, number in shapes(numbers, mask=numbers > 0, connectivity=4, transform=moved)
    }


def assert_alike(labels: np.ndarray, top: int = 0, left: int = 0) -> None:
    numbers = _number(labels.astype(np.uint8))
    found = trace(numbers, top=top, left=left)
    expected = traced_by_rasterio(numbers, top, left)
    assert len(found) == len(expected) == numbers.max()
    for number, outline in enumerate(found, start=1):
        assert outline.is_valid
        assert outline.area == (numbers == number).sum()
        assert outline.equals(expected[number])
        assert shapely.to_wkb(outline) == shapely.to_wkb(expected[number])


@given(
    shape=st.tuples(st.integers(1, 24), st.integers(1, 24)),
    seed=st.integers(0, 2**32 - 1),
    share=st.sampled_from([0.2, 0.5, 0.6, 0.8, 0.95, 1.0]),
    classes=st.integers(1, 3),
    corner=st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)),
)
def test_noise_has_the_outlines_of_rasterio(shape, seed, share, classes, corner):
    random = np.random.default_rng(seed)
    labels = (random.random(shape) < share) * random.integers(1, classes + 1, shape)
    assert_alike(labels, *corner)


@pytest.mark.parametrize(
    "labels",
    [np.ones((1, 1)), np.ones((1, 5)), CHECKER, 1 - CHECKER, 1 + CHECKER, FRAME, 2 - FRAME],
    ids=["pixel", "row", "checker", "other checker", "two checkers", "frame", "filled frame"],
)
def test_corners_and_holes(labels):
    assert_alike(labels)


def test_an_island_in_a_hole_is_another_region():
    labels = np.pad(np.pad(np.ones((2, 2), np.uint8), 2), 1, constant_values=1)
    around, island = trace(_number(labels))
    assert len(around.interiors) == 1
    assert around.intersection(island).is_empty


def test_nothing_has_no_outline():
    assert trace(np.zeros((4, 5), np.int32)) == []
