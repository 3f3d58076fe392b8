"""Partitions: squares of coarse windows, each the work of one process at a time."""

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
"""A slide is cut into: enough for hundreds of processes, few enough to hand out one by one."""


@dataclass(frozen=True)
class PartitionGrid:
    """How a slide is shared out.

    A partition holds whole chunks of every array that its windows and tiles are written to, up to
    the level `step` of the overview, so that processes that write different partitions never meet.

    Parameters
    ----------
    layout : Layout
        Of the result.
    """

    layout: Layout

    @cached_property
    def windows(self) -> int:
        """Coarse windows along the side of a partition: the fewest, doubled, that do."""
        card, windows = self.layout.card, 1
        tiles = card.coarse_core_px // card.coarse_tile_px
        while self._partitions(windows) > MAX_PARTITIONS or (
            # else tiles would be merged in other chips than in one process
            card.mergeable and windows * tiles % MERGED_SIDES[0]
        ):
            windows *= 2
        return windows

    @property
    def step(self) -> int:
        """Fine pixels per pixel of the coarsest level whose chunks a partition has to itself."""
        return self.layout.card.ratio * self.windows

    def of_window(self, core: Box) -> Partition:
        """The partition of a coarse window."""
        side = self._side(self.windows) // self.layout.card.ratio
        return core.top // side, core.left // side

    def of_tile(self, tile: Tile) -> Partition:
        """The partition of a tile."""
        side = self._side(self.windows) // self.layout.card.tile_px
        return tile[0] // side, tile[1] // side

    def box(self, partition: Partition) -> Box:
        """The pixels of a partition on the fine grid, inside the slide."""
        side = self._side(self.windows)
        return Box.at(partition[0] * side, partition[1] * side, side, side).clip(
            self.layout.fine.shape
        )

    def _side(self, windows: int) -> int:
        """Fine pixels along the side of a square of so many windows a side."""
        return windows * self.layout.card.coarse_core_px * self.layout.card.ratio

    def _partitions(self, windows: int) -> int:
        side = self._side(windows)
        rows, columns = (-(-length // side) for length in self.layout.fine.shape)
        return rows * columns


def grouped(
    items: Iterable[Item], partition_of: Callable[[Item], Partition]
) -> ItemsView[Partition, list[Item]]:
    """Gather what lies in the same partition; partitions in the order of their first items."""
    groups: defaultdict[Partition, list[Item]] = defaultdict(list)
    for item in items:
        groups[partition_of(item)].append(item)
    return groups.items()
