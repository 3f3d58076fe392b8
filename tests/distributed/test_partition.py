"""Partitions divide the slide without dividing a chunk of its arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes import make_card

from napari_twostage.distributed.partition import MAX_PARTITIONS, PartitionGrid, grouped
from napari_twostage.geometry import Box, Grid
from napari_twostage.method.tiling import TileGrid
from napari_twostage.result.label_arrays import create_arrays
from napari_twostage.result.label_store import LabelStore
from napari_twostage.result.layout import Layout

if TYPE_CHECKING:
    from pathlib import Path

sides = st.integers(1, 5000)


def layout_of(height: int, width: int, **changes: object) -> Layout:
    card = make_card(**changes)
    grid = Grid((height, width), (1.0, 1.0), (0.5, 0.5))
    return Layout(grid, card, TileGrid(grid.shape, card.tile_px, card.halo_px))


def windows(layout: Layout) -> list[Box]:
    return list(layout.coarse.box.blocks(layout.card.coarse_core_px))


@given(height=sides, width=sides)
def test_windows_and_tiles_are_in_one_partition_each(height: int, width: int) -> None:
    layout = layout_of(height, width)
    partitions, ratio = PartitionGrid(layout), layout.card.ratio
    shared_out = grouped(windows(layout), partitions.of_window)
    assert 1 <= len(shared_out) <= MAX_PARTITIONS
    for partition, cores in shared_out:
        box = partitions.box(partition)
        assert all(box.contains(core.scaled(ratio).clip(layout.fine.shape)) for core in cores)
        for tile in layout.tiles.touching(box):
            assert partitions.of_tile(tile) == partition
    assert sum(partitions.box(partition).area for partition, _ in shared_out) == height * width


@pytest.mark.parametrize("shape", [(600, 900), (2500, 1700)])
def test_no_two_partitions_share_a_chunk_up_to_their_step(
    shape: tuple[int, int], tmp_path: Path
) -> None:
    layout = layout_of(*shape)
    partitions = PartitionGrid(layout)
    create_arrays(tmp_path, layout)
    arrays = [("refined", 1), ("edits", 1), ("coarse/logits", layout.card.ratio)]
    arrays += [
        (f"overview/{s}", s) for s in layout.steps if layout.card.ratio <= s <= partitions.step
    ]
    shared_out = [partition for partition, _ in grouped(windows(layout), partitions.of_window)]
    assert len(shared_out) > 1
    for name, step in arrays:
        array = zarr.open_array(tmp_path / name, mode="r")
        rows, columns = (array.shards or array.chunks)[-2:]  # the unit that is one file
        owners: dict[tuple[int, int], tuple[int, int]] = {}
        for partition in shared_out:
            box = partitions.box(partition).scaled(1 / step)
            for row in range(box.top // rows, -(-box.bottom // rows)):
                for column in range(box.left // columns, -(-box.right // columns)):
                    assert owners.setdefault((row, column), partition) == partition


def test_merged_chips_do_not_cross_partitions() -> None:
    layout = layout_of(700, 900, mergeable=True, coarse_window_px=8)
    partitions = PartitionGrid(layout)
    rows, columns = layout.tiles.shape
    everything = [(row, column) for row in range(rows) for column in range(columns)]
    together = set(layout.tiles.chips(everything, merge=True))
    apart = {
        chip
        for _, tiles in grouped(everything, partitions.of_tile)
        for chip in layout.tiles.chips(tiles, merge=True)
    }
    assert any(len(chip.tiles) == 16 for chip in together)
    assert apart == together


def test_a_large_slide_has_larger_partitions() -> None:
    small, large = (PartitionGrid(layout_of(side, side)) for side in (300, 30_000))
    assert small.windows == 1
    assert large.windows > 1
    assert large.step == large.windows * small.step


def test_what_is_set_aside_reaches_the_shared_levels_through_the_owner(tmp_path: Path) -> None:
    layout = layout_of(2100, 40)
    partitions = PartitionGrid(layout)
    assert max(layout.steps) > partitions.step
    rng = np.random.default_rng(0)
    for name in ("whole", "parts"):
        create_arrays(tmp_path / name, layout)
    whole = LabelStore(tmp_path / "whole", layout)
    owner = LabelStore(tmp_path / "parts", layout)
    worker = LabelStore(tmp_path / "parts", layout)
    for partition, cores in grouped(windows(layout), partitions.of_window):
        shared = worker.pyramid.detach(partitions.box(partition), partitions.step)
        assert set(shared) == {step for step in layout.steps if step > partitions.step}
        tile = next(layout.tiles.touching(partitions.box(partition)))
        labels = rng.integers(0, 2, (16, 16), np.uint8)
        logits = {core: rng.normal(size=(1, *core.shape)).astype(np.float16) for core in cores}
        for store in (worker, whole):
            for core in cores:
                store.write_window(core, logits[core])
            store.write_tile(tile, labels)
            store.pyramid.flush()
        owner.pyramid.attach(partitions.box(partition), shared)
    for step in layout.steps:
        if step >= layout.card.ratio:
            found, expected = (
                zarr.open_array(tmp_path / name / f"overview/{step}", mode="r")[:]
                for name in ("parts", "whole")
            )
            np.testing.assert_array_equal(found, expected)
            assert 0 < np.mean(expected) < 1
