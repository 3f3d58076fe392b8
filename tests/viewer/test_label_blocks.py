"""Displayed labels equal the labels of the result at any moment of a run."""

from __future__ import annotations

import tempfile
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes import FakeModel, damage, make_card, noise_slide

from napari_twostage.engine.api import prepare, run_to_end
from napari_twostage.engine.options import RunOptions
from napari_twostage.geometry import Box
from napari_twostage.method.selection import EVERYTHING, NOTHING, Selection
from napari_twostage.method.steps import ChipRefined, CoarseWindowDone
from napari_twostage.viewer import label_blocks
from napari_twostage.viewer.label_blocks import LabelBlocks

if TYPE_CHECKING:
    from napari_twostage.engine.segmentation import Segmentation

SHAPE = (102, 74)
"""Rows and columns; neither is a multiple of the tile, window or block size."""


def begin(folder: Path, model: FakeModel | None = None) -> Segmentation:
    """Empty result of a run that has not started."""
    slide = noise_slide(*SHAPE)
    return prepare(
        slide, model or FakeModel(), folder / "a.twostage.zarr", RunOptions(tissue=False)
    )


def take(blocks: LabelBlocks, step: object) -> None:
    """Pass a step of the pipeline to the blocks, as the layers do."""
    if isinstance(step, CoarseWindowDone):
        blocks.window_done(step)
    elif isinstance(step, ChipRefined):
        blocks.chip_refined(step)


def show(blocks: LabelBlocks) -> list[np.ndarray]:
    return [np.asarray(level[:]) for level in blocks.levels]


def whole(seg: Segmentation) -> list[np.ndarray]:
    return [
        seg.read_labels(Box(0, 0, *shape), level)
        for level, shape in enumerate(seg.layout.level_shapes)
    ]


def assert_current(blocks: LabelBlocks, seg: Segmentation) -> None:
    for shown, wanted in zip(show(blocks), whole(seg), strict=True):
        np.testing.assert_array_equal(shown, wanted)


def keep(seg: Segmentation, step: object) -> None:
    """Write the labels of a step to disk, as the run does before it reports the step."""
    if isinstance(step, CoarseWindowDone):
        seg._files.store.write_window(step.core, step.logits)
    elif isinstance(step, ChipRefined):
        for tile in step.chip.tiles:
            place = seg.tiles.core(tile).shift(-step.chip.core.top, -step.chip.core.left)
            seg.writer.write_tile(tile, step.labels[place.slices])


@pytest.fixture
def small_blocks(monkeypatch) -> None:
    """Blocks of two tiles, so that a chip covers some of them and not others."""
    monkeypatch.setattr(label_blocks, "BLOCK_PX", 32)


@pytest.mark.parametrize("mergeable", [False, True])
@pytest.mark.usefixtures("small_blocks")
def test_every_step_of_a_run_is_shown_at_once(tmp_path, mergeable) -> None:
    # neighbouring tiles may be refined as one chip
    model = FakeModel(make_card(mergeable=mergeable))
    steps = list(run_to_end(begin(tmp_path / "run", model), Selection(threshold=0.3)))
    seg = begin(tmp_path, model)
    blocks = LabelBlocks(seg)
    assert len(blocks.levels) >= 3
    show(blocks)  # all blocks are kept from now on: none may stay as it was
    for step in steps:
        keep(seg, step)
        take(blocks, step)
        assert_current(blocks, seg)
    assert {CoarseWindowDone, ChipRefined} <= {type(step) for step in steps}
    assert any(level.any() for level in whole(seg))


@pytest.mark.usefixtures("small_blocks")
def test_edits_are_shown_below_and_above_refined_tiles(tmp_path) -> None:
    seg = begin(tmp_path)
    for _ in run_to_end(seg, NOTHING):
        pass
    blocks = LabelBlocks(seg)
    show(blocks)
    first, second = Box(3, 5, 40, 37), Box(20, 20, 90, 70)
    seg.edit(first, np.ones(first.shape, np.uint8))
    blocks.changed(first)
    assert_current(blocks, seg)
    steps = list(run_to_end(begin(tmp_path / "run"), EVERYTHING))
    for step in steps:
        if isinstance(step, ChipRefined):
            keep(seg, step)
            take(blocks, step)
            assert_current(blocks, seg)
    seg.edit(second, np.zeros(second.shape, np.uint8))
    blocks.changed(second)
    assert_current(blocks, seg)
    for box in (second, first):
        seg.undo_edit()
        blocks.changed(box)
        assert_current(blocks, seg)


@pytest.mark.usefixtures("small_blocks")
def test_failed_tiles_keep_their_coarse_labels(tmp_path) -> None:
    seg = begin(tmp_path)
    damage(seg.slide, Box(60, 50, 70, 60))
    blocks = LabelBlocks(seg)
    for step in run_to_end(seg, EVERYTHING):
        take(blocks, step)
    assert_current(blocks, seg)
    assert seg.failures


