"""States of tiles and windows: the journal, replayed into arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.method.tiling import TileState
from napari_twostage.result.journal_events import (
    EditMade,
    EditUndone,
    Event,
    PyramidFlushed,
    TilesFailed,
    TilesRefined,
    WindowDone,
    parse,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.geometry import Box
    from napari_twostage.method.tiling import Tile, TileGrid
    from napari_twostage.result.journal import Journal


class TileLog:
    """States of tiles and windows; every change is written to the journal first.

    Parameters
    ----------
    journal : Journal
        Journal to replay, which happens here.
    tiles : TileGrid
        The tiles of the result.
    """

    def __init__(self, journal: Journal, tiles: TileGrid) -> None:
        self._journal = journal
        self._tiles = tiles
        self.windows: set[Box] = set()
        """Cores, inside the slide, of the coarse windows that are done."""
        self.refined = np.zeros(tiles.shape, bool)
        """(rows, columns): tiles that stage 2 has seen."""
        self.failed: dict[Tile, str] = {}
        """Tiles that could not be read or refined, and why."""
        self.edits: list[EditMade] = []
        """Edits that stand, the oldest first."""
        self.edits_made = 0
        """Edits ever made, including those undone."""
        self.stale_tiles: set[Tile] = set()
        """Tiles refined or edited since the label pyramid was last flushed."""
        self.stale_windows: set[Box] = set()
        """Cores of coarse windows done since then."""
        for values in journal.events():
            event = parse(values)
            if event is not None:
                self._apply(event)

    def record(self, event: Event) -> None:
        """Write an event to the journal, then apply it."""
        self._journal.append(event.as_json())
        self._apply(event)

    def states(self, scored: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """A `TileState` for each tile: (rows, columns).

        Parameters
        ----------
        scored : (rows, columns) bool array
            Tiles with tissue that stage 1 has seen.
        """
        states = np.where(scored, TileState.COARSE, TileState.OUTSIDE).astype(np.uint8)
        states[self.refined] = TileState.REFINED
        for tile in list(self.failed):  # a copy: a run may add some meanwhile
            states[tile] = TileState.FAILED
        for edit in list(self.edits):
            for tile in self._tiles.touching(edit.box):
                states[tile] = TileState.EDITED
        return states

    def _apply(self, event: Event) -> None:
        match event:
            case WindowDone():
                self.windows.add(event.core)
                self.failed.update(event.unreadable)
                if not event.in_pyramid:
                    self.stale_windows.add(event.core)
            case TilesRefined():
                for tile in event.tiles:
                    self.refined[tile] = True
                    self.failed.pop(tile, None)
                    self.stale_tiles.add(tile)
            case TilesFailed():
                self.failed.update(dict.fromkeys(event.tiles, event.reason))
            case PyramidFlushed():
                self.stale_tiles.clear()
                self.stale_windows.clear()
            case EditMade():
                self.edits.append(event)
                self.edits_made = event.number + 1
                self.stale_tiles.update(self._tiles.touching(event.box))
            case EditUndone():
                undone = [edit for edit in self.edits if edit.number == event.number]
                for edit in undone:
                    self.stale_tiles.update(self._tiles.touching(edit.box))
                self.edits = [edit for edit in self.edits if edit.number != event.number]
