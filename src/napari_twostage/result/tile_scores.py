"""Tissue, statistics and uncertainty of a result's tiles."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.geometry import Grid
from napari_twostage.io.paths import load_arrays, save_arrays
from napari_twostage.method.uncertainty import TileStatistics, pixel_statistics, summarise_tiles
from napari_twostage.result.uncertainty_map import UncertaintyMap
from napari_twostage.utils.threads import shared_property

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.geometry import Box
    from napari_twostage.io.paths import Location
    from napari_twostage.method.tissue import Tissue
    from napari_twostage.method.uncertainty import Measure
    from napari_twostage.result.label_store import LabelStore
    from napari_twostage.result.tile_log import TileLog


STATISTICS_ON_DISK = {
    "score": "score",
    "true_positives": "hits",
    "false_positives": "false_alarms",
    "false_negatives": "misses",
}
"""Field of `TileStatistics` to the name of its array in ``statistics.npz``.

The names in the file are those of version 0.1: results of every version stay readable.
"""


@dataclass(frozen=True, slots=True)
class WindowScores:
    """Statistics and uncertainty of a window's tiles: a hundredth of the bytes of its pixels."""

    statistics: TileStatistics
    cells: NDArray[np.uint8]
    """Cells of `UncertaintyMap`."""


class TileScores:
    """Small arrays beside the pixels of a result, kept as they become known.

    Parameters
    ----------
    folder : Path or Url
        Folder of the result.
    store, log : LabelStore, TileLog
        Pixels and states, from which the statistics are computed after an interrupted run.
    measure : callable
        Uncertainty measure, one of `uncertainty.MEASURES`.
    """

    def __init__(self, folder: Location, store: LabelStore, log: TileLog, measure: Measure) -> None:
        self._store = store
        self._log = log
        self._measure = measure
        self._tissue_file = folder / "tissue.npz"
        self._statistics_file = folder / "statistics.npz"
        self._seen: set[Location] = set()
        self.uncertainty_map = UncertaintyMap(folder / "heat", store.layout)

    @property
    def tissue_known(self) -> bool:
        """Whether tissue detection has run."""
        return self._is_there(self._tissue_file)

    @cached_property
    def tissue(self) -> NDArray[np.bool_]:
        """Tiles to segment: (rows, columns); once `tissue_known`."""
        return np.asarray(load_arrays(self._tissue_file)["tiles"], bool)

    @property
    def tissue_mask(self) -> tuple[NDArray[np.bool_], Grid]:
        """Tissue as a mask (H, W), and the mask's grid; once `tissue_known`."""
        saved = load_arrays(self._tissue_file)
        mask = np.asarray(saved["mask"], bool)
        mpp, downsample = (tuple(saved[name].tolist()) for name in ("mpp", "downsample"))
        return mask, Grid((mask.shape[0], mask.shape[1]), downsample, mpp)

    def save_tissue(self, tissue: Tissue, tiles: NDArray[np.bool_]) -> None:
        """Save the tissue, and the tiles that follow from it."""
        grid = {"mpp": tissue.grid.mpp, "downsample": tissue.grid.downsample}
        save_arrays(self._tissue_file, tiles=tiles, mask=tissue.mask, **grid)

    @property
    def complete(self) -> bool:
        """Whether stage 1 has seen all tissue."""
        return self._is_there(self._statistics_file)

    @shared_property
    def statistics(self) -> TileStatistics:
        """Statistics of each tile after stage 1; NaN for tiles without."""
        if self.complete:
            saved = load_arrays(self._statistics_file)
            return TileStatistics(**{name: saved[key] for name, key in STATISTICS_ON_DISK.items()})
        statistics = TileStatistics.empty(self._store.layout.tiles.shape)
        for core in tuple(self._log.windows):  # a copy: a run may add some meanwhile
            part = self.of_window(self._store.read_logits(core)).statistics
            statistics.put(part, *self._first_tile(core))
        return statistics

    def of_window(self, logits: NDArray[np.float16]) -> WindowScores:
        """Compute the statistics and cells of a coarse window from its logits as saved."""
        pixels = pixel_statistics(logits, self._measure)
        side = self._store.layout.card.coarse_tile_px
        return WindowScores(summarise_tiles(pixels, side), self.uncertainty_map.cells(pixels[0]))

    def window_done(self, core: Box, found: WindowScores) -> None:
        """Save the statistics and cells of a coarse window."""
        self.statistics.put(found.statistics, *self._first_tile(core))
        self.uncertainty_map.write(core, found.cells)

    def save_statistics(self) -> None:
        """Save the statistics of the complete coarse pass, so that opening a result is quick."""
        if not self.complete:
            known = self.statistics
            arrays = {key: getattr(known, name) for name, key in STATISTICS_ON_DISK.items()}
            save_arrays(self._statistics_file, **arrays)

    def _is_there(self, file: Location) -> bool:
        """Whether a file was written; one that was found is not looked up again."""
        if file not in self._seen and file.exists():
            self._seen.add(file)
        return file in self._seen

    def _first_tile(self, core: Box) -> tuple[int, int]:
        side = self._store.layout.card.coarse_tile_px
        return core.top // side, core.left // side
