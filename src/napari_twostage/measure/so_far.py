"""Areas and counts in the middle of a run, from the blocks that the run has measured by then.

No pixel is read: the run measures every block that it is done with, see `engine.tallier`.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.geometry import Box
from napari_twostage.measure.areas import class_areas
from napari_twostage.measure.blocks import BlockPixels, block_rows, tiles_of
from napari_twostage.measure.objects import ObjectScan
from napari_twostage.measure.regions import BlockTable
from napari_twostage.measure.tabulate import tabulate
from napari_twostage.measure.tissue_area import tissue_by_tile_mm2

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from napari_twostage.geometry import Shape
    from napari_twostage.measure.areas import ClassArea
    from napari_twostage.measure.tallies import Row
    from napari_twostage.result.result import Result


@dataclass(frozen=True, slots=True)
class AreasSoFar:
    """Areas and counts of the blocks that were measured, some of them before they were refined."""

    classes: list[ClassArea]
    """Shares are of the tissue that was measured. An object that reaches into a block that was not
    is counted with the part that was."""
    share: float
    """Share of all tissue that was measured, and has not changed since, in [0, 1]."""


def areas_so_far(result: Result) -> AreasSoFar | None:
    """Add up what a run has measured by now; None before tissue detection or the first block."""
    if not (result.tallies.kept and result.tissue_known):
        return None
    scan, kept = ObjectScan(result), _KeptTables(result)
    classes = class_areas(scan, scan.objects_of(kept.rows(scan.states)), 0.0)
    measured = kept.measured_mm2
    if not measured:
        return None
    of_measured = [
        replace(kind, tissue_fraction=kind.area_mm2 / measured, tissue_mm2=measured)
        for kind in classes
    ]
    return AreasSoFar(of_measured, kept.current_mm2 / kept.tissue_mm2)


class _KeptTables:
    """Tables of all blocks: the last that was kept of each, or one of background alone."""

    def __init__(self, result: Result) -> None:
        self._result = result
        self._by_tile = tissue_by_tile_mm2(result)
        self._empty: dict[Shape, BlockTable] = {}
        self.tissue_mm2 = float(self._by_tile.sum())
        self.measured_mm2 = 0.0
        """Tissue in blocks with a table, once all were asked for."""
        self.current_mm2 = 0.0
        """Tissue in blocks whose table is of their labels as they are."""

    def rows(self, states: NDArray[np.uint8]) -> Iterator[Row]:
        """Blocks with their tables, a row at a time."""
        for row in block_rows(self._result):
            yield [(box, self._table(box, states)) for box in row]

    def _table(self, box: Box, states: NDArray[np.uint8]) -> BlockTable:
        found = self._result.tallies.read_last(box)
        if found is not None:
            with suppress(ValueError):  # of another version, or damaged
                table = BlockTable.from_bytes(found[1], box.shape)
                tissue = float(self._by_tile[tiles_of(self._result, box).slices].sum())
                self.measured_mm2 += tissue
                if found[0] == self._result.tallies.stamp(box, states):
                    self.current_mm2 += tissue
                return table
        return self._background(box.shape)

    def _background(self, shape: Shape) -> BlockTable:
        if shape not in self._empty:
            pixels = BlockPixels.connected(np.zeros(shape, np.uint8))
            tile_px = self._result.tiles.tile_px
            tiles = np.zeros(Box(0, 0, *shape).scaled(1 / tile_px).shape, bool)
            self._empty[shape] = tabulate(pixels, tiles, tile_px)[2]
        return self._empty[shape]
