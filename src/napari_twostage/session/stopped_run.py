"""A run that was stopped, and what is left of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from napari_twostage.method.selection import NOTHING, Selection

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_twostage.engine.segmentation import Segmentation
    from napari_twostage.geometry import Box
    from napari_twostage.method.tiling import Tile


@dataclass(frozen=True, slots=True)
class StoppedRun:
    """A run that did not come to its end."""

    wanted: Selection = NOTHING
    """Tiles to refine after the coarse pass."""
    refined_before: int = 0
    """Tiles that were refined when it began."""

    @classmethod
    def last_of(cls, seg: Segmentation) -> Self:
        """The last run of a result, as its record states it."""
        run = seg.record.last_run
        if run is None:
            return cls()
        return cls(Selection.from_dict(run.wanted), int(seg.refined.sum()) - run.refined)

    @classmethod
    def of_tiles(cls, seg: Segmentation, tiles: list[list[int]]) -> Self:
        """A run that refines exactly these tiles."""
        return cls(only(seg, [(row, column) for row, column in tiles])) if tiles else cls()

    def rest(self, refined: int) -> Selection:
        """Selection that goes on with the run, if so many tiles are refined now."""
        if self.wanted.n_tiles is None:
            return self.wanted
        left = self.wanted.n_tiles - (refined - self.refined_before)
        return replace(self.wanted, n_tiles=max(0, left))


def only(seg: Segmentation, tiles: Iterable[Tile]) -> Selection:
    """Selection of exactly these tiles, one or more."""
    return Selection(region=tuple(_inside(seg.tiles.box(tile)) for tile in tiles))


def _inside(box: Box) -> tuple[tuple[float, float], ...]:
    """Polygon that touches a tile and none of its neighbours."""
    y, x = box.height / 4, box.width / 4
    top, left, bottom, right = box.top + y, box.left + x, box.bottom - y, box.right - x
    return (top, left), (top, right), (bottom, right), (bottom, left)
