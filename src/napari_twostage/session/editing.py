"""The edit of a session: which box is open for painting, and what was painted in it."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.errors import SelectionError
from napari_twostage.geometry import Box
from napari_twostage.result.layout import UNSET

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.engine.segmentation import Segmentation
    from napari_twostage.session.events import Patch, SessionEvents

EDIT_PX = 4096
"""Longest side, in pixels of the fine grid, of a box that can be edited."""


class EditState(Enum):
    """State of a session's edit."""

    NONE = "none"
    READING = "reading"
    """The labels of the box are being read."""
    OPEN = "open"
    """The labels can be painted on."""
    WRITING = "writing"
    """The painted labels are being written."""


_BEFORE: dict[EditState, frozenset[EditState]] = {
    EditState.NONE: frozenset(EditState),
    EditState.READING: frozenset({EditState.NONE}),
    EditState.OPEN: frozenset({EditState.READING, EditState.WRITING}),
    EditState.WRITING: frozenset({EditState.OPEN}),
}
"""States from which each state may be entered."""


class Edit:
    """State machine of the one edit that a session may have.

    ::

                begin             labels read          commit
        NONE ----------> READING -------------> OPEN ----------> WRITING
         ^                  |                   |  ^                |  |
         |   reading failed |                   |  +----------------+  |
         +<-----------------+           discard |    writing failed    |
         +<-------------------------------------+                      |
         +<------------------------------------------------------------+
                                   written

    Another result closes the edit in any state; labels that are being written are written.

    Parameters
    ----------
    events : SessionEvents
        Only `edit_started` and `edit_ended` are emitted.
    """

    def __init__(self, events: SessionEvents) -> None:
        self._events = events
        self._patch: Patch | None = None
        self.state = EditState.NONE
        self.unsaved = False
        """Whether the open edit was to be written, and could not be."""
        self.discarded: tuple[Box, NDArray[np.uint8]] | None = None
        """Box, and painted labels (`UNSET` elsewhere), of the last edit if it was discarded."""
        self._again: tuple[Box, NDArray[np.uint8]] | None = None
        """The same of one that is being opened again."""

    @property
    def patch(self) -> Patch | None:
        """Labels to paint on, as they were read; None unless an edit is open or being written."""
        return self._patch

    def begin(self, seg: Segmentation, place: Box) -> Box:
        """Begin to read a box of the slide's level 0.

        Returns
        -------
        Box
            The box on the fine grid.

        Raises
        ------
        SelectionError
            If it is larger than `EDIT_PX` on a side, outside the slide, or another edit is open.
        """
        if self.state is not EditState.NONE:
            raise SelectionError("another edit is open; commit or discard it first")
        box = seg.box_to_fine(place)
        if not box.area:
            raise SelectionError("the place lies outside the slide; move the view to the slide")
        if max(box.shape) > EDIT_PX:
            raise SelectionError(
                f"the place has {box.height:,} × {box.width:,} pixels, at most "
                f"{EDIT_PX:,} × {EDIT_PX:,} can be edited at once; zoom in"
            )
        self._enter(EditState.READING)
        self.discarded = self._again = None
        return box

    def begin_again(self) -> Box:
        """Begin to read the box of the edit that was discarded, to open it as it was.

        Raises
        ------
        SelectionError
            If there is none, or another edit is open.
        """
        if self.discarded is None or self.state is not EditState.NONE:
            raise SelectionError("another edit is open; commit or discard it first")
        self._enter(EditState.READING)
        self._again, self.discarded = self.discarded, None
        return self._again[0]

    def open(self, patch: Patch) -> None:
        """Offer the labels that were read, and what was painted on them before."""
        self._enter(EditState.OPEN)
        if self._again is not None:
            (_, pixels), self._again = self._again, None
            patch = replace(patch, painted=np.where(pixels == UNSET, patch.labels, pixels))
        self._patch = patch
        self._events.edit_started.emit(patch)

    def changes(
        self, seg: Segmentation, labels: NDArray[np.uint8]
    ) -> tuple[Box, NDArray[np.uint8]] | None:
        """Pixels of the open patch that were changed.

        Parameters
        ----------
        seg : Segmentation
            Result that is edited.
        labels : (height, width) uint8 array
            Labels of the patch after painting.

        Returns
        -------
        (Box, (height, width) uint8 array) or None
            Smallest box of the fine grid that holds all changes, and its labels, `UNSET` where
            nothing was changed; None if nothing was.

        Raises
        ------
        SelectionError
            If no edit is open, or it is being written already.
        SegmentationError
            If the shape or a value does not fit.
        """
        patch = self._require_open()
        pixels = _painted(patch, seg.check_edit(patch.box, labels))
        if pixels is None:
            return None
        part = Box.around(pixels != UNSET)
        return part.shift(patch.box.top, patch.box.left), pixels[part.slices]

    def is_painted(self, labels: NDArray[np.integer]) -> bool:
        """Whether labels differ from those of the open edit before it; False if none is open."""
        return self._patch is not None and not np.array_equal(labels, self._patch.labels)

    def write(self) -> None:
        """Leave the edit as it is until it has been written."""
        self._enter(EditState.WRITING)

    def discard(self, labels: NDArray[np.integer] | None = None) -> bool:
        """Close the open edit.

        Parameters
        ----------
        labels : (height, width) integer array, optional
            Labels after painting, to be kept for `begin_again`.

        Returns
        -------
        bool
            Whether something that was painted is kept.

        Raises
        ------
        SelectionError
            If no edit is open, or it is being written already.
        """
        patch = self._require_open()
        pixels = None if labels is None else _painted(patch, labels)
        self.close()
        if pixels is not None:
            self.discarded = patch.box, pixels
        return pixels is not None

    def close(self) -> None:
        """Close the edit, whatever its state."""
        self._enter(EditState.NONE)
        self.unsaved = False
        self.discarded = self._again = None
        if self._patch is not None:
            self._patch = None
            self._events.edit_ended.emit()

    def read_ended(self) -> None:
        """Close an edit that could not be read; one that was discarded stays so."""
        if self.state is EditState.READING:
            again = self._again
            self.close()
            self.discarded = again

    def write_ended(self) -> None:
        """Open an edit again that could not be written: painted labels must not be lost."""
        if self.state is EditState.WRITING:
            self._enter(EditState.OPEN)
            self.unsaved = True

    def require_saved(self) -> None:
        """Refuse to lose an edit that could not be written.

        Raises
        ------
        SelectionError
            If there is one.
        """
        if self.unsaved:
            raise SelectionError(
                "what you painted could not be saved yet; save it again, or discard it first"
            )

    def _require_open(self) -> Patch:
        if self.state is EditState.WRITING:
            raise SelectionError("the edit is being written already; wait a moment")
        if self._patch is None:
            raise SelectionError("no edit is open; begin one with Edit here")
        return self._patch

    def _enter(self, state: EditState) -> None:
        if self.state not in _BEFORE[state]:
            raise SelectionError(f"an edit that is {self.state.value} cannot become {state.value}")
        self.state = state


def _painted(patch: Patch, labels: NDArray[np.integer]) -> NDArray[np.uint8] | None:
    """Labels of a patch where they were changed, `UNSET` elsewhere; None if nowhere."""
    changed = labels != patch.labels
    if not changed.any():
        return None
    return np.where(changed, labels, UNSET).astype(np.uint8)
