"""Uncertainty of a result in small cells: small enough to view a whole slide."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import zarr

from napari_twostage.io.zarr_store import store_at
from napari_twostage.method.uncertainty import block_areas, block_sums
from napari_twostage.result.zarr_chunks import ChunkFiles, compression
from napari_twostage.utils.threads import shared_property

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.geometry import Box, Grid
    from napari_twostage.io.paths import Location
    from napari_twostage.result.layout import Layout

CELLS = 8
"""Cells along the side of a tile, if it has at least as many coarse pixels."""
SHARD = 32
"""Coarse windows along the side of a shard."""


class UncertaintyMap:
    """Mean uncertainty of small cells, kept beside the pixels of a result in ``heat/``.

    Parameters
    ----------
    path : Path or Url
        Place of the zarr array, which is made with the first window.
    layout : Layout
        Layout of the result.
    """

    def __init__(self, path: Location, layout: Layout) -> None:
        self._path = path
        self._cell = max(1, layout.card.coarse_tile_px // CELLS)
        self.cells_per_tile = layout.card.coarse_tile_px // self._cell
        """Cells along the side of a tile."""
        self._chunk = max(1, layout.card.coarse_core_px // self._cell)
        self.grid: Grid = layout.coarse.coarser(self._cell)
        """Grid of the cells."""

    @shared_property
    def pixels(self) -> NDArray[np.uint8]:
        """(H, W) on `grid`: 255 is an uncertainty of 1; 0 outside the tissue and before stage 1."""
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
        """Write the cells of a coarse window; `core` is in coarse pixels, from a tile's corner."""
        top, left = core.top // self._cell, core.left // self._cell
        place = slice(top, top + cells.shape[0]), slice(left, left + cells.shape[1])
        self._array[place] = cells
        self.pixels[place] = cells

    @shared_property
    def _array(self) -> ChunkFiles:
        if (self._path / "zarr.json").exists():
            return ChunkFiles(zarr.open_array(store_at(self._path), mode="r+"))
        chunk = self._chunk, self._chunk
        # one file for many windows: creating a file costs more than appending
        together = (SHARD * self._chunk,) * 2 if isinstance(self._path, Path) else None
        array = zarr.create_array(
            store_at(self._path),
            shape=self.grid.shape,
            dtype="uint8",
            fill_value=0,
            **compression(chunk, shards=together),
        )
        return ChunkFiles(array)
