"""States of tiles and windows: the journal, replayed into arrays."""

from __future__ import annotations

from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_twostage.errors import SegmentationError
from napari_twostage.geometry import Box
from napari_twostage.method.tiling import TileState
from napari_twostage.result.commits import Commits
from napari_twostage.result.history import History
from napari_twostage.result.journal_events import (
    Created,
    EditMade,
    EditStored,
    EditUndone,
    Event,
    PixelsLost,
    PyramidFlushed,
    RecordGrown,
    RefinementUndone,
    TilesAccepted,
    TilesFailed,
    TilesRefined,
    WindowDone,
    parse,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from napari_twostage.io.durable import DirtyFiles
    from napari_twostage.method.tiling import Tile, TileGrid
    from napari_twostage.result.journal import Journal, Line


class TileLog:
    """States of tiles and windows; changes are committed to the journal within a second.

    Parameters
    ----------
    journal : Journal
        Journal to replay, which happens here.
    tiles : TileGrid
        The tiles of the result.
    dirty : DirtyFiles, optional
        Files that are synced before the events that speak of them.
    is_window : callable, optional
        Whether a box is the core of a coarse window; others are taken for damage.
    """

    def __init__(
        self,
        journal: Journal,
        tiles: TileGrid,
        dirty: DirtyFiles | None = None,
        is_window: Callable[[Box], bool] = lambda _: True,
    ) -> None:
        self._journal = journal
        self._commits = Commits(journal, dirty)
        self._tiles = tiles
        self._is_window = is_window
        self._lock = RLock()
        self.windows: set[Box] = set()
        """Cores, inside the slide, of the coarse windows that are done."""
        self.unreadable_windows: dict[Box, frozenset[Tile]] = {}
        """Those of them with tiles that stage 1 could not read, and these tiles."""
        self.refined = np.zeros(tiles.shape, bool)
        """(rows, columns): tiles that stage 2 has seen."""
        self.failed: dict[Tile, str] = {}
        """Tiles that could not be read or refined, and why."""
        self.acceptances: list[tuple[Tile, ...]] = []
        """Tiles that the user accepted as they are, together each time, the oldest first."""
        self.edits: list[EditMade] = []
        """Edits that stand, the oldest first."""
        self.recorded_edits: set[int] = set()
        """Numbers of all edits that the journal has, also of those undone."""
        self.edits_made = 0
        """Edits ever made, including those undone."""
        self.unstored: list[EditMade | EditUndone] = []
        """Edits and undos that the arrays on disk may lack, the oldest first."""
        self.undone_boxes: dict[int, Box] = {}
        """Boxes of edits that were undone, by number."""
        self.created: dict[str, Any] | None = None
        """A copy of the record; None before version 0.2."""
        self.damaged_lines = 0
        """Lines that are missing or could not be read; what they recorded is not known."""
        self.unknown_events: set[str] = set()
        """Kinds of events that only later versions know."""
        self.stale_tiles: set[Tile] = set()
        """Tiles refined or edited since the label pyramid was last flushed."""
        self.stale_windows: set[Box] = set()
        """Cores of coarse windows done since then."""
        self.history = History(tiles.shape)
        """What can be undone, in order."""
        self.events_taken = 0
        """Events ever applied, of this process and of others."""
        for line in journal.events():
            self._replay(line)

    def record(self, event: Event, *, at_once: bool = False) -> None:
        """Record an event whose pixels are written.

        Parameters
        ----------
        event : Event
            Event to apply.
        at_once : bool
            Commit it before it is applied, or neither; otherwise it is committed within a second.

        Raises
        ------
        OSError, TwoStageError
            If it cannot be committed, or what came before it could not.
        """
        with self._lock:
            if at_once:
                self._commits.commit_now(event.as_json())
            self._apply(event)
            self._note_edit(event)
            if not at_once:
                self._commits.add(event.as_json())

    def assume(self, edit: EditMade) -> None:
        """Apply an edit that was saved, though the journal does not have it yet."""
        with self._lock:
            self._apply(edit)

    def _note_edit(self, event: Event) -> None:
        if isinstance(event, EditMade):
            self.recorded_edits.add(event.number)

    @property
    def lines(self) -> int:
        """Lines of the journal that were read or committed here."""
        return self._journal.lines

    def expect_lines(self, number: int) -> None:
        """Count as damaged the lines that the journal lacks to this number."""
        self.damaged_lines += max(0, number - self.lines)

    def commit(self) -> None:
        """Put all that was recorded on the disk."""
        self._commits.commit()

    @property
    def grown(self) -> bool:
        """Whether another process has recorded events that are not applied yet."""
        return self._journal.grown

    def follow(self) -> list[Event]:
        """Apply the events that another process has recorded; returns them."""
        with self._lock:
            events = [self._replay(line) for line in self._journal.new_events()]
        return [event for event in events if event is not None]

    def drop_damaged_lines(self, created: Created) -> None:
        """Write the journal anew without lines that cannot be read; only the writer may call.

        Parameters
        ----------
        created : Created
            First event, if the journal has lost it.
        """
        with self._lock:
            self._commits.commit()
            first = None if self.created is not None else created
            self._journal.rewrite([] if first is None else [first.as_json()], self._is_sound)
            self.created = self.created or created.record
            self.damaged_lines = 0

    def _replay(self, line: Line | None) -> Event | None:
        """Apply a line of the journal, unless it makes no sense for this result."""
        try:
            event = None if line is None else parse(line)
            if line is not None and event is None:
                self.unknown_events.add(str(line["event"])[:40])
                return None
        except SegmentationError:
            event = None
        if event is None or not self._fits(event):
            self.damaged_lines += 1
            return None
        self._apply(event)
        self._note_edit(event)
        return event

    def _is_sound(self, line: Line) -> bool:
        """Whether a line makes sense for this result, or may do so for a later version."""
        try:
            event = parse(line)
        except SegmentationError:
            return False
        return event is None or self._fits(event)

    def _fits(self, event: Event) -> bool:
        """Whether an event speaks of tiles and places that there are."""
        match event:
            case WindowDone():
                return self._is_window(event.core) and self._all_inside(tuple(event.unreadable))
            case (
                TilesRefined() | TilesFailed() | TilesAccepted() | PixelsLost() | RefinementUndone()
            ):
                return self._all_inside(event.tiles)
            case EditMade():
                plane = Box(0, 0, *self._tiles.plane)
                return event.number >= 0 and plane.contains(event.box)
        return True

    def _all_inside(self, tiles: tuple[Tile, ...]) -> bool:
        rows, columns = self._tiles.shape
        return all(0 <= row < rows and 0 <= column < columns for row, column in tiles)

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
        self.events_taken += 1
        self.history.take(event)
        match event:
            case WindowDone():
                self._apply_window(event)
            case PixelsLost():
                self._apply_loss(event.tiles, event.windows)
            case RefinementUndone():
                self._apply_loss(event.tiles)
            case TilesRefined() | TilesFailed() | PyramidFlushed():
                self._apply_to_tiles(event)
            case TilesAccepted():
                self._apply_acceptance(event)
            case Created():
                self.created = event.record
            case RecordGrown():
                if self.created is not None:
                    self.created = event.applied_to(self.created)
            case EditMade() | EditUndone() | EditStored():
                self._apply_to_edits(event)

    def _apply_window(self, event: WindowDone) -> None:
        self.windows.add(event.core)
        for tile in self.unreadable_windows.pop(event.core, frozenset()):
            self.failed.pop(tile, None)  # the window is computed again, and it may be readable now
        if event.unreadable:
            self.unreadable_windows[event.core] = frozenset(event.unreadable)
        self.failed.update(event.unreadable)
        if not event.in_pyramid:
            self.stale_windows.add(event.core)

    def _apply_to_tiles(self, event: TilesRefined | TilesFailed | PyramidFlushed) -> None:
        match event:
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

    def _apply_acceptance(self, event: TilesAccepted) -> None:
        if not event.taken_back:
            self.acceptances = [*self.acceptances, event.tiles]
        elif event.tiles in self.acceptances:
            last = len(self.acceptances) - 1 - self.acceptances[::-1].index(event.tiles)
            self.acceptances = self.acceptances[:last] + self.acceptances[last + 1 :]

    def _apply_loss(self, tiles: tuple[Tile, ...], windows: tuple[Box, ...] = ()) -> None:
        self.windows.difference_update(windows)
        for tile in tiles:
            self.refined[tile] = False
        self.stale_tiles.update(tiles)
        self.stale_windows.update(windows)

    def _apply_to_edits(self, event: EditMade | EditUndone | EditStored) -> None:
        match event:
            case EditMade():
                self._apply_edit(event)
            case EditUndone():
                self._apply_undo(event)
            case EditStored():
                self.unstored = [one for one in self.unstored if one.number != event.number]

    def _apply_edit(self, event: EditMade) -> None:
        known = {edit.number for edit in self.edits} | self.undone_boxes.keys()
        if event.number not in known:
            edits = [*self.edits, event]
            if self.edits and event.number < self.edits[-1].number:
                edits.sort(key=lambda edit: edit.number)  # the journal had lost it: it lies below
            self.edits = edits
            self.edits_made = max(self.edits_made, event.number + 1)
            self.stale_tiles.update(self._tiles.touching(event.box))
            # edits before this one are stored: the writer sees to that first
            self.unstored = [event] if event.waits else []

    def _apply_undo(self, event: EditUndone) -> None:
        undone = [edit for edit in self.edits if edit.number == event.number]
        for edit in undone:
            self.undone_boxes[edit.number] = edit.box
            self.stale_tiles.update(self._tiles.touching(edit.box))
        self.edits = [edit for edit in self.edits if edit.number != event.number]
        if undone:
            self.unstored = [event] if event.waits else []
