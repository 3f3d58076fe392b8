"""Grids and sizes of a result: all that follows from its slide and its model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.errors import SelectionError, brief
from napari_twostage.geometry import Box
from napari_twostage.method.instances import REACH_PX
from napari_twostage.method.tiling import TileGrid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from napari_twostage.geometry import Grid, Polygons, Region, Shape
    from napari_twostage.method.tiling import Tile
    from napari_twostage.models.card import ModelCard

UNSET = 255
"""Value of ``refined`` and ``edits`` for pixels without a label."""
SMALL_PX = 512
"""Levels are added until both sides are at most this, or a tile is one pixel."""


@dataclass(frozen=True)
class Layout:
    """Grids, tiles and levels that follow from the slide's grid and the model's card."""

    fine: Grid
    card: ModelCard
    tiles: TileGrid

    @cached_property
    def coarse(self) -> Grid:
        """The grid of stage 1."""
        return self.fine.coarser(self.card.ratio)

    @cached_property
    def steps(self) -> tuple[int, ...]:
        """Fine pixels per pixel of each level of labels: 1, 2, 4, ..."""
        steps = [1]
        while max(self.fine.shape) > SMALL_PX * steps[-1] and not self.card.tile_px % (
            2 * steps[-1]
        ):
            steps.append(2 * steps[-1])
        # the label pyramid starts at the coarse grid, which must be one of the levels
        while steps[-1] < self.card.ratio:
            steps.append(2 * steps[-1])
        return tuple(steps)

    @property
    def level_shapes(self) -> list[Shape]:
        """Rows and columns of each level of labels."""
        return [self.fine.coarser(step).shape for step in self.steps]

    @property
    def object_reach_px(self) -> int:
        """Distance within which all lies that tells a pixel's object, beside its connection."""
        return REACH_PX if self.card.objects != "none" else 0

    def coarse_box(self, tile: Tile) -> Box:
        """The coarse pixels of a tile, inside the slide."""
        size = self.card.coarse_tile_px
        return Box.at(tile[0] * size, tile[1] * size, size, size).clip(self.coarse.shape)

    @property
    def window_shape(self) -> Shape:
        """Rows and columns of coarse windows."""
        side = self.card.coarse_core_px
        rows, columns = (-(-length // side) for length in self.coarse.shape)
        return rows, columns

    def window(self, index: tuple[int, int]) -> Box:
        """The coarse pixels of a window's core, inside the slide."""
        side = self.card.coarse_core_px
        return Box.at(index[0] * side, index[1] * side, side, side).clip(self.coarse.shape)

    def window_index(self, core: Box) -> tuple[int, int]:
        """Row and column of the window with this core."""
        return core.top // self.card.coarse_core_px, core.left // self.card.coarse_core_px

    def is_window(self, core: Box) -> bool:
        """Whether a box is the core of a coarse window, inside the slide."""
        inside = self.coarse.box.contains(core) and core.area > 0
        return inside and self.window(self.window_index(core)) == core

    def windows_touching(self, polygons: Polygons) -> NDArray[np.bool_]:
        """Coarse windows that share more than their border with polygons of level 0.

        Returns
        -------
        (rows, columns) bool array
        """
        windows = TileGrid(self.fine.shape, self.card.coarse_core_px * self.card.ratio, 0)
        return windows.touching_polygons(self.polygons_to_fine(polygons))

    def tiles_of_windows(self, windows: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Tiles of some coarse windows: (rows, columns)."""
        side = self.card.coarse_core_px // self.card.coarse_tile_px
        rows, columns = self.tiles.shape
        return windows.repeat(side, 0).repeat(side, 1)[:rows, :columns]

    def fine_box(self, core: Box) -> Box:
        """The fine pixels of a coarse window's core, inside the slide."""
        return core.scaled(self.card.ratio).clip(self.fine.shape)

    def to_fine(self, region: Box | Sequence[ArrayLike]) -> Region:
        """A region of the slide's level 0 on the fine grid.

        Parameters
        ----------
        region : Box or sequence of (n, 2) arrays
            A box, or polygons with vertices (y, x).

        Raises
        ------
        SelectionError
            If it is neither, or a polygon has fewer than three vertices.
        """
        if isinstance(region, Box):
            return self.box_to_fine(region)
        return self.polygons_to_fine(checked_polygons(region))

    def polygons_to_fine(self, polygons: Polygons) -> Polygons:
        """Polygons of the slide's level 0 on the fine grid."""
        y, x = self.fine.downsample
        return tuple(tuple((row / y, column / x) for row, column in one) for one in polygons)

    def box_to_fine(self, box: Box) -> Box:
        """A box of level 0 on the fine grid, grown to whole pixels and clipped to the slide."""
        y, x = self.fine.downsample
        return box.scaled((1 / y, 1 / x)).clip(self.fine.shape)


def checked_polygons(region: Sequence[ArrayLike]) -> Polygons:
    """Polygons of three or more vertices (y, x), from anything that holds them.

    Raises
    ------
    SelectionError
        If it is something else.
    """
    polygons = []
    for points in _as_points(region):
        finite = points.ndim == 2 and np.isfinite(points).all()
        if not finite or points.shape[1] != 2 or len(points) < 3:
            raise SelectionError(
                f"a polygon of shape {points.shape} was given, three or more vertices (y, x) "
                "were expected; draw it again"
            )
        polygons.append(tuple((row, column) for row, column in points.tolist()))
    return tuple(polygons)


def _as_points(region: Sequence[ArrayLike]) -> list[NDArray[np.float64]]:
    """Vertices of each polygon, of any shape yet."""
    try:
        polygons = [np.asarray(vertices, float) for vertices in region]
    except (TypeError, ValueError):
        polygons = []
    if not polygons:
        raise SelectionError(
            f"region must be a Box, or polygons with vertices (y, x); found {brief(region)}; "
            "pass region=Box(0, 0, 1000, 1000), say"
        )
    return polygons
