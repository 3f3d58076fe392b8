"""Undo and redo of a session: edits, refinement, and paint that was discarded."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from napari_twostage.errors import SelectionError
from napari_twostage.geometry import Box
from napari_twostage.result.undoing import Change
from napari_twostage.session import tasks
from napari_twostage.session.editing import EditState
from napari_twostage.session.events import EditsChanged, Notice, TilesChanged
from napari_twostage.session.upkeep import Reported, curve_of, stand

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from napari_twostage.engine.segmentation import Segmentation
    from napari_twostage.session.editing import Edit
    from napari_twostage.session.scheduler import Scheduler
    from napari_twostage.session.state import SessionState

    Act = Callable[[Segmentation], Iterator[object]]

_NOT_NOW = "the last change is a refinement: end the run or the edit that is open first"


class SessionHistory:
    """Commands that undo and redo changes of a session's result.

    Parameters
    ----------
    state : SessionState
        State of the session.
    edit : Edit
        Its open edit.
    jobs : Scheduler
        Its jobs.
    """

    def __init__(self, state: SessionState, edit: Edit, jobs: Scheduler) -> None:
        self._state = state
        self._edit = edit
        self._jobs = jobs
        self._made = 0
        """Changes that were made when paint was discarded last."""

    def paint_discarded(self) -> None:
        """Remember that paint was discarded after all changes until now."""
        if self._state.seg is not None:
            self._made = self._state.seg.undoing.made

    @property
    def next_undo(self) -> Change | None:
        """The change that `undo` undoes; None if there is none."""
        seg = self._state.seg
        return None if seg is None else seg.undoing.next_undo

    def next_redo(self, kind: Change | None = None) -> Change | None:
        """The change, of one kind or any, that `redo` makes again; None if there is none."""
        seg = self._state.seg
        return None if seg is None else seg.undoing.next_redo(kind)

    @property
    def can_undo_refinement(self) -> bool:
        """Whether `undo_refinement` is possible now."""
        seg = self._state.seg
        return seg is not None and self._may_change_tiles and seg.undoing.can_undo_refinement

    @property
    def can_redo_refinement(self) -> bool:
        """Whether `redo_refinement` is possible now."""
        return self._may_change_tiles and self.next_redo(Change.REFINEMENT) is not None

    def undo(self) -> None:
        """Undo what was done last: discarded paint, an edit or a refinement.

        What must end first is said.
        """
        seg = self._state.seg
        if seg is None or (self.next_undo is None and self._edit.discarded is None):
            self._state.say("nothing to undo")
        elif self._edit.discarded is not None and self._made == seg.undoing.made:
            self.bring_back_paint()
        else:
            self._start("undo", partial(_undo_last, tiles=self._may_change_tiles))

    def redo(self) -> None:
        """Make the change again that was undone last."""
        if self.next_redo() is None:
            self._state.say("nothing to redo")
        else:
            self._start("redo", partial(_redo_last, tiles=self._may_change_tiles))

    def undo_edit(self) -> None:
        """Undo the last edit as one step."""
        self._start("undo", tasks.undo)

    def redo_edit(self) -> None:
        """Make the edit again that was undone last."""
        self._start("redo", _redo_edit)

    def undo_refinement(self) -> None:
        """Take the last run's refined tiles back as one step.

        Raises
        ------
        SelectionError
            If a run is under way, or an edit is open.
        """
        self._require_quiet()
        self._start("undo", _undo_refinement)

    def redo_refinement(self) -> None:
        """Bring back the refined tiles that were taken back last; raises as `undo_refinement`."""
        self._require_quiet()
        self._start("redo", _redo_refinement)

    def bring_back_paint(self) -> None:
        """Open the edit again that was discarded, with what was painted in it.

        Raises
        ------
        SelectionError
            If there is none.
        """
        seg = self._state.seg
        if seg is None or self._edit.discarded is None:
            raise SelectionError("nothing that was painted was discarded")
        box = self._edit.begin_again()
        self._state.say("the edit is open again, with what you painted")
        self._jobs.add_task(
            "edit", lambda _job: tasks.read_patch(seg, box), on_end=self._edit.read_ended
        )

    def _start(self, name: str, act: Act) -> None:
        seg = self._state.seg
        if seg is None:
            raise SelectionError("there is no result yet; run the quick pass first")
        work = partial(act, seg)
        self._jobs.add_task(name, lambda _job: work(), must_finish=True, before_run=True)

    @property
    def _may_change_tiles(self) -> bool:
        return not self._state.running and self._state.edit_state is EditState.NONE

    def _require_quiet(self) -> None:
        if self._state.running:
            raise SelectionError("a run is under way; wait for its end, or cancel it first")
        if self._state.edit_state is not EditState.NONE:
            raise SelectionError("an edit is open; commit or discard it first")


def _undo_last(seg: Segmentation, *, tiles: bool) -> Iterator[object]:
    """Undo the last change, as it is now: others may have been undone while this one waited."""
    match seg.undoing.next_undo:
        case Change.EDIT:
            yield from tasks.undo(seg)
        case Change.REFINEMENT if tiles:
            yield from _undo_refinement(seg)
        case Change.REFINEMENT:
            yield Notice(_NOT_NOW, "warning")
        case None:
            yield Notice("nothing to undo")


def _redo_last(seg: Segmentation, *, tiles: bool) -> Iterator[object]:
    """Make the change again that was undone last, as it is now."""
    match seg.undoing.next_redo():
        case Change.EDIT:
            yield from _redo_edit(seg)
        case Change.REFINEMENT if tiles:
            yield from _redo_refinement(seg)
        case Change.REFINEMENT:
            yield Notice(_NOT_NOW, "warning")
        case None:
            yield Notice("nothing to redo")


def _redo_edit(seg: Segmentation) -> Iterator[object]:
    """Make the last undone edit again."""
    before = Reported(edits=seg.edit_boxes)
    if seg.undoing.redo_edit() is None:
        yield Notice("there is no edit to make again")
        return
    yield EditsChanged(before.changed_edits(seg))
    yield Notice("the edit is back")


def _undo_refinement(seg: Segmentation) -> Iterator[object]:
    """Take the last refinement back."""
    tiles = seg.undoing.undo_refinement()
    said = f"refinement of {_count(tiles)} undone: coarse labels again; edits stay"
    yield from _changed(seg, tiles, said if tiles.any() else "there is no refinement to undo")


def _redo_refinement(seg: Segmentation) -> Iterator[object]:
    """Bring the last undone refinement back."""
    tiles = seg.undoing.redo_refinement()
    said = f"refinement of {_count(tiles)} is back"
    yield from _changed(seg, tiles, said if tiles.any() else "there is no refinement to redo")


def _changed(seg: Segmentation, tiles: NDArray[np.bool_], said: str) -> Iterator[object]:
    """Events that follow from tiles that are no longer refined, or are again."""
    if tiles.any():
        box = Box.around(tiles).scaled(seg.tiles.tile_px).clip(seg.grid.shape)
        yield TilesChanged(box)
        yield curve_of(seg, seg.seconds_per_tile)
        yield stand(seg)
    yield Notice(said)


def _count(tiles: NDArray[np.bool_]) -> str:
    count = int(tiles.sum())
    return f"{count:,} tile{'s' * (count != 1)}"
