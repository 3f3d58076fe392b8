"""Edits by the user: labels above everything computed, undone one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.errors import SegmentationError
from napari_twostage.io.paths import load_arrays, save_arrays
from napari_twostage.result.journal_events import EditMade, EditUndone
from napari_twostage.result.layout import UNSET

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.geometry import Box
    from napari_twostage.io.paths import Location
    from napari_twostage.result.label_store import LabelStore
    from napari_twostage.result.tile_log import TileLog


class Edits:
    """Edits of a result.

    Parameters
    ----------
    folder : Path or Url
        Holds the painted labels that each edit replaced; made with the first edit.
    store, log : LabelStore, TileLog
        Pixels and journal of the result.
    """

    def __init__(self, folder: Location, store: LabelStore, log: TileLog) -> None:
        self._folder = folder
        self._store = store
        self._log = log

    def add(self, box: Box, labels: NDArray[np.uint8]) -> None:
        """Add an edit; parameters and errors as for `Result.edit`."""
        labels = self.check(box, labels)
        with self._store.lock:  # two edits must not take the same number
            before = self._store.read_edits(box)
            self._folder.mkdir(exist_ok=True)
            save_arrays(self._file(self._log.edits_made), before=before)
            self._store.write_edits(box, np.where(labels == UNSET, before, labels))
            self._log.record(EditMade(self._log.edits_made, box))

    def undo(self) -> bool:
        """Undo the last edit that stands; False if there is none."""
        with self._store.lock:
            if not self._log.edits:
                return False
            edit = self._log.edits[-1]
            self._store.write_edits(edit.box, load_arrays(self._file(edit.number))["before"])
            self._log.record(EditUndone(edit.number))
        return True

    def check(self, box: Box, labels: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Labels as `add` takes them; raises what it would raise, and changes nothing."""
        layout = self._store.layout
        known = {0, UNSET, *(entry.value for entry in layout.card.classes)}
        if labels.shape != box.shape or not layout.fine.box.contains(box):
            raise SegmentationError(
                f"edit of shape {labels.shape} for {box}; expected {box.shape} inside "
                f"{layout.fine.shape} on the fine grid"
            )
        if unknown := set(np.unique(labels).tolist()) - known:
            raise SegmentationError(f"edit has labels {sorted(unknown)}; known are {sorted(known)}")
        return labels.astype(np.uint8)

    def _file(self, number: int) -> Location:
        return self._folder / f"{number}.npz"
