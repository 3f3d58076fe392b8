"""Pixels on disk: labels composed on reading, and a pyramid that shows the same."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes import CLASSES, make_card

from napari_twostage.geometry import Box, Grid
from napari_twostage.method.resample_labels import thin, upsample
from napari_twostage.method.tiling import Tile, TileGrid
from napari_twostage.method.uncertainty import labels as likeliest
from napari_twostage.result.label_arrays import create_arrays
from napari_twostage.result.label_store import SURE, LabelStore
from napari_twostage.result.layout import SMALL_PX, UNSET, Layout
from napari_twostage.result.zarr_chunks import compression

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

SIZES = {"tile_px": 64, "coarse_window_px": 36}
SHAPE = (2107, 603)
"""Two levels that are composed and two that are kept; sizes that nothing divides."""
OUTSIDE: Tile = (3, 2)
"""A tile without logits, as outside the tissue."""
REFINED: list[Tile] = [(0, 0), (3, 4), (5, 5), (32, 9), (32, 3), (10, 9)]
EDITED = [Box(2, 3, 140, 81), Box(2090, 580, 2107, 603)]


def make_layout(shape: tuple[int, int], classes: int = 1, **changes: object) -> Layout:
    card = make_card(classes=CLASSES[:classes], **changes)
    fine = Grid(shape, (1.0, 1.0), (0.5, 0.5))
    return Layout(fine, card, TileGrid(shape, card.tile_px, card.halo_px))


def new_store(path: Path, layout: Layout) -> LabelStore:
    """Make an empty store."""
    create_arrays(path, layout)
    return LabelStore(path, layout)


def paint(store: LabelStore, boxes: list[Box], labels: np.ndarray) -> None:
    """Paint the last of the boxes that the user has edited."""
    before = store.read_edits(boxes[-1])
    store.show_edits(boxes, [(boxes[-1], labels)])
    assert (store.read_edits(boxes[-1]) == labels).all()
    assert before.shape == labels.shape
    store.store_edit(boxes[-1])
    store.show_edits(boxes, [])


class Filled:
    """A store with coarse, refined and edited tiles, and the planes that were put into it."""

    def __init__(self, path: Path, classes: int) -> None:
        self.path = path
        self.layout = make_layout(SHAPE, classes, **SIZES)
        self.store = new_store(path, self.layout)
        rng = np.random.default_rng(classes)
        shape = self.layout.card.outputs, *self.layout.coarse.shape
        self.logits = rng.normal(size=shape).astype(np.float16)
        self.logits[:, *self.layout.coarse_box(OUTSIDE).slices] = np.nan
        self.refined = np.full(SHAPE, UNSET, np.uint8)
        self.painted = self.refined.copy()
        self.boxes: list[Box] = []
        for core in self.layout.coarse.box.blocks(self.layout.card.coarse_core_px):
            self.store.write_window(core, self.logits[:, *core.slices])
        for tile in REFINED:
            self.refine(tile, rng.integers(0, classes + 1, (64, 64)).astype(np.uint8))
        for box in EDITED:
            self.edit(box, rng.integers(0, classes + 1, box.shape).astype(np.uint8))
        self.store.pyramid.flush()

    @property
    def over(self) -> np.ndarray:
        return np.where(self.painted == UNSET, self.refined, self.painted)

    def refine(self, tile: Tile, square: np.ndarray) -> None:
        self.store.write_tile(tile, square)
        box = self.layout.tiles.box(tile)
        self.refined[box.slices] = square[: box.height, : box.width]

    def edit(self, box: Box, labels: np.ndarray) -> None:
        self.boxes.append(box)
        paint(self.store, self.boxes, labels)
        self.painted[box.slices] = labels

    def rewrite_window(self, core: Box) -> None:
        self.logits[:, *core.slices] *= -1
        self.store.write_window(core, self.logits[:, *core.slices])

    def reopened(self) -> LabelStore:
        """Open what is on disk, as the journal would tell of it."""
        store, tiles = LabelStore(self.path, self.layout), self.layout.tiles
        refined = np.zeros(tiles.shape, bool)
        for row, column in np.ndindex(tiles.shape):
            place = tiles.box((row, column)).slices
            refined[row, column] = (self.refined[place] != UNSET).any()
        windows = tuple(self.layout.coarse.box.blocks(self.layout.card.coarse_core_px))
        store.mark_written(refined, windows)
        store.show_edits(self.boxes, [])
        return store

    def whole(self, level: int) -> np.ndarray:
        return self.store.read_labels(Box(0, 0, *self.layout.level_shapes[level]), level)

    def expected(self, level: int) -> np.ndarray:
        """A level from planes in memory."""
        step, ratio = self.layout.steps[level], self.layout.card.ratio
        known = self.logits.copy()
        background = [-SURE] if len(known) == 1 else [SURE, *[0] * (len(known) - 1)]
        known[:, *self.layout.coarse_box(OUTSIDE).slices] = np.array(background)[:, None, None]
        if step >= ratio:
            under = thin(likeliest(known), step // ratio)
        else:
            read = partial(lambda planes, box: planes[:, *box.slices], known)
            box = Box(0, 0, *SHAPE)
            under = thin(likeliest(upsample(read, known.shape[1:], box, ratio)), step)
        over = thin(self.over, step)
        return np.where(over == UNSET, under, over)


@pytest.fixture(scope="module", params=[1, 2], ids=["one class", "two classes"])
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Filled:
    return Filled(tmp_path_factory.mktemp("store") / "out", request.param)


def test_every_level_shows_what_was_written(filled: Filled) -> None:
    assert filled.layout.steps == (1, 2, 4, 8)
    for level in range(4):
        np.testing.assert_array_equal(filled.whole(level), filled.expected(level))


def test_overview_levels_are_the_thinned_labels_where_tiles_are_refined_or_edited(
    filled: Filled,
) -> None:
    finest = filled.whole(0)
    for level, step in enumerate(filled.layout.steps):
        covered = thin(filled.over, step) != UNSET
        assert covered.any()
        np.testing.assert_array_equal(filled.whole(level)[covered], thin(finest, step)[covered])


def test_nothing_is_segmented_where_there_are_no_logits(filled: Filled) -> None:
    place = filled.layout.tiles.box(OUTSIDE)
    assert not filled.store.read_labels(place.grow(-2)).any()


def test_another_session_reads_the_same(filled: Filled) -> None:
    opened = filled.reopened()
    assert not opened.pyramid.stale
    for level, shape in enumerate(filled.layout.level_shapes):
        found = opened.read_labels(Box(0, 0, *shape), level)
        np.testing.assert_array_equal(found, filled.whole(level))


def test_the_overview_catches_up_with_tiles_of_a_run_that_was_killed(tmp_path: Path) -> None:
    layout = make_layout(SHAPE, **SIZES)
    store = new_store(tmp_path / "out", layout)
    store.write_tile((4, 4), np.ones((64, 64), np.uint8))
    again = LabelStore(tmp_path / "out", layout)
    refined = np.zeros(layout.tiles.shape, bool)
    refined[4, 4] = True
    again.mark_written(refined, [])
    again.mark_stale([(4, 4)], [])
    place = layout.tiles.box((4, 4)).scaled(1 / layout.steps[-1])
    assert again.read_labels(place, len(layout.steps) - 1).all()
    assert again.pyramid.stale
    again.pyramid.flush()
    assert not again.pyramid.stale
    assert LabelStore(tmp_path / "out", layout).read_labels(place, len(layout.steps) - 1).all()


def test_the_overview_catches_up_with_windows_of_a_run_that_was_killed(tmp_path: Path) -> None:
    layout = make_layout(SHAPE, **SIZES)
    store = new_store(tmp_path / "out", layout)
    core = next(layout.coarse.box.blocks(layout.card.coarse_core_px))
    store.write_window(core, np.ones((1, *core.shape), np.float16))
    place = layout.fine_box(core)
    coarser = range(layout.steps.index(layout.card.ratio) + 1, len(layout.steps))
    again = LabelStore(tmp_path / "out", layout)
    again.mark_written(np.zeros(layout.tiles.shape, bool), [core])
    again.mark_stale([], [core])
    for level in coarser:
        at_level = place.scaled(1 / layout.steps[level])
        assert store.read_labels(at_level, level).all()
        assert again.read_labels(at_level, level).all()
    again.pyramid.flush()
    for level in coarser:
        at_level = place.scaled(1 / layout.steps[level])
        assert LabelStore(tmp_path / "out", layout).read_labels(at_level, level).all()


def test_of_a_place_that_is_held_twice_the_last_is_shown(tmp_path: Path) -> None:
    layout = make_layout(SHAPE, **SIZES)
    store = new_store(tmp_path / "out", layout)
    core = next(layout.coarse.box.blocks(layout.card.coarse_core_px))
    last = len(layout.steps) - 1
    place = layout.tiles.box((0, 0)).scaled(1 / layout.steps[last])
    for value in (1, 0, 1):
        store.write_tile((0, 0), np.full((64, 64), value, np.uint8))
        store.write_window(core, np.full((1, *core.shape), -1, np.float16))
        assert (store.read_labels(place, last) == value).all()
    held = store.pyramid.buffered_bytes
    store.write_tile((0, 0), np.zeros((64, 64), np.uint8))
    assert store.pyramid.buffered_bytes == held
    assert not store.read_labels(place, last).any()


ROWS, COLUMNS = 33, 10
CHANGES = st.one_of(
    st.tuples(st.just("refine"), st.integers(0, ROWS - 1), st.integers(0, COLUMNS - 1)),
    st.tuples(st.just("edit"), st.integers(0, SHAPE[0] - 2), st.integers(0, SHAPE[1] - 2)),
    st.tuples(st.just("window"), st.integers(0, 16), st.integers(0, 4)),
    st.tuples(st.just("refresh"), st.just(0), st.just(0)),
)


def change(filled: Filled, kind: str, row: int, column: int, rng: np.random.Generator) -> None:
    if kind == "refine":
        filled.refine((row, column), rng.integers(0, 2, (64, 64)).astype(np.uint8))
    elif kind == "edit":
        box = Box.at(row, column, *rng.integers(1, 150, 2)).clip(SHAPE)
        labels = rng.choice(np.array([0, 1, UNSET], np.uint8), box.shape)
        filled.edit(box, labels)  # as an undone one does, it may also take labels away
    elif kind == "window":
        cores = list(filled.layout.coarse.box.blocks(filled.layout.card.coarse_core_px))
        filled.rewrite_window(cores[(row * 5 + column) % len(cores)])
    else:
        filled.store.pyramid.flush()


@settings(max_examples=5)
@given(changes=st.lists(CHANGES, min_size=1, max_size=6), data=st.data())
def test_every_level_shows_every_change_at_once(
    filled: Filled, changes: list[tuple[str, int, int]], data: st.DataObject
) -> None:
    rng = np.random.default_rng(len(changes))
    for kind, row, column in changes:
        change(filled, kind, row, column, rng)
        for level in (2, 3):
            np.testing.assert_array_equal(filled.whole(level), filled.expected(level))
    np.testing.assert_array_equal(filled.whole(0), filled.expected(0))
    for level in (2, 3):
        height, width = filled.layout.level_shapes[level]
        top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
        box = Box(
            top,
            left,
            data.draw(st.integers(top + 1, height)),
            data.draw(st.integers(left + 1, width)),
        )
        part = filled.store.read_labels(box, level)
        np.testing.assert_array_equal(part, filled.expected(level)[box.slices])

    filled.store.pyramid.flush()
    again = filled.reopened()
    for level, shape in enumerate(filled.layout.level_shapes):
        found = again.read_labels(Box(0, 0, *shape), level)
        np.testing.assert_array_equal(found, filled.whole(level))


def test_what_is_pending_is_held_until_the_overview_has_it(tmp_path: Path) -> None:
    store = new_store(tmp_path / "out", make_layout(SHAPE, **SIZES))
    assert not store.pyramid.stale
    store.write_tile((1, 1), np.ones((64, 64), np.uint8))
    paint(store, [Box(10, 10, 70, 20)], np.ones((60, 10), np.uint8))
    a_tile = sum((64 // step) ** 2 for step in store.pyramid.steps)
    assert store.pyramid.buffered_bytes == 3 * a_tile
    assert store.pyramid.stale
    store.pyramid.flush()
    assert store.pyramid.buffered_bytes == 0
    assert not store.pyramid.stale


def test_an_edit_that_was_never_recorded_is_gone_for_good(tmp_path: Path) -> None:
    layout = make_layout(SHAPE, **SIZES)
    store = new_store(tmp_path / "out", layout)
    paint(store, [Box(70, 70, 80, 80)], np.ones((10, 10), np.uint8))
    store.pyramid.flush()
    killed = LabelStore(tmp_path / "out", layout)
    assert (killed.read_edits(Box(64, 64, 128, 128)) == UNSET).all()
    paint(killed, [Box(100, 100, 101, 101)], np.ones((1, 1), np.uint8))
    assert killed.read_labels(Box(64, 64, 128, 128)).sum() == 1


def test_nothing_is_read_where_nothing_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = new_store(tmp_path / "out", make_layout(SHAPE, **SIZES))
    store.write_tile((3, 3), np.ones((64, 64), np.uint8))
    read: list[tuple[int, ...]] = []
    refined = store.arrays["refined"]
    read_many = refined._files.read_many

    def spy(indices: Collection[tuple[int, ...]]) -> Iterator[tuple[tuple[int, ...], bytes | None]]:
        read.extend(indices)
        return read_many(indices)

    monkeypatch.setattr(refined._files, "read_many", spy)
    store.read_labels(Box(0, 0, 192, 192))
    assert not read
    store.read_labels(Box(100, 100, 400, 400))
    assert read == [(3, 3)]


def test_writers_in_several_threads_lose_nothing(tmp_path: Path) -> None:
    alone, together = Filled(tmp_path / "alone", 1), Filled(tmp_path / "together", 1)
    rng = np.random.default_rng(3)
    tiles = [(row, column) for row in range(6) for column in range(6)]
    squares = rng.integers(0, 2, (len(tiles), 64, 64)).astype(np.uint8)
    boxes = [Box.at(int(top), int(left), 90, 90) for top, left in rng.integers(0, 300, (12, 2))]
    painted = rng.choice(np.array([0, 1, UNSET], np.uint8), (len(boxes), 90, 90))

    def refine(filled: Filled) -> None:
        for tile, square in zip(tiles, squares, strict=True):
            filled.refine(tile, square)

    def edit(filled: Filled) -> None:
        for box, labels in zip(boxes, painted, strict=True):
            filled.edit(box, labels)
            filled.store.pyramid.flush()

    refine(alone)
    edit(alone)
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(refine, together), pool.submit(edit, together)]
        while not all(job.done() for job in jobs):
            for level in (0, 2, 3):
                assert together.whole(level).max() <= 1
        for job in jobs:
            job.result()
    for level in range(4):
        np.testing.assert_array_equal(together.whole(level), alone.whole(level))
        np.testing.assert_array_equal(together.whole(level), together.expected(level))


def test_a_single_level_of_a_small_plane_is_followed_by_those_up_to_the_coarse_grid() -> None:
    assert make_layout((40, 30)).steps == (1, 2, 4)
    assert make_layout((40, 30), ratio=1, coarse_window_px=36).steps == (1,)


@pytest.mark.parametrize("shape", [(513, 9), (4097, 5000), (70_000, 1)])
def test_levels_go_on_until_they_are_small_or_a_tile_is_a_pixel(shape: tuple[int, int]) -> None:
    layout = make_layout(shape)
    last = layout.steps[-1]
    assert max(layout.level_shapes[-1]) <= SMALL_PX or last == layout.card.tile_px
    assert all(layout.card.tile_px % step == 0 for step in layout.steps)
    assert [2 * step for step in layout.steps[:-1]] == list(layout.steps[1:])


def test_a_result_from_before_there_were_shards_is_gone_on_with(tmp_path: Path) -> None:
    layout, rng = make_layout(SHAPE, **SIZES), np.random.default_rng(4)
    first, second = rng.integers(0, 2, (2, 64, 64)).astype(np.uint8)
    new_store(tmp_path, layout)
    group = zarr.open_group(tmp_path)
    options = compression((64, 64))
    group.create_array(
        "refined", shape=SHAPE, dtype="uint8", fill_value=UNSET, overwrite=True, **options
    )[64:128, 64:128] = first
    store = LabelStore(tmp_path, layout)
    before = np.zeros(layout.tiles.shape, bool)
    before[1, 1] = True
    store.mark_written(before, [])
    store.write_tile((1, 2), second)
    np.testing.assert_array_equal(
        store.read_labels(Box(64, 64, 128, 192)), np.hstack([first, second])
    )


def test_tiles_written_together_are_those_written_one_by_one(tmp_path: Path) -> None:
    layout, rng = make_layout(SHAPE, **SIZES), np.random.default_rng(5)
    squares = {tile: rng.integers(0, 2, (64, 64)).astype(np.uint8) for tile in REFINED}
    one_by_one, together = (new_store(tmp_path / name, layout) for name in "ab")
    for tile, square in squares.items():
        one_by_one.write_tile(tile, square)
    together.write_tiles(squares)
    for level, shape in enumerate(layout.level_shapes):
        found, expected = (
            store.read_labels(Box(0, 0, *shape), level) for store in (together, one_by_one)
        )
        np.testing.assert_array_equal(found, expected)
        assert expected.any()
