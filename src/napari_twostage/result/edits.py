"""What the user painted: above everything computed, taken back edit by edit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.errors import SegmentationError
from napari_twostage.io.npz import load_arrays, save_arrays
from napari_twostage.result.layout import UNSET

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.geometry import Box
    from napari_twostage.io.paths import Location
    from napari_twostage.result.label_store import Store
    from napari_twostage.result.tile_log import Ledger


class Edits:
    """The edits of a result.

    Parameters
    ----------
    folder : Path or Url
        Keeps what each edit covered; made with the first.
    store, ledger : Store, Ledger
        Of the result.
    """

    def __init__(self, folder: Location, store: Store, ledger: Ledger) -> None:
        self._folder = folder
        self._store = store
        self._ledger = ledger

    def __len__(self) -> int:
        return len(self._ledger.edits)

    @property
    def last(self) -> Box | None:
        """The place of the edit that `undo` would take back."""
        return self._ledger.edits[-1][1] if self._ledger.edits else None

    def add(self, box: Box, labels: NDArray[np.uint8]) -> None:
        """Keep an edit; parameters and errors as for `Segmentation.edit`."""
        labels = self.check(box, labels)
        with self._store.lock:  # two edits must not take the same number
            before = self._store.read_edits(box)
            self._folder.mkdir(exist_ok=True)
            save_arrays(self._file(self._ledger.edits_made), before=before)
            self._store.write_edits(box, np.where(labels == UNSET, before, labels))
            self._ledger.edited(box)

    def undo(self) -> bool:
        """Take back the last edit that stands; False where there is none."""
        with self._store.lock:
            if not self._ledger.edits:
                return False
            number, box = self._ledger.edits[-1]
            self._store.write_edits(box, load_arrays(self._file(number))["before"])
            self._ledger.edit_undone(number)
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
