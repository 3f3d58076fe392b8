"""What a run found out about the tiles of a result: tissue, statistics, heat."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.geometry import Grid
from napari_twostage.heat import HeatMap
from napari_twostage.uncertainty import TileStatistics, probabilities, tile_statistics

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

    from napari_twostage.geometry import Box
    from napari_twostage.ledger import Ledger
    from napari_twostage.store import Store
    from napari_twostage.tissue import Tissue
    from napari_twostage.uncertainty import Measure


@dataclass(frozen=True, slots=True)
class WindowFindings:
    """What stage 1 found out about the tiles of a window; a hundredth of its pixels."""

    statistics: TileStatistics
    heat: NDArray[np.uint8]
    """Cells of `HeatMap`."""


class Findings:
    """Small arrays beside the pixels of a result, kept as they become known.

    Parameters
    ----------
    folder : Path
        Of the result.
    store, ledger : Store, Ledger
        What the statistics are worked out from where a run was interrupted.
    measure : callable
        One of `uncertainty.MEASURES`.
    """

    def __init__(self, folder: Path, store: Store, ledger: Ledger, measure: Measure) -> None:
        self._store = store
        self._ledger = ledger
        self._measure = measure
        self._tissue_file = folder / "tissue.npz"
        self._statistics_file = folder / "statistics.npz"
        self.heat = HeatMap(folder / "heat", store.layout)

    @property
    def tissue_known(self) -> bool:
        """Whether the tissue was looked for."""
        return self._tissue_file.exists()

    @cached_property
    def tissue(self) -> NDArray[np.bool_]:
        """Which tiles are to be segmented: (rows, columns); once `tissue_known`."""
        with np.load(self._tissue_file, allow_pickle=False) as saved:
            return np.asarray(saved["tiles"], bool)

    @property
    def tissue_mask(self) -> tuple[NDArray[np.bool_], Grid]:
        """Where the tissue is, (H, W), and where the mask's pixels lie; once `tissue_known`."""
        with np.load(self._tissue_file, allow_pickle=False) as saved:
            mask = np.asarray(saved["mask"], bool)
            mpp, downsample = (tuple(saved[name].tolist()) for name in ("mpp", "downsample"))
        return mask, Grid((mask.shape[0], mask.shape[1]), downsample, mpp)

    def save_tissue(self, tissue: Tissue, tiles: NDArray[np.bool_]) -> None:
        """Keep where the tissue is, and which tiles follow from it."""
        grid = {"mpp": tissue.grid.mpp, "downsample": tissue.grid.downsample}
        _save(self._tissue_file, tiles=tiles, mask=tissue.mask, **grid)

    @property
    def complete(self) -> bool:
        """Whether stage 1 has seen all tissue."""
        return self._statistics_file.exists()

    @cached_property
    def statistics(self) -> TileStatistics:
        """What stage 1 says of each tile; NaN where nothing yet."""
        if self.complete:
            with np.load(self._statistics_file, allow_pickle=False) as saved:
                return TileStatistics(**saved)
        statistics = TileStatistics.empty(self._store.layout.tiles.shape)
        for core in self._ledger.windows:
            part = self._statistics_of(self._store.read_logits(core))
            statistics.put(part, *self._first_tile(core))
        return statistics

    def of_window(self, logits: NDArray[np.float16]) -> WindowFindings:
        """Work out what is to be kept of a coarse window, from its logits as they are on disk."""
        doubt = self._measure(probabilities(logits))
        return WindowFindings(self._statistics_of(logits), self.heat.cells(doubt))

    def window_done(self, core: Box, found: WindowFindings) -> None:
        """Keep what was found out about a coarse window."""
        self.statistics.put(found.statistics, *self._first_tile(core))
        self.heat.write_cells(core, found.heat)

    def save_statistics(self) -> None:
        """Keep them, once the coarse pass is complete: opening a result must not read logits."""
        if not self.complete:
            _save(self._statistics_file, **asdict(self.statistics))

    def _statistics_of(self, logits: NDArray[np.float16]) -> TileStatistics:
        return tile_statistics(logits, self._store.layout.card.coarse_tile_px, self._measure)

    def _first_tile(self, core: Box) -> tuple[int, int]:
        side = self._store.layout.card.coarse_tile_px
        return core.top // side, core.left // side


def _save(path: Path, **arrays: ArrayLike) -> None:
    """Write arrays so that a crash leaves no half file."""
    unfinished = path.with_suffix(".partial.npz")
    np.savez_compressed(unfinished, allow_pickle=False, **arrays)
    unfinished.replace(path)
