"""Fields: squares of coarse windows, each the work of one process at a time."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from napari_twostage.geometry import Box
from napari_twostage.tiling import MERGED_SIDES

if TYPE_CHECKING:
    from collections.abc import Callable, ItemsView, Iterable

    from napari_twostage.layout import Layout
    from napari_twostage.tiling import Tile

Item = TypeVar("Item")

Field = tuple[int, int]
"""Row and column of a field in its grid."""
MOST_FIELDS = 2048
"""A slide is cut into: enough for hundreds of processes, few enough to hand out one by one."""


@dataclass(frozen=True)
class FieldGrid:
    """How a slide is shared out.

    A field holds whole chunks of every array that its windows and tiles are written to, up to
    the level `step` of the overview, so that processes that write different fields never meet.

    Parameters
    ----------
    layout : Layout
        Of the result.
    """

    layout: Layout

    @cached_property
    def windows(self) -> int:
        """Coarse windows along the side of a field: the fewest, doubled, that do."""
        card, windows = self.layout.card, 1
        tiles = card.coarse_core_px // card.coarse_tile_px
        while self._fields(windows) > MOST_FIELDS or (
            # else tiles would be merged in other chips than in one process
            card.mergeable and windows * tiles % MERGED_SIDES[0]
        ):
            windows *= 2
        return windows

    @property
    def step(self) -> int:
        """Fine pixels per pixel of the coarsest level whose chunks a field has to itself."""
        return self.layout.card.ratio * self.windows

    def of_window(self, core: Box) -> Field:
        """The field of a coarse window."""
        side = self._side(self.windows) // self.layout.card.ratio
        return core.top // side, core.left // side

    def of_tile(self, tile: Tile) -> Field:
        """The field of a tile."""
        side = self._side(self.windows) // self.layout.card.tile_px
        return tile[0] // side, tile[1] // side

    def box(self, field: Field) -> Box:
        """The pixels of a field on the fine grid, inside the slide."""
        side = self._side(self.windows)
        return Box.at(field[0] * side, field[1] * side, side, side).clip(self.layout.fine.shape)

    def _side(self, windows: int) -> int:
        """Fine pixels along the side of a square of so many windows a side."""
        return windows * self.layout.card.coarse_core_px * self.layout.card.ratio

    def _fields(self, windows: int) -> int:
        side = self._side(windows)
        rows, columns = (-(-length // side) for length in self.layout.fine.shape)
        return rows * columns


def grouped(
    items: Iterable[Item], field_of: Callable[[Item], Field]
) -> ItemsView[Field, list[Item]]:
    """Gather what lies in the same field; fields in the order of their first items."""
    groups: defaultdict[Field, list[Item]] = defaultdict(list)
    for item in items:
        groups[field_of(item)].append(item)
    return groups.items()


@dataclass(frozen=True, slots=True)
class Worker:
    """A process of a cluster, and what it computes with."""

    machine: str
    process: int
    compute: str
    """What it computes with; see `models.backends.Compute`."""
    threads: int


@dataclass(frozen=True, slots=True)
class FieldSegmented:
    """Stage 1 has seen what was left of a field, in another process."""

    field: Field
    windows: int
    """Coarse windows that were done."""
    worker: Worker


@dataclass(frozen=True, slots=True)
class FieldRefined:
    """Stage 2 has seen the chosen tiles of a field, in another process."""

    field: Field
    tiles: int
    """Tiles that were refined, or could not be read."""
    worker: Worker


FieldStep = FieldSegmented | FieldRefined
"""What a run on a cluster yields in place of windows and chips: no pixels."""
