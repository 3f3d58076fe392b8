"""Boxes and grids: what overlaps, covers and partitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_twostage.geometry import Box, Grid, level_factors

edges = st.integers(-60, 60)


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    (top, bottom), (left, right) = (sorted((draw(edges), draw(edges))) for _ in range(2))
    return Box(top, left, bottom, right)


def pixels(box: Box) -> set[tuple[int, int]]:
    return {
        (row, column) for row in range(box.top, box.bottom) for column in range(box.left, box.right)
    }


@given(boxes(), boxes())
def test_an_intersection_holds_the_pixels_both_hold(one: Box, other: Box) -> None:
    assert pixels(one.intersect(other)) == pixels(one) & pixels(other)


@given(boxes(), boxes())
def test_containing_is_holding_every_pixel(one: Box, other: Box) -> None:
    if other.area:
        assert one.contains(other) == (pixels(other) <= pixels(one))


@given(boxes(), st.integers(1, 40))
def test_blocks_partition_a_box_on_the_absolute_grid(box: Box, size: int) -> None:
    blocks = list(box.blocks(size)) if box.area else []
    assert sum(block.area for block in blocks) == box.area
    assert set().union(*map(pixels, blocks)) == pixels(box)
    for block in blocks:
        assert block.top // size == (block.bottom - 1) // size
        assert block.left // size == (block.right - 1) // size


@given(boxes(), st.integers(1, 16))
def test_a_coarser_box_is_the_smallest_that_covers(box: Box, factor: int) -> None:
    coarse = box.scaled(1 / factor)
    assert coarse.scaled(factor).contains(box)
    if box.area:
        assert {(y // factor, x // factor) for y, x in pixels(box)} == pixels(coarse)


@given(boxes(), st.integers(1, 16))
def test_going_to_a_finer_grid_and_back_changes_nothing(box: Box, factor: int) -> None:
    assert box.scaled(factor).scaled(1 / factor) == box


@given(boxes(), st.integers(0, 9), edges, edges)
def test_growing_and_shifting_are_undone(box: Box, margin: int, rows: int, columns: int) -> None:
    grown = box.grow(margin)
    assert grown.shape == (box.height + 2 * margin, box.width + 2 * margin)
    assert grown.contains(box)
    assert box.shift(rows, columns).shift(-rows, -columns) == box


def test_a_box_indexes_its_pixels() -> None:
    plane = np.arange(48).reshape(6, 8)
    assert plane[Box.at(1, 2, 3, 4).slices].tolist() == plane[1:4, 2:6].tolist()


@pytest.mark.parametrize("corners", [(5, 0, 4, 9), (0, 5, 9, 4)])
def test_a_box_does_not_end_before_it_begins(corners: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="ends before it begins"):
        Box(*corners)


@given(st.tuples(st.integers(1, 500), st.integers(1, 500)), st.integers(1, 32))
def test_a_coarser_grid_covers_the_finer_one(shape: tuple[int, int], factor: int) -> None:
    fine = Grid(shape, (2.0, 3.0), (0.5, 0.75))
    coarse = fine.coarser(factor)
    assert coarse.box == fine.box.scaled(1 / factor)
    assert coarse.downsample == (2.0 * factor, 3.0 * factor)
    assert coarse.pixel_area_um2 == pytest.approx(fine.pixel_area_um2 * factor**2)


@given(
    st.tuples(st.integers(600, 9000), st.integers(600, 9000)),
    st.lists(st.sampled_from([2, 3, 4, 8, 16]), min_size=1, max_size=4, unique=True),
    st.booleans(),
)
def test_factors_of_levels_are_whole_however_a_scanner_rounds(
    shape: tuple[int, int], steps: list[int], up: bool
) -> None:
    shapes = [shape] + [tuple((n + up * (s - 1)) // s for n in shape) for s in sorted(steps)]
    factors = level_factors(shapes)
    assert factors == ((1.0, 1.0), *((float(s), float(s)) for s in sorted(steps)))


def test_other_factors_are_the_plain_ratio() -> None:
    assert level_factors([(1000, 900), (400, 360)])[1] == (2.5, 2.5)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 40)), min_size=1, max_size=5))
def test_the_box_around_a_mask_touches_true_pixels_on_every_side(
    places: list[tuple[int, int]],
) -> None:
    mask = np.zeros((31, 41), bool)
    mask[tuple(zip(*places, strict=True))] = True
    found = Box.around(mask)
    inside = mask[found.slices]
    assert inside.sum() == mask.sum()
    assert inside[[0, -1]].any(axis=1).all()
    assert inside[:, [0, -1]].any(axis=0).all()


def test_an_empty_mask_has_no_box() -> None:
    with pytest.raises(ValueError, match="empty mask"):
        Box.around(np.zeros((3, 4), bool))


@given(boxes())
def test_the_list_of_its_edges_makes_the_box_again(box: Box) -> None:
    assert Box(*box.as_list()) == box
