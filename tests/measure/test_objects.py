"""Objects are the connected regions of a class, independent of the blocks they were read in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from tests.export.fakes import FakeSegmentation

from napari_twostage.geometry import Box
from napari_twostage.measure import blocks as blocks_module
from napari_twostage.measure.objects import iter_objects


@pytest.fixture(autouse=True, scope="module")
def small_blocks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks_module, "BLOCK_PX", 1)  # one tile a block
        yield


def noise(shape, seed, share=0.55):
    random = np.random.default_rng(seed)
    return ((random.random(shape) < share) * random.integers(1, 3, shape)).astype(np.uint8)


def described(objects):
    return {(item.value, item.first, item.box, item.pixels, item.centroid) for item in objects}


def expected(plane):
    """Describe the regions of a whole plane with scipy, which knows no blocks."""
    found = set()
    for value in (1, 2):
        numbers, _ = ndimage.label(plane == value)
        for number, (down, across) in enumerate(ndimage.find_objects(numbers), start=1):
            rows, columns = np.nonzero(numbers == number)
            box = Box(down.start, across.start, down.stop, across.stop)
            centroid = rows.sum() / len(rows) + 0.5, columns.sum() / len(rows) + 0.5
            found.add((value, (rows[0], columns[0]), box, len(rows), centroid))
    return found


@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    tile_px=st.integers(1, 32),
    seed=st.integers(0, 1000),
    share=st.sampled_from([0.0, 0.3, 0.6, 0.9, 1.0]),
)
def test_blocks_do_not_show(shape, tile_px, seed, share):
    plane = noise(shape, seed, share)
    found = list(iter_objects(FakeSegmentation(plane, tile_px=tile_px), outlines=False))
    assert described(found) == expected(plane)
    assert len(found) == len(expected(plane))


@pytest.mark.parametrize("tile_px", [5, 16, 64])
def test_outlines_do_not_depend_on_blocks(tile_px):
    plane = noise((61, 47), 3)
    whole = iter_objects(FakeSegmentation(plane, tile_px=64), outlines=True)
    cut = iter_objects(FakeSegmentation(plane, tile_px=tile_px), outlines=True)
    expected = {(item.value, item.first): item.outline(0) for item in whole}
    for item in cut:
        outline = item.outline(0)
        assert outline.geom_type == "Polygon"
        assert outline.is_valid
        assert outline.area == item.pixels
        assert outline.equals(expected.pop((item.value, item.first)))
    assert not expected


def test_objects_come_before_the_slide_is_read_to_its_end():
    plane = np.zeros((640, 64), np.uint8)
    plane[2:5, 2:5] = 1
    plane[600:605, 2:5] = 1
    seg = FakeSegmentation(plane, tile_px=32)
    next(iter_objects(seg, outlines=False))
    assert max(box.bottom for _, box in seg.read) <= 64


def test_edge_of_the_slide_is_noticed():
    plane = np.zeros((50, 40), np.uint8)
    plane[0, 5] = plane[49, 9] = plane[20, 0] = plane[30, 39] = 1
    plane[10:20, 10:20] = 1  # crosses blocks, not the slide's edge
    at_edge = {
        item.first: item.at_edge
        for item in iter_objects(FakeSegmentation(plane, tile_px=16), outlines=False)
    }
    assert at_edge == {
        (0, 5): True, (49, 9): True, (20, 0): True, (30, 39): True, (10, 10): False,
    }  # fmt: skip


def test_blocks_far_from_the_tissue_are_not_read():
    plane = np.zeros((96, 96), np.uint8)
    plane[31:49, 32:48] = noise((18, 16), 5)  # a row more than the tile, above and below
    states = np.zeros((6, 6), np.uint8)
    states[2, 2] = 1
    seg = FakeSegmentation(plane, tile_px=16, states=states)
    assert described(iter_objects(seg, outlines=False)) == expected(plane)
    assert {(box.top // 16, box.left // 16) for _, box in seg.read} == {
        (row, column) for row in (1, 2, 3) for column in (1, 2, 3)
    }
