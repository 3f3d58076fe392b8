"""Uncertainty of a result in small cells: small enough to view a whole slide."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import zarr

from napari_twostage.errors import DamagedFileError, TransferError
from napari_twostage.geometry import Box
from napari_twostage.io.durable import make_folders
from napari_twostage.io.paths import remove_tree
from napari_twostage.io.zarr_store import store_at
from napari_twostage.method.uncertainty import block_areas, block_sums
from napari_twostage.result.zarr_chunks import ChunkFiles, compression
from napari_twostage.utils.threads import shared_property

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.geometry import Grid
    from napari_twostage.io.durable import DirtyFiles
    from napari_twostage.io.paths import Location
    from napari_twostage.result.label_store import LabelStore
    from napari_twostage.result.pixel_scores import PixelScores

log = logging.getLogger(__name__)

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
    store : LabelStore
        Pixels of the result, from which a damaged map is computed again.
    scores : PixelScores
        Uncertainty of its pixels.
    dirty : DirtyFiles, optional
        Is told of the files that are written, to be synced later.
    """

    def __init__(
        self,
        path: Location,
        store: LabelStore,
        scores: PixelScores,
        dirty: DirtyFiles | None = None,
    ) -> None:
        layout = store.layout
        self._path = path
        self._store = store
        self._scores = scores
        self._dirty = dirty
        self._cell = max(1, layout.card.coarse_tile_px // CELLS)
        self.cells_per_tile = layout.card.coarse_tile_px // self._cell
        """Cells along the side of a tile."""
        self._chunk = max(1, layout.card.coarse_core_px // self._cell)
        self.grid: Grid = layout.coarse.coarser(self._cell)
        """Grid of the cells."""

    @shared_property
    def pixels(self) -> NDArray[np.uint8]:
        """(H, W) on `grid`: 255 is an uncertainty of 1; 0 outside the tissue and before stage 1."""
        if not self._store.windows.any():
            return np.zeros(self.grid.shape, np.uint8)
        try:
            return self._saved()
        except DamagedFileError as error:
            log.warning("%s is damaged: it is computed again", error.path)
            return self._computed()

    @property
    def is_sound(self) -> bool:
        """Whether the map on disk is as it was written."""
        try:
            self._saved()
        except DamagedFileError:
            return False
        return True

    def _saved(self) -> NDArray[np.uint8]:
        """Read `pixels` from the disk."""
        height, width = self.grid.shape
        everywhere = slice(0, height), slice(0, width)
        try:
            array = zarr.open_array(store_at(self._path), mode="r")
        except TransferError:
            raise
        except Exception as error:  # zarr raises whatever junk leads to
            raise DamagedFileError(self._path / "zarr.json") from error
        if array.shape != self.grid.shape or array.chunks != (self._chunk, self._chunk):
            raise DamagedFileError(self._path / "zarr.json")
        return np.array(ChunkFiles(array).read(everywhere, self._store.windows), np.uint8)

    def _computed(self) -> NDArray[np.uint8]:
        """Compute `pixels` from those of stage 1."""
        layout, pixels = self._store.layout, np.zeros(self.grid.shape, np.uint8)
        for index in zip(*np.nonzero(self._store.windows), strict=True):
            core = layout.window(index)
            cells = self.cells(self._scores.read(core)[0])
            pixels[self._place(core, cells)] = cells
        return pixels

    def rewrite(self) -> None:
        """Write the map anew, computed from the pixels of stage 1."""
        if self._path.exists():
            remove_tree(self._path)
        for name in ("pixels", "_array"):
            self.__dict__.pop(name, None)
        layout, pixels = self._store.layout, self._computed()
        for index in zip(*np.nonzero(self._store.windows), strict=True):
            core = layout.window(index)
            top, left = self._first_cell(core)
            box = Box.at(top, left, self._chunk, self._chunk).clip(self.grid.shape)
            self._array[box.slices] = pixels[box.slices]

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
        place = self._place(core, cells)
        self._array[place] = cells
        self.pixels[place] = cells

    def _first_cell(self, core: Box) -> tuple[int, int]:
        return core.top // self._cell, core.left // self._cell

    def _place(self, core: Box, cells: NDArray[np.uint8]) -> tuple[slice, slice]:
        top, left = self._first_cell(core)
        return slice(top, top + cells.shape[0]), slice(left, left + cells.shape[1])

    @shared_property
    def _array(self) -> ChunkFiles:
        """The array, made anew where there is none that fits."""
        try:
            array = zarr.open_array(store_at(self._path), mode="r+")
            if array.shape == self.grid.shape:
                return ChunkFiles(array, self._dirty)
        except TransferError:
            raise
        except Exception as error:
            log.debug("%s is made anew", self._path, exc_info=error)
        chunk = self._chunk, self._chunk
        # one file for many windows: creating a file costs more than appending
        together = (SHARD * self._chunk,) * 2 if isinstance(self._path, Path) else None
        if isinstance(self._path, Path):
            make_folders(self._path, self._path.parent)
        array = zarr.create_array(
            store_at(self._path),
            shape=self.grid.shape,
            dtype="uint8",
            fill_value=0,
            overwrite=True,
            **compression(chunk, shards=together),
        )
        if self._dirty is not None:
            self._dirty.add(self._path / "zarr.json")  # type: ignore[arg-type]  # a folder here
        return ChunkFiles(array, self._dirty)
