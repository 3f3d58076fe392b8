"""Section 6: the user's own hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QButtonGroup, QLabel, QPushButton

from napari_twostage.session import EditState, Session
from napari_twostage.viewer.panel.buttons import button, button_grid
from napari_twostage.viewer.section import Section

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_twostage.viewer.panel.host import Desk


class CorrectSection(Section):
    """Edit a place at full resolution.

    Parameters
    ----------
    desk : Desk
    edit, commit : callable
        What needs the viewer: begin with what is in view, keep what was painted.
    """

    def __init__(self, desk: Desk, *, edit: Callable[[], None], commit: Callable[[], None]) -> None:
        super().__init__("Correct", 6)
        self._desk = desk
        self._hint = QLabel()
        self._hint.setWordWrap(True)
        grid, layout = button_grid()

        def ask(name: str, text: str, tip: str, press: Callable[[], object]) -> QPushButton:
            return button(name, text, tip, lambda: desk.do(press))

        self.edit = ask(
            "edit_here", "Edit here",
            "Open the labels in view, up to 4096 × 4096 pixels, to paint on (Alt+E)", edit,
        )  # fmt: skip
        self.commit = ask(
            "commit_edit", "Commit", "Keep what was painted; refinement leaves it (Alt+Return)",
            commit,
        )  # fmt: skip
        self.discard = ask(
            "discard_edit", "Discard", "Close the edit and forget it",
            lambda: Session.discard_edit(desk.session),
        )  # fmt: skip
        self.undo = ask(
            "undo_edit", "Undo last edit", "Take the last committed edit back as one step",
            lambda: Session.undo_edit(desk.session),
        )  # fmt: skip
        layout.addWidget(self.edit, 0, 0, 1, 2)
        layout.addWidget(self.commit, 1, 0)
        layout.addWidget(self.discard, 1, 1)
        layout.addWidget(self.undo, 2, 0, 1, 2)
        self._brushes, self._brush_layout = button_grid()
        self._brush_group = QButtonGroup(self)
        self._brush_group.idClicked.connect(self._pick)
        self._classes: tuple[object, ...] = ()
        self.body.addWidget(grid)
        self.body.addWidget(self._brushes)
        self.body.addWidget(self._hint)

    def show_session(self, session: Session) -> None:
        """Show whether an edit is open, and how many there are."""
        editing, seg = session.editing is not None, session.seg
        self.edit.setEnabled(session.coarse_done and session.edit_state is EditState.NONE)
        for one in (self.commit, self.discard):
            one.setEnabled(session.edit_state is EditState.OPEN)
        edits = 0 if seg is None else len(seg.edit_boxes)
        self.undo.setEnabled(edits > 0 and not editing)
        self._brushes.setVisible(editing)
        self._hint.setVisible(editing)
        if editing and session.card is not None:
            self._offer_brushes(session)
            self._hint.setText("Paint on the edit layer with napari's own tools, then commit.")
        self.set_status(f"{edits:,} edit{'s' if edits != 1 else ''}" if seg is not None else "")

    def _offer_brushes(self, session: Session) -> None:
        """One button per class, in its colour; the background erases."""
        if session.card is None or self._classes == session.card.classes:
            return
        self._classes = session.card.classes
        for old in self._brush_group.buttons():
            self._brush_group.removeButton(old)
            old.deleteLater()
        offered = [("background", "#00000000", 0)]
        offered = [(c.name, c.color, c.value) for c in session.card.classes] + offered
        for place, (name, color, value) in enumerate(offered):
            brush = QPushButton(name)
            brush.setCheckable(True)
            brush.setChecked(place == 0)
            brush.setToolTip(f"Paint {name}")
            brush.setStyleSheet(f"QPushButton {{ border-left: 8px solid {color}; }}")
            self._brush_group.addButton(brush, value)
            self._brush_layout.addWidget(brush, place // 2, place % 2)

    def _pick(self, value: int) -> None:
        layers = self._desk.layers
        if layers is not None and layers.edit is not None:
            layers.edit.selected_label = value
