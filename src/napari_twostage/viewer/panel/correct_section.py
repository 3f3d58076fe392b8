"""Section to correct labels by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QButtonGroup, QLabel, QPushButton

from napari_twostage.result.undoing import Change
from napari_twostage.session import EditState, Session
from napari_twostage.viewer.panel.parts import button_grid, host_button, session_button
from napari_twostage.viewer.panel.section import Section

if TYPE_CHECKING:
    from qtpy.QtWidgets import QAbstractButton

    from napari_twostage.viewer.panel.host import PanelHost
    from napari_twostage.viewer.panel.view_actions import ViewActions


class CorrectSection(Section):
    """Buttons to edit labels at full resolution, and a brush for each class.

    Parameters
    ----------
    host : PanelHost
        Panel that contains the section.
    actions : ViewActions
        Actions that need the viewer.
    """

    def __init__(self, host: PanelHost, actions: ViewActions) -> None:
        super().__init__("Correct")
        self._host = host
        self._hint = QLabel()
        self._hint.setWordWrap(True)
        grid, layout = button_grid()

        self.edit = host_button(
            host, "edit_here", "Edit here",
            "Open the labels in view, up to 4096 × 4096 pixels, to paint on (Alt+E)",
            actions.start_edit,
        )  # fmt: skip
        self.commit = host_button(
            host, "commit_edit", "Commit",
            "Keep what was painted; refinement leaves it (Alt+Return)", actions.commit_edit,
        )  # fmt: skip
        self.discard = host_button(
            host, "discard_edit", "Discard", "Close the edit without keeping what was painted",
            actions.discard_edit,
        )  # fmt: skip
        self.undo = session_button(
            host, "undo_edit", "Undo last edit",
            "Take the last committed edit back as one step (Ctrl+Z)", Session.undo_edit,
        )  # fmt: skip
        self.redo = session_button(
            host, "redo_edit", "Redo edit",
            "Make the edit again that was undone last (Ctrl+Shift+Z)",
            lambda session: session.history.redo_edit(),
        )  # fmt: skip
        layout.addWidget(self.edit, 0, 0, 1, 2)
        layout.addWidget(self.commit, 1, 0)
        layout.addWidget(self.discard, 1, 1)
        layout.addWidget(self.undo, 2, 0)
        layout.addWidget(self.redo, 2, 1)
        self._brushes, self._brush_layout = button_grid()
        self._brush_group = QButtonGroup(self)
        self._brush_group.idClicked.connect(self._select_brush)
        self._classes: tuple[object, ...] = ()
        self.body.addWidget(grid)
        self.body.addWidget(self._brushes)
        self.body.addWidget(self._hint)

    @property
    def keys(self) -> dict[str, QAbstractButton]:
        """Shortcuts of editing."""
        return {"Alt+E": self.edit, "Alt+Return": self.commit}

    def show_session(self, session: Session) -> None:
        """Show whether an edit is open, and the number of saved edits."""
        editing, seg = session.editing is not None, session.seg
        self.edit.setEnabled(session.coarse_done and session.edit_state is EditState.NONE)
        for one in (self.commit, self.discard):
            one.setEnabled(session.edit_state is EditState.OPEN)
        edits = 0 if seg is None else len(seg.edit_boxes)
        self.undo.setEnabled(edits > 0 and not editing)
        self.redo.setEnabled(session.history.next_redo(Change.EDIT) is not None and not editing)
        self._brushes.setVisible(editing)
        self._hint.setVisible(editing)
        if editing and session.card is not None:
            self._make_brushes(session)
            self._hint.setText("Paint on the edit layer with napari's own tools, then commit.")
        self.set_status(f"{edits:,} edit{'s' if edits != 1 else ''}" if seg is not None else "")

    def _make_brushes(self, session: Session) -> None:
        """Make a button for each class, in its colour, and one for the background, which erases."""
        if session.card is None or self._classes == session.card.classes:
            return
        self._classes = session.card.classes
        for old in self._brush_group.buttons():
            self._brush_group.removeButton(old)
            old.deleteLater()
        brushes = [("background", "#00000000", 0)]
        brushes = [(c.name, c.color, c.value) for c in session.card.classes] + brushes
        for place, (name, color, value) in enumerate(brushes):
            brush = QPushButton(name)
            brush.setCheckable(True)
            brush.setChecked(place == 0)
            brush.setToolTip(f"Paint {name}")
            brush.setStyleSheet(f"QPushButton {{ border-left: 8px solid {color}; }}")
            self._brush_group.addButton(brush, value)
            self._brush_layout.addWidget(brush, place // 2, place % 2)

    def _select_brush(self, value: int) -> None:
        layers = self._host.layers
        if layers is not None and layers.edit is not None:
            layers.edit.selected_label = value
