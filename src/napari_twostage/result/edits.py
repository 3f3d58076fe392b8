"""Edits by the user: labels above everything computed, undone one by one.

An edit and its undo are each committed by one line of the journal. The labels from before and
after are saved first, in a file of the edit's own; the arrays are written last. Whatever a crash
leaves in between is finished by the next writer, and shown as finished until then.
"""

from __future__ import annotations

import logging
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from napari_twostage.errors import DamagedFileError, SegmentationError
from napari_twostage.geometry import Box
from napari_twostage.io.durable import sync_folder
from napari_twostage.io.files import is_unreadable
from napari_twostage.io.paths import UNREADABLE, load_arrays, remove_file, save_arrays
from napari_twostage.result.journal_events import EditMade, EditStored, EditUndone
from napari_twostage.result.layout import UNSET

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from napari_twostage.io.paths import Location
    from napari_twostage.result.label_store import LabelStore
    from napari_twostage.result.tile_log import TileLog

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SavedEdit:
    """Painted labels of an edit's box, before and after it."""

    before: NDArray[np.uint8]
    after: NDArray[np.uint8] | None = None
    """None if version 0.1 made it."""
    box: Box | None = None
    """None if version 0.1 made it."""

    @classmethod
    def load(cls, file: Location) -> Self:
        """Read an edit's file.

        Raises
        ------
        DamagedFileError
            If it is missing or not what was saved.
        """
        try:
            saved = load_arrays(file)
            box = Box(*map(int, saved["box"])) if "box" in saved else None
            edit = cls(saved["before"], saved.get("after"), box)
            for labels in (edit.before, edit.after):
                if labels is not None and (
                    labels.dtype != np.uint8
                    or labels.ndim != 2
                    or (box is not None and labels.shape != box.shape)
                ):
                    raise ValueError(f"labels of {labels.shape}")
        except (*UNREADABLE, FileNotFoundError) as error:
            raise DamagedFileError(file) from error
        except OSError as error:
            if is_unreadable(error):
                raise DamagedFileError(file, error.strerror or "") from error
            raise
        return edit


