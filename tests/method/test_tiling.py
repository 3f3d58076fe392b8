"""Tiles and chips cover every pixel exactly once."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from rasterio.features import rasterize

from napari_twostage.geometry import Box
from napari_twostage.method.tiling import MERGED_SIDES, TileGrid

grids = st.builds(
    TileGrid,
    plane=st.tuples(st.integers(1, 150), st.integers(1, 150)),
    tile_px=st.integers(8, 40),
    halo_px=st.integers(0, 20),
)


@st.composite
def selections(draw: st.DrawFn) -> tuple[TileGrid, list[tuple[int, int]]]:
    """Draw tiles of a grid, in any order; often many neighbours, so that chips merge."""
    rows, columns = draw(st.integers(1, 11)), draw(st.integers(1, 11))
    share = draw(st.sampled_from([0.1, 0.5, 0.9, 1.0]))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    tiles = np.argwhere(rng.random((rows, columns)) < share)
    chosen = [(int(row), int(column)) for row, column in rng.permutation(tiles)]
    return TileGrid((rows * 16 - 3, columns * 16 - 7), tile_px=16, halo_px=5), chosen


@given(grids)
def test_tiles_partition_the_plane(grid: TileGrid) -> None:
    owners = np.zeros(grid.plane, int)
    for tile in np.ndindex(grid.shape):
        owners[grid.box(tile).slices] += 1
        assert grid.core(tile).shape == (grid.tile_px, grid.tile_px)
    assert (owners == 1).all()


@given(grids, st.integers(-20, 160), st.integers(-20, 160), st.integers(0, 80), st.integers(0, 80))
def test_touching_tiles_are_those_that_share_a_pixel(
    grid: TileGrid, top: int, left: int, height: int, width: int
) -> None:
    box = Box.at(top, left, height, width)
    expected = [tile for tile in np.ndindex(grid.shape) if grid.box(tile).intersect(box).area]
    assert list(grid.touching(box)) == expected


@given(selections(), st.booleans())
def test_chips_cover_exactly_what_was_selected(
    selection: tuple[TileGrid, list[tuple[int, int]]], merge: bool
) -> None:
    grid, tiles = selection
    chips = grid.chips(tiles, merge=merge)
    assert sorted(tile for chip in chips for tile in chip.tiles) == sorted(tiles)
    for chip in chips:
        held = np.zeros(chip.core.shape, int)
        for tile in chip.tiles:
            held[grid.core(tile).shift(-chip.core.top, -chip.core.left).slices] += 1
        assert (held == 1).all()
        assert chip.window == chip.core.grow(grid.halo_px)


@given(selections())
def test_a_chip_stands_where_its_first_tile_stood(
    selection: tuple[TileGrid, list[tuple[int, int]]],
) -> None:
    grid, tiles = selection
    place = {tile: index for index, tile in enumerate(tiles)}
    firsts = [min(place[tile] for tile in chip.tiles) for chip in grid.chips(tiles, merge=True)]
    assert firsts == sorted(firsts)
    assert [chip.tiles for chip in grid.chips(tiles)] == [(tile,) for tile in tiles]


@given(selections())
def test_merged_chips_come_in_few_aligned_shapes(
    selection: tuple[TileGrid, list[tuple[int, int]]],
) -> None:
    grid, tiles = selection
    for chip in grid.chips(tiles, merge=True):
        side = chip.core.height // grid.tile_px
        assert side in {1, *MERGED_SIDES}
        assert chip.core.width == chip.core.height
        assert chip.core.top % chip.core.height == chip.core.left % chip.core.width == 0


def test_a_full_square_is_one_chip() -> None:
    grid = TileGrid((64, 64), tile_px=16, halo_px=4)
    (chip,) = grid.chips(list(np.ndindex(4, 4)), merge=True)
    assert chip.core == Box(0, 0, 64, 64)
    assert chip.window == Box(-4, -4, 68, 68)


vertices = st.tuples(st.integers(-350, 1350), st.integers(-350, 1350))


@given(
    plane=st.tuples(st.integers(1, 130), st.integers(1, 130)),
    polygons=st.lists(st.lists(vertices, min_size=3, max_size=7), min_size=1, max_size=3),
)
def test_tiles_that_touch_polygons_are_those_of_rasterio(
    plane: tuple[int, int], polygons: list[list[tuple[int, int]]]
) -> None:
    grid = TileGrid(plane, tile_px=10, halo_px=0)
    # between the tiles' borders: rasterio leaves open which tile a border belongs to
    rings = tuple(tuple((y / 10 + 0.0137, x / 10 + 0.0171) for y, x in p) for p in polygons)
    shapes = [
        {"type": "Polygon", "coordinates": [[(x / 10, y / 10) for y, x in (*ring, ring[0])]]}
        for ring in rings
    ]
    expected = rasterize(shapes, out_shape=grid.shape, all_touched=True).astype(bool)
    assert np.array_equal(grid.touching_polygons(rings), expected)


def test_tiles_that_share_a_border_with_a_polygon_do_not_touch_it() -> None:
    grid = TileGrid((100, 100), tile_px=10, halo_px=0)
    square = ((20, 20), (20, 40), (40, 40), (40, 20))
    neighbour = ((40, 20), (40, 40), (50, 40))
    tiles = {(2, 2), (2, 3), (3, 2), (3, 3)}
    assert set(map(tuple, np.argwhere(grid.touching_polygons((square,))))) == tiles
    both = grid.touching_polygons((square, neighbour))
    assert set(map(tuple, np.argwhere(both))) == tiles | {(4, 2), (4, 3)}
    assert not grid.touching_polygons((((20, 20), (20, 60), (20, 60)),)).any()
