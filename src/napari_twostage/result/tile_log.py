"""What was done to which tile: the journal, replayed into arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.geometry import Box
from napari_twostage.method.tiling import TileState

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from napari_twostage.method.tiling import Tile, TileGrid
    from napari_twostage.result.journal import Event, Journal


class Ledger:
    """States of tiles and windows; every change is in the journal before it is here.

    Parameters
    ----------
    journal : Journal
        Replayed at once.
    tiles : TileGrid
        The tiles of the result.
    """

    def __init__(self, journal: Journal, tiles: TileGrid) -> None:
        self._journal = journal
        self._tiles = tiles
        self.windows: set[Box] = set()
        """Cores, inside the slide, of the coarse windows that are done."""
        self.refined = np.zeros(tiles.shape, bool)
        self.failed: dict[Tile, str] = {}
        """Tiles that could not be refined, or not even seen, and why."""
        self.unreadable: set[Tile] = set()
        """Tiles that stage 1 could not see; they have no score."""
        self.edits: list[tuple[int, Box]] = []
        """Number and box of each edit that stands, in order."""
        self.behind: set[Tile] = set()
        """Tiles refined or edited since the overview was last brought up to date."""
        self.windows_behind: set[Box] = set()
        """Cores of coarse windows done since then."""
        self.edits_made = 0
        for event in journal.events():
            self._apply(event)

    def window_done(self, core: Box, unreadable: dict[Tile, str], *, shown: bool = False) -> None:
        """Stage 1 has seen a window; its pixels are on disk, and the overview's where `shown`."""
        listed = [[*tile, reason] for tile, reason in unreadable.items()]
        event = {"event": "window", "core": _list(core), "unreadable": listed}
        # results from before there was a choice have their windows shown
        self._record(event if shown else {**event, "shown": False})

    def tiles_refined(self, tiles: Sequence[Tile]) -> None:
        """Stage 2 has seen tiles; their pixels are on disk."""
        self._record({"event": "refined", "tiles": [list(tile) for tile in tiles]})

    def tiles_failed(self, tiles: Sequence[Tile], reason: str) -> None:
        """Tiles could not be refined."""
        self._record({"event": "failed", "tiles": [list(t) for t in tiles], "reason": reason})

    def overview_fresh(self) -> None:
        """The overview shows all that is recorded so far."""
        self._record({"event": "overview"})

    def edited(self, box: Box) -> int:
        """The user painted in a box of the fine grid; returns the number of the edit."""
        number = self.edits_made
        self._record({"event": "edit", "number": number, "box": _list(box)})
        return number

    def edit_undone(self, number: int) -> None:
        """An edit was taken back."""
        self._record({"event": "undo", "number": number})

    def states(self, seen: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """A `TileState` for each tile.

        Parameters
        ----------
        seen : (rows, columns) bool array
            Tiles with tissue that stage 1 has seen.
        """
        states = np.where(seen, TileState.COARSE, TileState.OUTSIDE).astype(np.uint8)
        states[self.refined] = TileState.REFINED
        for tile in list(self.failed):  # a run may add some meanwhile
            states[tile] = TileState.FAILED
        for _, box in list(self.edits):
            for tile in self._tiles.touching(box):
                states[tile] = TileState.EDITED
        return states

    def _record(self, event: Event) -> None:
        self._journal.append(event)
        self._apply(event)

    def _apply(self, event: Event) -> None:
        match event:
            case {"event": "window", "core": core, "unreadable": unreadable}:
                self._see(Box(*core), unreadable, event.get("shown", True))
            case {"event": "refined", "tiles": tiles}:
                for tile in _tiles(tiles):
                    self.refined[tile] = True
                    self.failed.pop(tile, None)
                    self.behind.add(tile)
            case {"event": "failed", "tiles": tiles, "reason": reason}:
                self.failed.update(dict.fromkeys(_tiles(tiles), str(reason)))
            case {"event": "overview"}:
                self.behind.clear()
                self.windows_behind.clear()
            case {"event": "edit", "number": number, "box": box}:
                self.edits.append((number, Box(*box)))
                self.edits_made = number + 1
                self.behind.update(self._tiles.touching(Box(*box)))
            case {"event": "undo", "number": number}:
                for _, box in [edit for edit in self.edits if edit[0] == number]:
                    self.behind.update(self._tiles.touching(box))
                self.edits = [edit for edit in self.edits if edit[0] != number]

    def _see(self, core: Box, unreadable: Iterable[tuple[int, int, str]], shown: bool) -> None:
        self.windows.add(core)
        if not shown:
            self.windows_behind.add(core)
        for row, column, reason in unreadable:
            self.failed[row, column] = reason
            self.unreadable.add((row, column))


def _tiles(pairs: Iterable[Sequence[int]]) -> list[Tile]:
    return [(row, column) for row, column in pairs]


def _list(box: Box) -> list[int]:
    return [box.top, box.left, box.bottom, box.right]
