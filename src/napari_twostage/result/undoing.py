"""Undo and redo of the user's edits, and of refinement."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.errors import SegmentationError
from napari_twostage.result.history import EditStep
from napari_twostage.result.journal_events import RefinementUndone, TilesRefined
from napari_twostage.result.label_arrays import DEPTH, REFINED

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.geometry import Box
    from napari_twostage.method.tiling import Tile
    from napari_twostage.result.result_files import ResultFiles


class Change(Enum):
    """Kind of a change that can be undone."""

    EDIT = "edit"
    REFINEMENT = "refinement"


@dataclass(frozen=True, slots=True)
class _UndoneEdit:
    box: Box
    labels: NDArray[np.uint8]

    kind = Change.EDIT


@dataclass(frozen=True, slots=True)
class _UndoneRefinement:
    tiles: tuple[Tile, ...]
    token: str | None

    kind = Change.REFINEMENT


class Undoing:
    """Changes of a result that can be undone, and those that were and can be made again.

    What was undone stays so; what can be made again is forgotten with this object, or by the next
    change of any window.

    Parameters
    ----------
    files : ResultFiles
        The opened folder.
    """

    def __init__(self, files: ResultFiles) -> None:
        self._files = files
        self._undone: list[_UndoneEdit | _UndoneRefinement] = []
        self._made = 0
        """Steps that were made when `_undone` was last valid."""

    @property
    def made(self) -> int:
        """Number of changes that were ever made, or made again."""
        return self._files.log.history.made

    @property
    def next_undo(self) -> Change | None:
        """The last change that stands; None if there is none."""
        step = self._files.log.history.last
        if step is None:
            return None
        return Change.EDIT if isinstance(step, EditStep) else Change.REFINEMENT

    def next_redo(self, kind: Change | None = None) -> Change | None:
        """The change, of one kind or any, that was undone last; None if none can be made again."""
        if self._made != self.made:
            return None
        return next((one.kind for one in reversed(self._undone) if kind in (None, one.kind)), None)

    @property
    def can_undo_refinement(self) -> bool:
        """Whether there are tiles that a run has refined."""
        return self._files.log.history.last_refinement is not None

    def undo_edit(self) -> bool:
        """Undo the last edit; see `Result.undo_edit`."""
        with self._files.changing():
            undone = self._files.edits.undo()
        if undone is not None:
            self._remember(_UndoneEdit(*undone))
        return undone is not None

    def redo_edit(self) -> Box | None:
        """Make the edit again that was undone last.

        Returns
        -------
        Box or None
            Its box on the fine grid; None if there is none.
        """
        undone = self._take(Change.EDIT)
        if not isinstance(undone, _UndoneEdit):
            return None
        with self._files.changing():
            self._files.edits.add(undone.box, undone.labels)
        self._drop(undone)
        return undone.box

    def undo_refinement(self) -> NDArray[np.bool_]:
        """Take back the tiles of the last run that refined any.

        Returns
        -------
        (rows, columns) bool array
            Tiles that have coarse labels again.
        """
        with self._files.changing():
            step = self._files.log.history.last_refinement
            if step is None:
                return np.zeros(self._files.layout.tiles.shape, bool)
            found = self._files.log.history.tiles(step)
            tiles = tuple((int(row), int(column)) for row, column in np.argwhere(found))
            self._files.log.record(RefinementUndone(tiles), at_once=True)
            self._files.store.unmark(tiles, ())
            self._record_run(step.token, undone=True)
        self._remember(_UndoneRefinement(tiles, step.token))
        return found

    def redo_refinement(self) -> NDArray[np.bool_]:
        """Bring back the tiles that were taken back last; their pixels are still there.

        Returns
        -------
        (rows, columns) bool array
            Tiles that are refined again.

        Raises
        ------
        SegmentationError
            If their pixels are no longer whole.
        """
        found = np.zeros(self._files.layout.tiles.shape, bool)
        undone = self._take(Change.REFINEMENT)
        if not isinstance(undone, _UndoneRefinement):
            return found
        store = self._files.store
        names = [name for name in (REFINED, DEPTH) if name in store.arrays]
        with self._files.changing():
            if not all(
                store.is_whole(name, tile, must_be=True) for name in names for tile in undone.tiles
            ):
                raise SegmentationError(
                    "the refined labels are no longer whole; refine these tiles again"
                )
            self._files.log.record(TilesRefined(undone.tiles, undone.token or ""), at_once=True)
            for tile in undone.tiles:
                found[tile] = True
            store.mark_written(found, ())
            store.mark_stale(undone.tiles, ())
            self._record_run(undone.token, undone=False)
        self._drop(undone)
        return found

    def _record_run(self, token: str | None, *, undone: bool) -> None:
        """Say in the record whether a run was undone; results of version 0.1 do not tell runs."""
        record = self._files.record
        run = next((one for one in record.runs if token and one.token == token), None)
        if run is not None:
            self._files.write_record(record.with_run(replace(run, undone=undone)))

    def _remember(self, undone: _UndoneEdit | _UndoneRefinement) -> None:
        kept = self._undone if self._made == self.made else ()
        self._undone = [*kept, undone]
        self._made = self.made

    def _take(self, kind: Change) -> _UndoneEdit | _UndoneRefinement | None:
        if self.next_redo(kind) is None:
            return None
        return next(one for one in reversed(self._undone) if one.kind is kind)

    def _drop(self, undone: _UndoneEdit | _UndoneRefinement) -> None:
        """Take a change off the list: it was made again."""
        self._undone = [one for one in self._undone if one is not undone]
        self._made = self.made
