"""Partitions of a slide: squares of coarse windows, each processed by one worker at a time."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from napari_twostage.geometry import Box
from napari_twostage.method.tiling import MERGED_SIDES

if TYPE_CHECKING:
    from collections.abc import Callable, ItemsView, Iterable

    from napari_twostage.method.steps import Partition
    from napari_twostage.method.tiling import Tile
    from napari_twostage.result.layout import Layout

Item = TypeVar("Item")

MAX_PARTITIONS = 2048
"""Most partitions of a slide: enough for hundreds of processes, few enough to track singly."""


@dataclass(frozen=True)
class PartitionGrid:
    """Grid of partitions over a slide.

    A partition consists of whole chunks of every array that its windows and tiles are written to,
    up to level `step` of the label pyramid. Processes that write different partitions therefore
    never write the same chunk.

    Parameters
    ----------
    layout : Layout
        Layout of the result.
    """

    layout: Layout

    @cached_property
    def windows(self) -> int:
        """Coarse windows along the side of a partition: the smallest power of 2 that suffices."""
        card, windows = self.layout.card, 1
        tiles = card.coarse_core_px // card.coarse_tile_px
        while self._partitions(windows) > MAX_PARTITIONS or (
            # chips must be merged exactly as in a single process
            card.mergeable and windows * tiles % MERGED_SIDES[0]
        ):
            windows *= 2
        return windows

    @property
    def step(self) -> int:
        """Fine pixels per pixel of the coarsest level whose chunks no two partitions share."""
        return self.layout.card.ratio * self.windows

    def of_window(self, core: Box) -> Partition:
        """Partition of a coarse window, given by its core on the coarse grid."""
        side = self._side(self.windows) // self.layout.card.ratio
        return core.top // side, core.left // side

    def of_tile(self, tile: Tile) -> Partition:
        """Partition of a tile."""
        side = self._side(self.windows) // self.layout.card.tile_px
        return tile[0] // side, tile[1] // side

    def box(self, partition: Partition) -> Box:
        """Pixels of a partition on the fine grid, inside the slide."""
        side = self._side(self.windows)
        return Box.at(partition[0] * side, partition[1] * side, side, side).clip(
            self.layout.fine.shape
        )

    def _side(self, windows: int) -> int:
        """Fine pixels along the side of a square of `windows` × `windows`."""
        return windows * self.layout.card.coarse_core_px * self.layout.card.ratio

    def _partitions(self, windows: int) -> int:
        """Number of partitions with `windows` coarse windows a side."""
        side = self._side(windows)
        rows, columns = (-(-length // side) for length in self.layout.fine.shape)
        return rows * columns


def grouped(
    items: Iterable[Item], partition_of: Callable[[Item], Partition]
) -> ItemsView[Partition, list[Item]]:
    """Group items by partition; partitions are in the order of their first items."""
    groups: defaultdict[Partition, list[Item]] = defaultdict(list)
    for item in items:
        groups[partition_of(item)].append(item)
    return groups.items()
