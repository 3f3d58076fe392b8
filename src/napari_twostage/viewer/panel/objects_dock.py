"""Dock below the picture with the table of objects."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, cast

from qtpy.QtCore import QEvent, QItemSelectionModel, Qt, Signal
from qtpy.QtGui import QGuiApplication, QKeySequence
from qtpy.QtWidgets import (
    QAbstractItemView,
    QDockWidget,
    QHeaderView,
    QLabel,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from napari_twostage.measure.object_filter import describe_choice
from napari_twostage.viewer.panel.objects_model import COLUMNS, ObjectsModel

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.viewer import Viewer
    from qtpy.QtCore import QModelIndex
    from qtpy.QtGui import QKeyEvent

    from napari_twostage.measure.object_at import FoundObject
    from napari_twostage.measure.object_list import ObjectList
    from napari_twostage.session import Session

TITLE = "Objects"
MOST_COPIED = 100_000
"""Rows that are copied at once; more belong into a file."""


class _View(QTableView):
    """View of a table whose selected rows can be copied, to paste into a spreadsheet."""

    def __init__(self, model: ObjectsModel) -> None:
        super().__init__()
        self._objects = model
        self.setModel(model)
        self.setObjectName("objects_view")
        self.setAccessibleName("Table of objects")
        self.setToolTip("A row moves the picture to its object. Ctrl+C copies rows.")
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setWordWrap(False)
        rows = cast("QHeaderView", self.verticalHeader())
        rows.hide()
        # of one height: else Qt asks every row for its own
        rows.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        rows.setDefaultSectionSize(self.fontMetrics().height() + 6)
        columns = cast("QHeaderView", self.horizontalHeader())
        columns.setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
        self.setSortingEnabled(True)
        for place, column in enumerate(COLUMNS):
            width = self.fontMetrics().horizontalAdvance(column.title)
            self.setColumnWidth(place, max(width + 34, 76))

    @property
    def selection(self) -> QItemSelectionModel:
        """Selected rows."""
        return cast("QItemSelectionModel", self.selectionModel())

    def keyPressEvent(self, event: QKeyEvent | None) -> None:  # noqa: N802 - Qt's name
        """Copy the selected rows."""
        if event is None or not event.matches(QKeySequence.StandardKey.Copy):
            super().keyPressEvent(event)
            return
        clipboard = QGuiApplication.clipboard()
        rows = sorted({index.row() for index in self.selection.selectedRows()})
        lines = [[column.title for column in COLUMNS]]
        lines += [[self._objects.text(row, one) for one in COLUMNS] for row in rows[:MOST_COPIED]]
        if clipboard is not None:
            clipboard.setText("\n".join("\t".join(line) for line in lines))


class ObjectsTable(QWidget):
    """Table of the objects of a session, and a line that says how many are within the limits."""

    picked = Signal(int)
    """Place in the list of the object whose row the user has chosen."""
    closed = Signal()
    """Its dock was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("objects_table")
        self._docked = False
        self._objects: ObjectList | None = None
        self._within: object = None
        self._found: FoundObject | None = None
        self._place: int | None = None
        self._showing = False
        self.model = ObjectsModel()
        self.view = _View(self.model)
        self.model.modelReset.connect(self._choose_row)
        self.view.selection.currentRowChanged.connect(self._row_changed)
        self._said = QLabel()
        self._said.setObjectName("objects_said")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.setSpacing(4)
        layout.addWidget(self._said)
        layout.addWidget(self.view, stretch=1)

    def show_session(self, session: Session) -> None:
        """Show the objects of a session that are within its limits, and the selected one."""
        own = session.objects
        within, listed, before = own.within, own.listed, self._place
        # while the user walks on through the rows, what was found of the last one is of no interest
        followed = own.selected is not self._found and not own.asked_again
        if followed or listed is not self._objects:
            found = self._found = own.selected
            self._place = None
            if listed is not None and found is not None:
                self._place = listed.place_of(found.first_pixel)
        if listed is not self._objects:
            self._objects = listed
            classes = () if session.card is None else session.card.classes
            self.model.set_objects(listed, classes)
        if within is not self._within:
            self._within = within
            self.model.set_within(within)
        elif self._place != before:
            self._choose_row()
        self._said.setText(_said(session))

    def event(self, event: QEvent | None) -> bool:
        """Go when napari closes the dock, which unparents the table without closing it."""
        if event is not None and event.type() == QEvent.Type.ParentChange:
            if self.parent() is None and self._docked:
                self.closed.emit()
                self.deleteLater()
            self._docked = self.parent() is not None
        return bool(super().event(event))

    def _choose_row(self) -> None:
        """Select the row of the selected object, if it is shown."""
        row = self.model.row_of(self._place)
        self._showing = True
        if row is None:
            self.view.clearSelection()
            self.view.setCurrentIndex(self.model.index(-1, -1))
        else:
            index = self.model.index(row, 0)
            rows = QItemSelectionModel.SelectionFlag
            self.view.selection.setCurrentIndex(index, rows.ClearAndSelect | rows.Rows)
            self.view.scrollTo(index, QAbstractItemView.ScrollHint.EnsureVisible)
        self._showing = False

    def _row_changed(self, now: QModelIndex, _before: QModelIndex) -> None:
        place = self.model.place_at(now.row()) if now.isValid() else None
        if place is not None and not self._showing:
            self._place = place
            self.picked.emit(place)


def _said(session: Session) -> str:
    own = session.objects
    if own.listed is None:
        return "List objects, in the panel, fills this table."
    text = describe_choice(own.listed, own.within)
    return f"{text} · labels have changed since: list again" if own.outdated else text


class ObjectsDock:
    """The table in a dock, for as long as the user leaves that open.

    Parameters
    ----------
    viewer : napari.Viewer
        Viewer whose window gets the dock.
    picked : callable
        Called with the place in the list of the object whose row the user has chosen.
    """

    def __init__(self, viewer: Viewer, picked: Callable[[int], None]) -> None:
        self._viewer = viewer
        self._picked = picked
        self._dock: QDockWidget | None = None
        self.table: ObjectsTable | None = None
        """None until it is shown, and once its dock was closed."""

    def show(self, session: Session) -> None:
        """Show the table of a session, before docks that share its place."""
        if self.table is None:
            self.table = ObjectsTable()
            self.table.picked.connect(self._picked)
            self.table.closed.connect(self._forget)
            self._dock = self._viewer.window.add_dock_widget(
                self.table, name=TITLE, area="bottom", tabify=True, add_vertical_stretch=False
            )
        if self._dock is not None:
            self._dock.show()
            self._dock.raise_()
        self.show_session(session)

    def show_session(self, session: Session) -> None:
        """Show the state of a session, if there is a table."""
        if self.table is not None:
            self.table.show_session(session)

    def close(self) -> None:
        """Remove the dock."""
        if self.table is not None:
            with suppress(LookupError):  # the window is closing, too
                self._viewer.window.remove_dock_widget(self.table)

    def _forget(self) -> None:
        self.table = self._dock = None
