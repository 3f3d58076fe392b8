"""Where a result is uncertain, small enough to be looked at as a whole."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import zarr

from napari_twostage.io.zarr_store import store_at
from napari_twostage.method.uncertainty import block_areas, block_sums
from napari_twostage.result.zarr_chunks import ChunkFiles, compression

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.geometry import Box, Grid
    from napari_twostage.io.paths import Location
    from napari_twostage.result.layout import Layout

CELLS = 8
"""Cells along the side of a tile, where it has as many coarse pixels."""
SHARD = 32
"""Coarse windows along the side of a file of them."""


class UncertaintyMap:
    """Mean uncertainty of small cells, kept beside the pixels of a result.

    Parameters
    ----------
    path : Path or Url
        Of a zarr array, made with the first window.
    layout : Layout
        Of the result.
    """

    def __init__(self, path: Location, layout: Layout) -> None:
        self._path = path
        self._cell = max(1, layout.card.coarse_tile_px // CELLS)
        self.cells_per_tile = layout.card.coarse_tile_px // self._cell
        """Along a side."""
        self._chunk = max(1, layout.card.coarse_core_px // self._cell)
        self.grid: Grid = layout.coarse.coarser(self._cell)
        """Where cells lie."""

    @cached_property
    def pixels(self) -> NDArray[np.uint8]:
        """(H, W) on `grid`: 255 is an uncertainty of 1; 0 outside the tissue and where not seen."""
        return np.asarray(self._array[:, :], np.uint8)

    def cells(self, doubt: NDArray[np.floating]) -> NDArray[np.uint8]:
        """Average the uncertainty of a coarse window over cells.

        Parameters
        ----------
        doubt : (height, width) float array
            In [0, 1]; NaN outside the tissue. Starts at a tile's corner.
        """
        known = np.where(np.isnan(doubt), 0, doubt)
        means = block_sums(known, self._cell) / block_areas(known.shape, self._cell)
        cells: NDArray[np.uint8] = np.rint(255 * np.clip(means, 0, 1)).astype(np.uint8)
        return cells

    def write(self, core: Box, cells: NDArray[np.uint8]) -> None:
        """Keep the cells of a coarse window: its core in coarse pixels, from a tile's corner."""
        top, left = core.top // self._cell, core.left // self._cell
        place = slice(top, top + cells.shape[0]), slice(left, left + cells.shape[1])
        self._array[place] = cells
        self.pixels[place] = cells

    @cached_property
    def _array(self) -> ChunkFiles:
        if (self._path / "zarr.json").exists():
            return ChunkFiles(zarr.open_array(store_at(self._path), mode="r+"))
        chunk = self._chunk, self._chunk
        # windows are appended to one file where they can be: creating one costs more
        together = (SHARD * self._chunk,) * 2 if isinstance(self._path, Path) else None
        array = zarr.create_array(
            store_at(self._path),
            shape=self.grid.shape,
            dtype="uint8",
            fill_value=0,
            **compression(chunk, shards=together),
        )
        return ChunkFiles(array)