class Edits:
    """Edits of a result.

    Parameters
    ----------
    folder : Path or Url
        Holds a file for each edit that stands; made with the first edit.
    store, log : LabelStore, TileLog
        Pixels and journal of the result.
    """

    def __init__(self, folder: Location, store: LabelStore, log: TileLog) -> None:
        self._folder = folder
        self._store = store
        self._log = log
        self._known = {edit.number for edit in log.edits}
        """Edits that this object may undo; others may come from another window."""
        self.follow()

    def follow(self) -> None:
        """Show the edits that the log has, those of other processes too."""
        waiting = []
        for event in self._log.unstored:
            with suppress(DamagedFileError):  # named by `settle`, and by a check
                waiting.append(self._waiting(event))
        behind = {event.number for event in self._log.unstored}
        edits = self._log.edits
        # version 0.1 removed what was empty
        stored = [edit.box for edit in edits if edit.waits and edit.number not in behind]
        self._store.show_edits((edit.box for edit in edits), waiting, stored)

    def add(self, box: Box, labels: NDArray[np.uint8]) -> None:
        """Add an edit, which `settle` completes; parameters and errors as for `Result.edit`.

        Only the writer may call.
        """
        labels = self.check(box, labels)
        with self._store.lock:
            before = self._store.read_edits(box)
            after = np.where(labels == UNSET, before, labels)
            number = self._log.edits_made
            self._make_folder()
            file = self.file(number)
            save_arrays(file, before=before, after=after, box=np.array(box.as_list()))
            try:
                self._log.record(EditMade(number, box), at_once=True)
            except BaseException:
                with suppress(OSError):
                    remove_file(file)
                raise
            self._known.add(number)
            self.follow()

    def undo(self) -> tuple[Box, NDArray[np.uint8]] | None:
        """Undo this object's last edit that stands, as `add`.

        Returns
        -------
        (Box, (height, width) uint8 array) or None
            What `add` takes to make it again; None if there is no such edit.
        """
        with self._store.lock:
            edit = self._last_own()
            if edit is None:
                return None
            before = SavedEdit.load(self.file(edit.number)).before
            if before.shape != edit.box.shape:
                raise DamagedFileError(self.file(edit.number))
            after = self._store.read_edits(edit.box)
            self._log.record(EditUndone(edit.number), at_once=True)
            self._known.discard(edit.number)
            self.follow()
        return edit.box, np.where(after == before, np.uint8(UNSET), after)

    def _make_folder(self) -> None:
        if isinstance(self._folder, Path) and not self._folder.exists():
            self._folder.mkdir(exist_ok=True)
            sync_folder(self._folder.parent)

    def _last_own(self) -> EditMade | None:
        """The last edit of this object that stands.

        Raises
        ------
        SegmentationError
            If an edit of another window lies over it.
        """
        above: list[EditMade] = []
        for edit in reversed(self._log.edits):
            if edit.number in self._known:
                break
            above.append(edit)
        else:
            return None
        if any(other.box.intersect(edit.box).area for other in above):
            raise SegmentationError(
                "the last edit cannot be undone: another window has edited the same place since; "
                "undo that edit there first"
            )
        return edit

    def settle(self) -> None:
        """Bring the arrays up to the journal. Only the writer may call."""
        for event in self._log.unstored:
            try:
                box, _ = self._waiting(event)
                self._store.store_edit(box)
            except DamagedFileError as error:  # nothing else has these labels
                log.warning("edit %d is lost: %s", event.number, error)
            self._log.record(EditStored(event.number))
            self.follow()
            if isinstance(event, EditUndone):
                self._store.remove_empty_edits(self._log.undone_boxes[event.number])
                self._log.commit()  # before its file goes
                remove_file(self.file(event.number))

    def recover(self) -> None:
        """Record edits that were saved and not recorded, or that the journal has lost.

        Only the writer may call.
        """
        for event in self.unrecorded():
            log.warning("edit %d was saved and is kept: the journal lacked it", event.number)
            self._log.record(event, at_once=True)
        self.follow()

    def show_unrecorded(self) -> int:
        """Show edits that `recover` will record from now on; returns how many there are.

        So a reader sees what the next writer keeps.
        """
        lacking = self.unrecorded()
        for event in lacking:
            self._log.assume(event)
            self._known.add(event.number)
        if lacking:
            self.follow()
        return len(lacking)

    def unrecorded(self) -> list[EditMade]:
        """Edits with a whole file that the journal does not have."""
        known = self._log.recorded_edits | self._log.undone_boxes.keys()
        found = (self._from_file(number) for number in sorted(self.numbers_on_disk() - known))
        return [event for event in found if event is not None]

    def _from_file(self, number: int) -> EditMade | None:
        """The event of an edit, from its file; None for one of version 0.1, or a damaged one."""
        try:
            saved = SavedEdit.load(self.file(number))
        except DamagedFileError:
            return None
        if saved.box is None or saved.after is None:
            return None
        inside = self._store.layout.fine.box.contains(saved.box)
        return EditMade(number, saved.box) if inside else None

    def paint_again(self, places: Iterable[Box]) -> None:
        """Paint places whose array is damaged from the files of the edits, as far as there are any.

        Only the writer may call.
        """
        painted = [(place, self._painted(place, self._log.edits)) for place in places]
        self._store.show_edits((edit.box for edit in self._log.edits), painted)
        for place, _ in painted:
            self._store.store_edit(place)
        self.follow()

    def save_again(self, edit: EditMade) -> None:
        """Write the file of an edit anew from the array and the edits before it."""
        before = self._painted(edit.box, (e for e in self._log.edits if e.number < edit.number))
        after = self._store.read_edits(edit.box)
        self._make_folder()
        box = np.array(edit.box.as_list())
        save_arrays(self.file(edit.number), before=before, after=after, box=box)

    def _painted(self, place: Box, edits: Iterable[EditMade]) -> NDArray[np.uint8]:
        """Labels that some edits painted in a place, from their files."""
        labels = np.full(place.shape, UNSET, np.uint8)
        for edit in edits:
            part = edit.box.intersect(place)
            if part.area:
                with suppress(DamagedFileError):
                    after = SavedEdit.load(self.file(edit.number)).after
                    if after is not None and after.shape == edit.box.shape:
                        inside = after[part.shift(-edit.box.top, -edit.box.left).slices]
                        labels[part.shift(-place.top, -place.left).slices] = inside
        return labels

    def remove_strays(self) -> None:
        """Remove files of edits that were never committed, or are undone."""
        for number in self.numbers_on_disk() - {edit.number for edit in self._log.edits}:
            remove_file(self.file(number))

    def numbers_on_disk(self) -> set[int]:
        """Numbers of the edits that have a file."""
        if not self._folder.exists():
            return set()
        found = (re.fullmatch(r"(\d{1,9})\.npz", file.name) for file in self._folder.iterdir())
        return {int(match[1]) for match in found if match}

    def file(self, number: int) -> Location:
        """File of an edit."""
        return self._folder / f"{number}.npz"

    def _waiting(self, event: EditMade | EditUndone) -> tuple[Box, NDArray[np.uint8]]:
        """Box and labels that an edit or an undo puts into it."""
        saved = SavedEdit.load(self.file(event.number))
        labels = saved.before if isinstance(event, EditUndone) else saved.after
        box = event.box if isinstance(event, EditMade) else self._log.undone_boxes[event.number]
        if labels is None or labels.shape != box.shape:
            raise DamagedFileError(self.file(event.number))
        if isinstance(event, EditMade):
            above = [edit for edit in self._log.edits if edit.number > event.number]
            if any(edit.box.intersect(box).area for edit in above):  # it was lost for a while
                over = self._painted(box, above)
                labels = np.where(over == UNSET, labels, over)
        return box, labels

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
