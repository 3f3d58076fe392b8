"""Parts of a result folder, opened together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.io.paths import atomic_folder
from napari_twostage.method.tiling import TileGrid
from napari_twostage.method.uncertainty import MEASURES
from napari_twostage.result.edits import Edits
from napari_twostage.result.journal import Journal
from napari_twostage.result.journal_events import PyramidFlushed
from napari_twostage.result.label_store import LabelStore
from napari_twostage.result.layout import Layout
from napari_twostage.result.record import Record, write_record
from napari_twostage.result.tile_log import TileLog
from napari_twostage.result.tile_scores import TileScores

if TYPE_CHECKING:
    from napari_twostage.io.paths import Location


class ResultFiles:
    """Record, pixels, journal, scores and edits of one result folder.

    Parameters
    ----------
    path : Path or Url
        The folder, which must exist.
    record : Record
        Content of its `record.json`.
    """

    def __init__(self, path: Location, record: Record) -> None:
        self.path = path
        self.record = record
        self.layout = _layout(record)
        self.store = LabelStore(path, self.layout)
        self.log = TileLog(Journal(path / "journal.jsonl"), self.layout.tiles)
        self.measure = MEASURES[record.parameters.uncertainty]
        self.scores = TileScores(path, self.store, self.log, self.measure)
        self.edits = Edits(path / "undo", self.store, self.log)
        edited = np.zeros(self.layout.tiles.shape, bool)
        for edit in self.log.edits:
            for tile in self.layout.tiles.touching(edit.box):
                edited[tile] = True
        self.store.mark_written(self.log.refined, edited)
        self.store.mark_stale(self.log.stale_tiles, self.log.stale_windows)

    def write_record(self, record: Record) -> None:
        """Replace the record, on disk first."""
        write_record(self.path, record)
        self.record = record

    def flush(self) -> None:
        """Write the buffered levels of the label pyramid, and record that they are written."""
        with self.store.lock:  # otherwise the event could cover a tile that came in between
            if self.store.pyramid.stale:
                self.store.pyramid.flush()
                self.log.record(PyramidFlushed())


def make_folder(path: Location, record: Record) -> None:
    """Write an empty result folder; a crash leaves none."""
    with atomic_folder(path) as folder:
        LabelStore(folder, _layout(record), create=True)
        write_record(folder, record)


def _layout(record: Record) -> Layout:
    card, fine = record.card, record.grid
    return Layout(fine, card, TileGrid(fine.shape, card.tile_px, card.halo_px))
