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

from napari_twostage.measure.outlines import joined, trace
from napari_twostage.measure.runs import find_runs, number_regions

CHECKER = np.indices((7, 9)).sum(0) % 2
FRAME = np.pad(np.zeros((3, 4), np.uint8), 1, constant_values=1)


def numbered(labels: np.ndarray) -> np.ndarray:
    """Number the regions of classes from 1; the background is 0."""
    runs = find_runs(labels.astype(np.uint8))
    numbers = np.where(runs.value > 0, number_regions(runs) + 1, 0)
    return np.unique(runs.paint(numbers), return_inverse=True)[1].reshape(labels.shape).astype(
        np.int32
    ) + int((runs.value > 0).all())


def traced_by_rasterio(numbers: np.ndarray, top: int, left: int) -> dict[int, Polygon]:
    moved = Affine.translation(left, top)
    return {
        int(number): Polygon(geometry["coordinates"][0], geometry["coordinates"][1:])
        for geometry, number in shapes(numbers, mask=numbers > 0, connectivity=4, transform=moved)
    }


def assert_alike(labels: np.ndarray, top: int = 0, left: int = 0) -> None:
    numbers = numbered(labels)
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
    around, island = trace(numbered(labels))
    assert len(around.interiors) == 1
    assert around.intersection(island).is_empty


def test_nothing_has_no_outline():
    assert len(trace(np.zeros((4, 5), np.int32))) == 0


@given(
    shape=st.tuples(st.integers(2, 24), st.integers(2, 24)),
    seed=st.integers(0, 2**32 - 1),
    share=st.sampled_from([0.3, 0.6, 0.8, 0.95, 1.0]),
    cut=st.tuples(st.integers(1, 23), st.integers(1, 23)),
)
def test_parts_that_were_cut_are_joined_as_if_they_had_not_been(shape, seed, share, cut):
    labels = (np.random.default_rng(seed).random(shape) < share).astype(np.uint8)
    numbers = numbered(labels)
    row, column = (min(at, side - 1) for at, side in zip(cut, shape, strict=True))
    for number, whole in enumerate(trace(numbers), start=1):
        mask = numbers == number
        parts = [
            part
            for top, left, piece in (
                (0, 0, mask[:row, :column]), (0, column, mask[:row, column:]),
                (row, 0, mask[row:, :column]), (row, column, mask[row:, column:]),
            )
            for part in trace(numbered(piece), top=top, left=left)
        ]  # fmt: skip
        assert shapely.to_wkb(joined(parts)) == shapely.to_wkb(whole)
