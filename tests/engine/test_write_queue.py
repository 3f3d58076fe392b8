"""Steps on their way to the disk: all are written, in order, together where they wait."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.fakes import FakeModel, noise_slide

from napari_twostage import Segmentation, segment
from napari_twostage.engine.write_queue import WRITES_AHEAD, WriteQueue
from napari_twostage.measure import blocks
from napari_twostage.method.pipeline import Work, refine_tiles

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_twostage.method.steps import Step

SHAPE = (118, 134)
"""Eight by nine tiles of 16 pixels: more than may wait."""


@pytest.fixture
def seg(tmp_path: Path) -> Iterator[Segmentation]:
    """A coarse result, being written."""
    found = segment(noise_slide(*SHAPE), FakeModel(), tmp_path / "out", tissue=False, refine="none")
    with found.writer.writing():
        yield found


@pytest.fixture
def queue(seg: Segmentation) -> Iterator[WriteQueue]:
    with ThreadPoolExecutor(1) as thread:
        yield WriteQueue(seg, thread)


def refined(seg: Segmentation) -> list[Step]:
    """Stage 2's steps of all tiles."""
    work = Work(seg.model, seg.view(seg.grid), seg.view(seg.coarse_grid), seg.tiles, ())
    return list(refine_tiles(work, list(np.ndindex(*seg.tiles.shape))))


def test_steps_that_wait_are_written_and_recorded_together(
    seg: Segmentation, queue: WriteQueue
) -> None:
    steps, journal = refined(seg), seg.path / "journal.jsonl"
    seg.writer.commit()
    before = journal.read_bytes().count(b'"refined"')
    with seg._files.store.lock:  # the first write waits here
        for step in steps:
            queue.put(step)
    assert list(queue.rest()) == steps
    seg.writer.commit()
    assert journal.read_bytes().count(b'"refined"') - before in (1, 2)
    assert Segmentation.open(seg.path).refined.all()
    for step in steps:
        found = seg.read_labels(step.chip.core.clip(SHAPE))
        assert np.array_equal(found, step.labels[: found.shape[0], : found.shape[1]])


def test_no_more_wait_than_may(seg: Segmentation, queue: WriteQueue) -> None:
    taken: list[Step] = []
    for number, step in enumerate(steps := refined(seg), start=1):
        queue.put(step)
        taken += queue.take(0)
        assert number - len(taken) <= WRITES_AHEAD
    assert len(steps) > WRITES_AHEAD
    assert [*taken, *queue.rest()] == steps


def test_what_was_written_before_an_error_counts(
    seg: Segmentation, queue: WriteQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, write = refined(seg)[:5], type(seg.writer).write_tile

    def write_or_fail(writer: object, tile: tuple[int, int], *pixels: np.ndarray) -> None:
        if tile == steps[2].chip.tiles[0]:
            raise OSError("the disk is full")
        write(writer, tile, *pixels)

    monkeypatch.setattr(type(seg.writer), "write_tile", write_or_fail)
    with seg._files.store.lock:
        for step in steps:
            queue.put(step)
    with pytest.raises(OSError, match="the disk is full"):
        list(queue.rest())
    assert list(queue.rest()) == []
    assert seg.refined[steps[0].chip.tiles[0]]
    assert seg.refined[steps[1].chip.tiles[0]]
    assert not seg.refined[steps[2].chip.tiles[0]]


@pytest.mark.parametrize("block_px", [32, 48])
def test_every_block_is_measured_by_the_end_of_a_run(
    block_px: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "BLOCK_PX", block_px)
    out = tmp_path / "out"
    seg = segment(noise_slide(*SHAPE), FakeModel(), out, tissue=False, fraction=0.4)
    states = seg.states
    boxes = [box for row in blocks.block_rows(seg) for box in row]
    assert len(boxes) > 8
    assert all(seg.tallies.read(box, seg.tallies.stamp(box, states)) for box in boxes)