class DelayedRun:
    """Run whose changes reach the blocks late, as when the GUI thread is busy."""

    def __init__(self, folder: Path) -> None:
        self.seg = begin(folder)
        self.blocks = LabelBlocks(self.seg)
        self.steps = run_to_end(self.seg, EVERYTHING)
        self.unreported: list[object] = []

    def work(self, count: int | None = None) -> None:
        self.unreported += islice(self.steps, count)

    def edit(self, box: Box, value: int) -> None:
        self.seg.edit(box, np.full(box.shape, value, np.uint8))
        self.unreported.append(box)

    def undo(self) -> None:
        edits = self.seg.edit_boxes
        if edits:
            self.seg.undo_edit()
            self.unreported.append(edits[-1])

    def report(self, count: int | None = None) -> None:
        reported = self.unreported[:count]
        del self.unreported[:count]
        for change in reported:
            if isinstance(change, Box):
                self.blocks.changed(change)
            else:
                take(self.blocks, change)


def boxes(shape: tuple[int, int]):
    """Strategy for boxes of at least one pixel inside a plane."""

    def ranges(length: int):
        edges = st.integers(0, length)
        return st.lists(edges, min_size=2, max_size=2, unique=True).map(sorted)

    return st.tuples(ranges(shape[0]), ranges(shape[1])).map(
        lambda r: Box(r[0][0], r[1][0], r[0][1], r[1][1])
    )


acts = st.lists(
    st.one_of(
        st.tuples(st.just("work"), st.integers(1, 15)),
        st.tuples(st.just("report"), st.integers(1, 8)),
        st.tuples(st.just("look"), st.tuples(st.integers(0, 2), boxes(SHAPE))),
        st.tuples(st.just("edit"), st.tuples(boxes(SHAPE), st.integers(0, 1))),
        st.tuples(st.just("undo"), st.none()),
    ),
    max_size=14,
)


@settings(max_examples=15)  # each is a whole run
@given(acts=acts)
def test_changes_reported_late_leave_no_outdated_labels(acts) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(label_blocks, "BLOCK_PX", 32),
        patch.object(label_blocks, "CACHE_BYTES", 6 * 32**2),
    ):
        run = DelayedRun(Path(folder))
        for name, value in acts:
            match name:
                case "work":
                    run.work(value)
                case "report":
                    run.report(value)
                case "look":
                    level, box = value
                    shape = run.seg.layout.level_shapes[level]
                    _ = run.blocks.levels[level][box.clip(shape).slices]
                case "edit":
                    run.edit(*value)
                case "undo":
                    run.undo()
        run.work()  # run to the end: steps still being written are not reported yet
        run.report()
        assert_current(run.blocks, run.seg)


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Segmentation:
    seg = begin(tmp_path_factory.mktemp("done"))
    for _ in run_to_end(seg, Selection(threshold=0.3)):
        pass
    return seg


def _slices(length: int):
    return st.one_of(
        st.slices(length), st.integers(-length, length - 1), st.just(slice(None, None, 3))
    )


@given(data=st.data(), level=st.integers(0, 2))
def test_any_index_gives_what_an_array_gives(done, data, level) -> None:
    blocks = LabelBlocks(done)
    wanted = whole(done)[level]
    index = tuple(data.draw(_slices(length)) for length in wanted.shape)
    np.testing.assert_array_equal(blocks.levels[level][index], wanted[index])
    assert blocks.levels[level].shape == wanted.shape
    assert blocks.levels[level].dtype == wanted.dtype


def test_blocks_in_memory_are_bounded_and_the_oldest_go_first(done, monkeypatch) -> None:
    monkeypatch.setattr(label_blocks, "BLOCK_PX", 16)
    monkeypatch.setattr(label_blocks, "CACHE_BYTES", 5 * 16**2)
    blocks = LabelBlocks(done)
    reads: list[tuple[Box, int]] = []
    read = done.read_labels

    def counted(box: Box, level: int = 0) -> np.ndarray:
        reads.append((box, level))
        return read(box, level)

    monkeypatch.setattr(done, "read_labels", counted)
    finest = blocks.levels[0]
    for _ in range(2):
        assert np.array_equal(finest[:], whole(done)[0])
        assert sum(block.nbytes for block in blocks._blocks.values()) <= 5 * 16**2
    finest[:16, :16]
    reads.clear()
    finest[:16, :16]
    assert not reads
    finest[16:32, :64]  # four others
    finest[:16, :16]
    finest[32:48, :16]  # the oldest of the four makes room
    reads.clear()
    finest[:16, :16]
    assert not reads
    finest[32:48, :74]  # five others
    finest[:16, :16]
    assert reads[-1] == (Box(0, 0, 16, 16), 0)


def test_the_coarsest_level_stays_the_array_that_napari_keeps(tmp_path) -> None:
    seg = begin(tmp_path)
    blocks = LabelBlocks(seg)
    kept = blocks.levels[-1]
    assert isinstance(kept, np.ndarray)
    for step in run_to_end(seg, EVERYTHING):
        take(blocks, step)
    assert blocks.levels[-1] is kept
    assert np.array_equal(kept, whole(seg)[-1])
