"""Tissue, statistics and uncertainty of a result's tiles."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_twostage.errors import DamagedFileError
from napari_twostage.geometry import Grid
from napari_twostage.io.files import is_unreadable
from napari_twostage.io.paths import UNREADABLE, load_arrays, remove_file, save_arrays
from napari_twostage.method.uncertainty import TileStatistics, summarise_tiles
from napari_twostage.result.pixel_scores import PixelScores
from napari_twostage.result.uncertainty_map import UncertaintyMap
from napari_twostage.utils.threads import shared_property

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from napari_twostage.geometry import Box, Polygons
    from napari_twostage.io.durable import DirtyFiles
    from napari_twostage.io.paths import Location
    from napari_twostage.method.tissue import Tissue
    from napari_twostage.result.label_store import LabelStore
    from napari_twostage.result.tile_log import TileLog

log = logging.getLogger(__name__)

STATISTICS_ON_DISK = {
    "score": "score",
    "true_positives": "hits",
    "false_positives": "false_alarms",
    "false_negatives": "misses",
}
"""Field of `TileStatistics` to the name of its array in ``statistics.npz``.

The names in the file are those of version 0.1: results of every version stay readable.
"""

MARGIN, LEFT_OUT, ARTEFACTS = "margin", "left_out", "artefacts"
"""Masks in ``tissue.npz`` that older results lack; (1, 1) if there is nothing in them."""


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
    measure : str
        Uncertainty measure; see `uncertainty.pixel_statistics`.
    dirty : DirtyFiles, optional
        Is told of the files that are written, to be synced later.
    """

    def __init__(
        self,
        folder: Location,
        store: LabelStore,
        log: TileLog,
        measure: str,
        dirty: DirtyFiles | None = None,
    ) -> None:
        self._store = store
        self._log = log
        self._tissue_file = folder / "tissue.npz"
        self._statistics_file = folder / "statistics.npz"
        self._seen: set[Location] = set()
        self._scope: Polygons = ()
        self.pixel_scores = PixelScores(store, measure)
        self.uncertainty_map = UncertaintyMap(folder / "heat", store, self.pixel_scores, dirty)

    @property
    def tissue_known(self) -> bool:
        """Whether tissue detection has run."""
        return self._is_there(self._tissue_file)

    def set_scope(self, scope: Polygons) -> None:
        """Segment the windows that these polygons of level 0 touch; all, if there are none."""
        if scope != self._scope:
            self._scope = scope
            self._forget_tiles()

    @cached_property
    def tissue(self) -> NDArray[np.bool_]:
        """Tiles to segment: (rows, columns); once `tissue_known`.

        With a scope, tiles of whole coarse windows: none is ever computed in part, so labels do
        not depend on the order in which the scope has grown.
        """
        if not self._scope:
            return self.slide_tissue
        layout = self._store.layout
        return self.slide_tissue & layout.tiles_of_windows(layout.windows_touching(self._scope))

    @cached_property
    def slide_tissue(self) -> NDArray[np.bool_]:
        """Tiles with tissue, inside the scope or not: (rows, columns); once `tissue_known`."""
        with _damage(self._tissue_file):
            tiles = np.asarray(load_arrays(self._tissue_file)["tiles"], bool)
            _require_shape(tiles, self._store.layout.tiles.shape)
            return tiles

    @property
    def tissue_mask(self) -> tuple[NDArray[np.bool_], Grid]:
        """Tissue as a mask (H, W), and the mask's grid; once `tissue_known`.

        Without the margin around it; version 0.1 kept it with the margin only.
        """
        with _damage(self._tissue_file):
            saved = load_arrays(self._tissue_file)
            mask, grid = _mask_and_grid(saved)
            if MARGIN in saved:
                mask = mask & ~_mask_like(saved[MARGIN], mask)
            return mask, grid

    @cached_property
    def left_out(self) -> tuple[NDArray[np.bool_], Grid] | None:
        """Pen marks and the like as a mask (H, W), and its grid; None if there are none."""
        with _damage(self._tissue_file):
            saved = load_arrays(self._tissue_file)
            mask, grid = _mask_and_grid(saved)
            found = _mask_like(saved[LEFT_OUT], mask) if LEFT_OUT in saved else None
            return None if found is None or not found.any() else (found, grid)

    @property
    def artefacts(self) -> tuple[NDArray[np.uint8], Grid] | None:
        """`Artefact` of each pixel (H, W), and the grid; None if there are none."""
        with _damage(self._tissue_file):
            saved = load_arrays(self._tissue_file)
            mask, grid = _mask_and_grid(saved)
            found = saved.get(ARTEFACTS, np.zeros((1, 1), np.uint8))
            if not found.any():
                return None
            if found.shape != mask.shape or found.dtype != np.uint8:
                raise ValueError(f"artefacts of {found.shape} {found.dtype}")
            return np.asarray(found), grid

    def save_tissue(self, tissue: Tissue, tiles: NDArray[np.bool_]) -> None:
        """Save the tissue, and the tiles that follow from it."""
        grid = {"mpp": tissue.grid.mpp, "downsample": tissue.grid.downsample}
        masks = {
            "mask": tissue.mask,
            MARGIN: tissue.margin,
            LEFT_OUT: tissue.left_out,
            ARTEFACTS: tissue.artefacts,
        }
        save_arrays(self._tissue_file, tiles=tiles, **masks, **grid)

    def add_artefacts(self, found: NDArray[np.uint8]) -> None:
        """Save artefacts beside those that are saved: (H, W), 0 where there is none."""
        with _damage(self._tissue_file):
            saved = load_arrays(self._tissue_file)
            kept = np.broadcast_to(saved[ARTEFACTS], found.shape)
        save_arrays(self._tissue_file, **{**saved, ARTEFACTS: np.where(kept > 0, kept, found)})

    def forget_tissue(self) -> None:
        """Look for the tissue's file again, which was set aside."""
        self._seen.discard(self._tissue_file)
        self._forget_tiles("slide_tissue", "left_out")

    def _forget_tiles(self, *more: str) -> None:
        for name in ("tissue", "windows_needed", *more):
            self.__dict__.pop(name, None)

    @cached_property
    def windows_needed(self) -> NDArray[np.bool_]:
        """Coarse windows with tissue: (rows, columns)."""
        layout = self._store.layout
        per_window = layout.card.coarse_core_px // layout.card.coarse_tile_px
        needed = np.zeros(layout.window_shape, bool)
        rows, columns = np.nonzero(self.tissue)
        needed[rows // per_window, columns // per_window] = True
        return needed

    @property
    def windows_left(self) -> NDArray[np.bool_]:
        """Coarse windows with tissue that stage 1 has not seen; once `tissue_known`."""
        return self.windows_needed & ~self._store.windows

    @property
    def complete(self) -> bool:
        """Whether stage 1 has seen all tissue."""
        return self.tissue_known and not self.windows_left.any()

    @shared_property
    def statistics(self) -> TileStatistics:
        """Statistics of each tile after stage 1; NaN for tiles without."""
        if self.complete:
            try:
                return self._load_statistics()
            except FileNotFoundError:  # the run was stopped before it was written
                pass
            except DamagedFileError as error:
                log.warning("%s is damaged: it is computed again", error.path)
        statistics = TileStatistics.empty(self._store.layout.tiles.shape)
        for index in zip(*np.nonzero(self._store.windows), strict=True):
            core = self._store.layout.window(index)
            part = self._of_pixels(self.pixel_scores.read(core)).statistics
            statistics.put(part, *self._first_tile(core))
        return statistics

    def _load_statistics(self) -> TileStatistics:
        """Read the statistics of a complete coarse pass."""
        shape = self._store.layout.tiles.shape
        with _damage(self._statistics_file):
            saved = load_arrays(self._statistics_file)
            for key in STATISTICS_ON_DISK.values():
                _require_shape(saved[key], shape)
            return TileStatistics(**{name: saved[key] for name, key in STATISTICS_ON_DISK.items()})

    @property
    def statistics_sound(self) -> bool:
        """Whether the file of a complete coarse pass is as it was written."""
        try:
            self._load_statistics()
        except (FileNotFoundError, DamagedFileError):
            return False
        return True

    def forget_windows(self) -> None:
        """Compute from the logits again what follows from them: windows came or went."""
        for part, name in ((self, "statistics"), (self.uncertainty_map, "pixels")):
            part.__dict__.pop(name, None)

    def of_window(
        self, logits: NDArray[np.float16], gain: NDArray[np.float16] | None = None
    ) -> WindowScores:
        """Compute the statistics and cells of a coarse window from its pixels as saved."""
        return self._of_pixels(self.pixel_scores.of(logits, gain))

    def _of_pixels(self, pixels: NDArray[np.float32]) -> WindowScores:
        side = self._store.layout.card.coarse_tile_px
        return WindowScores(summarise_tiles(pixels, side), self.uncertainty_map.cells(pixels[0]))

    def window_done(self, core: Box, found: WindowScores) -> None:
        """Save the statistics and cells of a coarse window."""
        self.statistics.put(found.statistics, *self._first_tile(core))
        self.uncertainty_map.write(core, found.cells)

    def save_statistics(self) -> None:
        """Save the statistics of the complete coarse pass, so that opening a result is quick."""
        if not self.statistics_sound:
            known = self.statistics
            arrays = {key: getattr(known, name) for name, key in STATISTICS_ON_DISK.items()}
            save_arrays(self._statistics_file, **arrays)

    def remove_statistics(self) -> None:
        """Remove the file of a complete coarse pass, before more is to be segmented."""
        if self._statistics_file.exists():
            remove_file(self._statistics_file)

    def _is_there(self, file: Location) -> bool:
        """Whether a file was written; one that was found is not looked up again."""
        if file not in self._seen and file.exists():
            self._seen.add(file)
        return file in self._seen

    def _first_tile(self, core: Box) -> tuple[int, int]:
        side = self._store.layout.card.coarse_tile_px
        return core.top // side, core.left // side


@contextmanager
def _damage(file: Location) -> Iterator[None]:
    """Name the file where its arrays are not those that were saved."""
    try:
        yield
    except UNREADABLE as error:
        raise DamagedFileError(file) from error
    except OSError as error:
        if is_unreadable(error):
            raise DamagedFileError(file, error.strerror or "") from error
        raise


def _mask_and_grid(saved: Mapping[str, NDArray[Any]]) -> tuple[NDArray[np.bool_], Grid]:
    """The mask of ``tissue.npz`` that has the margin, and the grid of all masks in it."""
    mask = np.asarray(saved["mask"], bool)
    mpp, downsample = (_pair(saved[name]) for name in ("mpp", "downsample"))
    height, width = mask.shape
    return mask, Grid((height, width), downsample, mpp)


def _mask_like(saved: NDArray[Any], mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Another mask of the same shape, or of one False pixel."""
    if saved.shape != (1, 1) or saved.any():
        _require_shape(saved, mask.shape)
    return np.asarray(saved, bool)


def _require_shape(array: NDArray[Any], shape: tuple[int, ...]) -> None:
    if array.shape != shape or array.dtype.kind not in "bf":
        raise ValueError(f"an array of {array.shape} {array.dtype}, expected {shape}")


def _pair(values: NDArray[Any]) -> tuple[float, float]:
    first, second = (float(value) for value in values)
    if not (0 < first < np.inf and 0 < second < np.inf):
        raise ValueError(f"{first}, {second}")
    return first, second
