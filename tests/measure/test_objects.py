"""Objects are the connected regions of a class, independent of the blocks they were read in."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.features import shapes
from scipy import ndimage
from shapely import Polygon
from shapely.geometry import shape as polygon_of
from tests.export.fakes import FakeSegmentation

from napari_twostage.errors import SelectionError
from napari_twostage.measure import blocks as blocks_module
from napari_twostage.measure.object_outlines import outline_objects
from napari_twostage.measure.objects import ObjectScan
from napari_twostage.method import instances
from napari_twostage.method.tiling import TileState

PIXEL_UM2 = 0.25**2


@pytest.fixture(autouse=True, scope="module")
def small_blocks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks_module, "BLOCK_PX", 1)  # one tile a block
        yield


class Thing(NamedTuple):
    """An object in plain numbers."""

    value: int
    first: tuple[int, int]
    box: tuple[int, int, int, int]
    pixels: int
    refined: int
    rows: int
    columns: int
    row_squares: int
    column_squares: int
    products: int
    horizontal: int
    vertical: int
    corners: int


def noise(shape, seed, share=0.55, smooth=0.0):
    random = np.random.default_rng(seed)
    height = random.random(shape)
    if smooth:
        height = ndimage.gaussian_filter(height, smooth)
        height = height.argsort(axis=None).argsort().reshape(shape) / height.size
    return ((height < share) * random.integers(1, 3, shape)).astype(np.uint8)


def found(plane, least=0, tile_px=16, states=None, **cues):
    seg = FakeSegmentation(plane, tile_px=tile_px, states=states, **cues)
    scan = ObjectScan(seg, least * PIXEL_UM2)
    things = set()
    for table in scan.objects():
        one = table.regions
        columns = (
            one.value, zip(one.top.tolist(), one.first.tolist(), strict=True),
            zip(one.top.tolist(), one.left.tolist(), one.bottom.tolist(), one.right.tolist(),
                strict=True),
            one.pixels, one.refined, one.row_sum, one.column_sum,
            one.row_squares, one.column_squares, one.products,
            table.horizontal, table.vertical, table.corners,
        )  # fmt: skip
        things |= {Thing(*map(plain, row)) for row in zip(*columns, strict=True)}
    return things, {value: int(scan.left_out[value]) for value in (1, 2)}


def plain(value):
    return value if isinstance(value, tuple) else int(value)


def filled(mask, least):
    """A region with its holes below a size filled: what does not reach the outside around it."""
    outside, _ = ndimage.label(~np.pad(mask, 1))
    sizes = np.bincount(outside.ravel())
    hole = (sizes < least) & (np.arange(len(sizes)) != outside[0, 0])
    hole[0] = False
    return mask | hole[outside][1:-1, 1:-1]


def outlines_of(mask):
    """Polygons that rasterio traces around the True pixels."""
    traced = shapes(mask.astype(np.uint8), mask=mask, connectivity=4)
    return [polygon_of(geometry) for geometry, _ in traced]


def expected(plane, least=0, refined=None, items=None):
    """Describe the objects of a whole plane with scipy and rasterio, which know no blocks."""
    refined = np.ones(plane.shape, bool) if refined is None else refined
    things, left_out = set(), {1: 0, 2: 0}
    for value in (1, 2):
        numbers = ndimage.label(plane == value)[0] if items is None else items * (plane == value)
        for number in np.unique(numbers[numbers > 0]):
            mask = filled(numbers == number, least)
            if mask.sum() < least:
                left_out[value] += 1
                continue
            rows, columns = np.nonzero(mask)
            (outline,) = outlines_of(mask)
            rings = [np.array(ring.coords) for ring in (outline.exterior, *outline.interiors)]
            down, across = rows - rows.min(), columns - columns.min()
            steps = [np.abs(np.diff(ring, axis=0)).sum(0) for ring in rings]
            things.add(
                Thing(
                    value, (int(rows[0]), int(columns[0])),
                    (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1),
                    len(rows), int(refined[mask].sum()), rows.sum(), columns.sum(),
                    (down**2).sum(), (across**2).sum(), (down * across).sum(),
                    *map(int, np.sum(steps, axis=0)), sum(len(ring) - 1 for ring in rings),
                )
            )  # fmt: skip
    return things, left_out


A_RING_WITH_AN_ISLAND = np.pad(np.pad(np.ones((1, 1), np.uint8), 1), 1, constant_values=1)
TWO_CLASSES_IN_A_HOLE = np.array(
    [[1, 1, 1, 1, 1], [1, 0, 2, 0, 1], [1, 2, 1, 0, 1], [1, 0, 0, 2, 1], [1, 1, 1, 1, 1]], np.uint8
)


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    tile_px=st.integers(1, 32),
    seed=st.integers(0, 1000),
    share=st.sampled_from([0.0, 0.3, 0.6, 0.9, 1.0]),
    smooth=st.sampled_from([0.0, 0.0, 0.7, 1.5]),
    least=st.sampled_from([0, 0, 2, 3, 5, 9, 20, 1000]),
)
def test_blocks_do_not_show(shape, tile_px, seed, share, smooth, least):
    plane = noise(shape, seed, share, smooth)
    assert found(plane, least, tile_px) == expected(plane, least)


@pytest.fixture(scope="module")
def short_reach():
    """What tells objects apart in steps so few that blocks of a small plane do not hold them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(instances, "DOUBLINGS", 2)
        patch.setattr(instances, "ATTACH_PX", 3)
        patch.setattr(instances, "FRAGMENT_PX", 6)
        yield 2**2 + 3 + instances.SMOOTH_PX + instances.BROAD_PX + 2 * 6 + 3


