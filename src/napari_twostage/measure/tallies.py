"""Tables of a result's blocks: those that a run has kept, and the others measured now."""

from __future__ import annotations

from contextlib import closing, suppress
from typing import TYPE_CHECKING

from napari_twostage.measure.blocks import block_rows, is_near_tissue, read_pixels, refined_tiles
from napari_twostage.measure.regions import BlockTable
from napari_twostage.measure.runs import find_runs, number_regions, pack_runs, unpack_runs
from napari_twostage.measure.tabulate import tabulate
from napari_twostage.result.tally_files import RUNS
from napari_twostage.utils.threads import in_order

if TYPE_CHECKING:
    from collections.abc import Generator

    import numpy as np
    from numpy.typing import NDArray

    from napari_twostage.geometry import Box
    from napari_twostage.measure.blocks import ProgressCallback
    from napari_twostage.measure.runs import Runs
    from napari_twostage.measure.within import Within
    from napari_twostage.result.result import Result

    States = NDArray[np.uint8]
    """`TileState` of every tile: (rows, columns)."""
    Row = list[tuple[Box, BlockTable]]


def tables(
    result: Result,
    states: States,
    progress: ProgressCallback = lambda _: None,
    within: Within | None = None,
) -> Generator[Row, None, None]:
    """Tables of all blocks, a row of blocks at a time.

    Parameters
    ----------
    result : Result
        Result to measure.
    states : (rows, columns) uint8 array
        `TileState` of every tile.
    progress : callable
        Called with the share done, in [0, 1], after each block.
    within : Within, optional
        Region to measure alone: the blocks that touch it, all else in them as background.
    """
    rows, done = block_rows(result, None if within is None else within.box), 0
    boxes = [box for row in rows for box in row]
    total = sum(box.area for box in boxes)
    with closing(in_order(lambda box: _table(result, box, states, within), boxes)) as measured:
        for row in rows:
            taken: Row = []
            for box in row:
                taken.append((box, next(measured)))
                done += box.area
                progress(done / total)
            yield taken


def tally(result: Result, box: Box, states: States) -> None:
    """Measure a block and keep its table in the result folder, unless it is there.

    Blocks away from the tissue are not kept: they are measured as fast as they are read. Where
    objects are told apart, which takes longer than all else, their pixels are kept as well.
    """
    if not (result.tallies.kept and is_near_tissue(result, box, states)):
        return
    stamp = result.tallies.stamp(box, states)
    if result.tallies.read(box, stamp) is None:
        runs, numbers, table = _measured(result, box, states)
        if result.tells_objects_apart:
            result.tallies.write(box, stamp, pack_runs(runs, numbers), RUNS)
        result.tallies.write(box, stamp, table.to_bytes())


def regions_of(result: Result, box: Box, states: States) -> tuple[Runs, NDArray[np.int64]]:
    """Runs of a block, and the region of each, numbered as in the block's table."""
    if result.tells_objects_apart and is_near_tissue(result, box, states):
        kept = result.tallies.read(box, result.tallies.stamp(box, states), RUNS)
        if kept is not None:
            with suppress(ValueError):  # damaged
                return unpack_runs(kept, box.shape)
    pixels = read_pixels(result, box, states)
    runs = find_runs(pixels.labels, pixels.items)
    return runs, number_regions(runs)


def _table(result: Result, box: Box, states: States, within: Within | None) -> BlockTable:
    if within is not None and within.cover(box) != "all":
        return _measured(result, box, states, within)[2]
    kept = None
    if is_near_tissue(result, box, states):
        kept = result.tallies.read(box, result.tallies.stamp(box, states))
    if kept is not None:
        with suppress(ValueError):  # of another version, or damaged
            return BlockTable.from_bytes(kept, box.shape)
    return _measured(result, box, states)[2]


def _measured(
    result: Result, box: Box, states: States, within: Within | None = None
) -> tuple[Runs, NDArray[np.int64], BlockTable]:
    pixels = read_pixels(result, box, states, within)
    return tabulate(pixels, refined_tiles(result, box, states), result.tiles.tile_px)
