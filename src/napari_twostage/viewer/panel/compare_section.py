"""Section that compares the labels with those before refinement, and takes refinement back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QLabel

from napari_twostage.viewer.colormaps import INKS, Ink
from napari_twostage.viewer.panel.parts import (
    Swatch,
    button_grid,
    host_button,
    in_a_row,
    session_button,
)
from napari_twostage.viewer.panel.section import Section

if TYPE_CHECKING:
    from napari_twostage.session import Session
    from napari_twostage.viewer.comparison import Comparison
    from napari_twostage.viewer.panel.host import PanelHost


class CompareSection(Section):
    """Button that shows coarse labels, mark of changed pixels, their number, and the way back.

    Parameters
    ----------
    host : PanelHost
        Panel that contains the section.
    """

    def __init__(self, host: PanelHost) -> None:
        super().__init__("Compare")
        self._host = host
        self._counted: tuple[object, int] | None = None
        """Result, and its number of events, that were last counted."""
        grid, layout = button_grid()
        self.before = host_button(
            host, "compare", "Before refinement",
            "Show the coarse labels in place of those now, until pressed again; "
            "on the canvas, hold C, or Shift+C over a layer of one channel",
            self._toggle_before,
        )  # fmt: skip
        self.before.setCheckable(True)
        self.undo = session_button(
            host, "undo_refinement", "Undo refinement",
            "Take back all tiles of the last refinement as one step; edits stay (Ctrl+Z)",
            lambda session: session.history.undo_refinement(),
        )  # fmt: skip
        self.redo = session_button(
            host, "redo_refinement", "Redo refinement",
            "Bring back the tiles that were taken back; nothing is computed again (Ctrl+Shift+Z)",
            lambda session: session.history.redo_refinement(),
        )  # fmt: skip
        layout.addWidget(self.before, 0, 0, 1, 2)
        layout.addWidget(self.undo, 1, 0)
        layout.addWidget(self.redo, 1, 1)
        self.changed = QCheckBox("Changed pixels")
        self.changed.setObjectName("changed_pixels")
        self.changed.setAccessibleName("Changed pixels")
        self.changed.setToolTip("Mark all pixels whose label refinement changed")
        self.changed.clicked.connect(lambda _on: host.do(self._toggle_changed))
        self._said = QLabel()
        self._said.setObjectName("changes")
        self._said.setTextFormat(Qt.TextFormat.PlainText)
        self._said.setWordWrap(True)
        self.body.addWidget(grid)
        self.body.addWidget(in_a_row(self.changed, Swatch(INKS[Ink.CHANGED][:7])))
        self.body.addWidget(self._said)

    def show_session(self, session: Session) -> None:
        """Show what is compared, and what refinement has changed."""
        comparison, seg = self._comparison, session.seg
        refined = seg is not None and bool(seg.refined.any())
        free = comparison is not None and session.editing is None
        before = comparison is not None and comparison.shows_before
        marked = comparison is not None and comparison.shows_changed
        self.before.setEnabled(free and (refined or before))
        self.before.setChecked(before)
        self.changed.setEnabled(free and (refined or marked))
        self.changed.setChecked(marked)
        self.undo.setEnabled(session.history.can_undo_refinement)
        self.redo.setEnabled(session.history.can_redo_refinement)
        changes = session.changes
        self._said.setVisible(changes is not None)
        self._said.setText("" if changes is None else changes.describe())
        self._said.setToolTip("" if changes is None else changes.describe_objects())

    @property
    def _comparison(self) -> Comparison | None:
        layers = self._host.layers
        return None if layers is None else layers.comparison

    def _toggle_before(self) -> None:
        if (comparison := self._comparison) is not None:
            comparison.show_before(not comparison.shows_before)
            self._count(wanted=comparison.shows_before)

    def _toggle_changed(self) -> None:
        if (comparison := self._comparison) is not None:
            comparison.show_changed(not comparison.shows_changed)
            self._count(wanted=comparison.shows_changed)

    def _count(self, *, wanted: bool) -> None:
        """Count what was changed, unless that is known, asked for, or out of date at once."""
        session = self._host.session
        if not wanted or session.running or session.seg is None or session.changes is not None:
            return
        labels = session.seg.path, session.seg.events_taken
        if labels != self._counted or not session.busy:
            self._counted = labels
            session.compare()