@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    tile_px=st.sampled_from([11, 16, 41]),
    seed=st.integers(0, 1000),
    share=st.sampled_from([0.5, 0.8, 1.0]),
    smooth=st.sampled_from([0.0, 0.8, 2.0]),
    hills=st.sampled_from([0.0, 1.0, 3.0]),
    painted=st.sampled_from([0.0, 0.02, 0.5]),
)
def test_blocks_do_not_show_where_objects_touch(
    short_reach, shape, tile_px, seed, share, smooth, hills, painted
):
    """Tiled is whole: each block is seen with a margin of the reach, and with nothing beyond."""
    plane = noise(shape, seed, share, smooth)
    random = np.random.default_rng(seed)
    depth = ndimage.gaussian_filter(random.random(shape), hills)
    depth = instances.quantised(depth.argsort(axis=None).argsort().reshape(shape) / depth.size)
    brush = random.random(shape) < painted
    items = instances.separate(plane, depth, joined=brush)
    things, _ = found(plane, 0, tile_px, depth=depth, painted=brush, object_reach_px=short_reach)
    assert turnless(things) == turnless(expected(plane, items=items)[0])


def turnless(things):
    """Things without their turns, which are a few off where an object touches itself from afar."""
    return {thing._replace(corners=0) for thing in things}


@pytest.mark.parametrize("tile_px", [1, 3, 5, 64])
@pytest.mark.parametrize("least", [2, 8, 9, 10, 17, 25, 26])
@pytest.mark.parametrize("plane", [A_RING_WITH_AN_ISLAND, TWO_CLASSES_IN_A_HOLE])
def test_a_small_hole_is_filled_with_all_that_is_in_it(plane, least, tile_px):
    for place in (np.pad(plane, 2), np.pad(plane, ((0, 2), (2, 0)))):
        assert found(place, least, tile_px) == expected(place, least)


def test_a_small_region_counts_with_the_hole_in_it():
    ring = np.pad(np.ones((3, 3), np.uint8), 2)
    ring[3, 3] = 0
    things, left_out = found(ring, least=9)
    assert [(thing.pixels, thing.corners) for thing in things] == [(9, 4)]
    assert left_out == {1: 0, 2: 0}
    assert found(ring, least=10) == (set(), {1: 1, 2: 0})


def test_refined_pixels_are_those_of_refined_tiles():
    plane = noise((40, 44), 7, 0.5, 1.0)
    states = np.random.default_rng(0).integers(1, 4, (5, 6)).astype(np.uint8)
    refined = (states == TileState.REFINED).repeat(8, 0).repeat(8, 1)[:40, :44]
    assert found(plane, 4, 8, states) == expected(plane, 4, refined)


@pytest.mark.parametrize("least", [0, 12])
@pytest.mark.parametrize("tile_px", [5, 16, 64])
def test_outlines_do_not_depend_on_blocks(tile_px, least):
    plane = noise((61, 47), 3, 0.5, 0.8)
    assert outlined(plane, tile_px, least) == outlined(plane, 64, least)


def outlined(plane, tile_px, least):
    """Coordinates, to the last one, of each outline by class and first pixel."""
    scan = ObjectScan(FakeSegmentation(plane, tile_px=tile_px), least * PIXEL_UM2, members=True)
    found = {}

    def take(some):
        objects, outlines = some.objects.regions, some.outlines
        for value, row, column, pixels, outline in zip(
            objects.value.tolist(), objects.top.tolist(), objects.first.tolist(),
            objects.pixels.tolist(), outlines, strict=True,
        ):  # fmt: skip
            assert isinstance(outline, Polygon)
            assert outline.is_valid
            assert outline.area == pixels
            found[value, row, column] = shapely.to_wkb(outline)

    list(outline_objects(scan, take))
    return found


def test_objects_come_before_the_slide_is_read_to_its_end():
    plane = np.zeros((6400, 64), np.uint8)
    plane[2:5, 2:5] = 1
    plane[6000:6005, 2:5] = 1
    seg = FakeSegmentation(plane, tile_px=32)
    tables = ObjectScan(seg).objects()
    while not len(next(tables)):
        pass
    assert max(box.bottom for _, box in seg.read) <= 32 * 64
    tables.close()


def test_blocks_far_from_the_tissue_are_not_read():
    plane = np.zeros((96, 96), np.uint8)
    plane[31:49, 32:48] = noise((18, 16), 5)  # a row more than the tile, above and below
    states = np.zeros((6, 6), np.uint8)
    states[2, 2] = 1
    seg = FakeSegmentation(plane, tile_px=16, states=states)
    assert sum(map(len, ObjectScan(seg).objects())) == len(expected(plane)[0])
    assert {(box.top // 16, box.left // 16) for _, box in seg.read} == {
        (row, column) for row in (1, 2, 3) for column in (1, 2, 3)
    }


@pytest.mark.parametrize("asked", [-1, 1e7, float("nan"), "8", True])
def test_an_impossible_least_area_is_refused_in_one_line(asked):
    with pytest.raises(SelectionError, match="least area of objects must be 0 to 1e\\+06") as error:
        ObjectScan(FakeSegmentation(np.zeros((8, 8), np.uint8)), asked)
    assert "\n" not in str(error.value)
