"""Model of the table of objects: sorted and filtered by whole columns, formatted when shown."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt
from qtpy.QtGui import QColor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.measure.object_list import ObjectList
    from napari_twostage.models import LabelClass

_NO_INDEX = QModelIndex()
NUMBER, CLASS = "number", "class"
"""Columns that are no measurements."""


@dataclass(frozen=True, slots=True)
class ShownColumn:
    """Column of the table."""

    name: str
    """Name in `ObjectList.numbers`, `NUMBER` or `CLASS`."""
    title: str
    form: str = ""
    """Format of its numbers."""
    tip: str = ""


COLUMNS = (
    ShownColumn(NUMBER, "No.", "d", "Counted from the top of the slide"),
    ShownColumn(CLASS, "Class"),
    ShownColumn("area_um2", "Area µm²", ",.1f"),
    ShownColumn("perimeter_um", "Perimeter µm", ",.1f"),
    ShownColumn("circularity", "Circularity", ".2f", "1 is a disc"),
    ShownColumn("major_axis_um", "Long axis µm", ",.1f"),
    ShownColumn("minor_axis_um", "Short axis µm", ",.1f"),
    ShownColumn("uncertainty_mean", "Uncertainty", ".3f", "Mean of the quick pass, 0 to 1"),
    ShownColumn("refined_fraction", "Refined", ".0%", "Part computed at full resolution"),
    ShownColumn("centroid_x_um", "x µm", ",.1f", "From the left edge of the slide"),
    ShownColumn("centroid_y_um", "y µm", ",.1f", "From the top edge of the slide"),
)


class ObjectsModel(QAbstractTableModel):
    """Objects of a list, of which those are shown that are within limits.

    A place is that of an object in the list; a row is that in the table as it is shown.
    """

    def __init__(self) -> None:
        super().__init__()
        self._objects: ObjectList | None = None
        self._classes: dict[int, LabelClass] = {}
        self._within: NDArray[np.bool_] = np.zeros(0, bool)
        self._sorting: tuple[int, bool] | None = None
        """Column, and whether the largest comes first; None leaves the order of the list."""
        self._sorted: NDArray[np.intp] = np.zeros(0, np.intp)
        """Places of all objects in the order of the sorting."""
        self._places: NDArray[np.intp] = np.zeros(0, np.intp)
        """Place of the object in each row."""

    # -- what is shown -----------------------------------------------------------------------------

    def set_objects(self, objects: ObjectList | None, classes: tuple[LabelClass, ...]) -> None:
        """Show other objects, all of them until `set_within`."""
        self.beginResetModel()
        self._objects = objects
        self._classes = {one.value: one for one in classes}
        self._within = np.ones(0 if objects is None else len(objects), bool)
        self._sort_all()
        self.endResetModel()

    def set_within(self, within: NDArray[np.bool_]) -> None:
        """Show only objects for which this is True: (n,)."""
        self.beginResetModel()
        self._within = within
        self._places = self._sorted[within[self._sorted]]
        self.endResetModel()

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column; objects without a number come last. -1 is the order of the list."""
        self.beginResetModel()
        descending = order == Qt.SortOrder.DescendingOrder
        self._sorting = (column, descending) if 0 <= column < len(COLUMNS) else None
        self._sort_all()
        self.endResetModel()

    def place_at(self, row: int) -> int | None:
        """Place of the object in a row; None if there is no such row."""
        return int(self._places[row]) if 0 <= row < len(self._places) else None

    def row_of(self, place: int | None) -> int | None:
        """Row of an object; None if it is not shown."""
        if place is None or place >= len(self._within) or not self._within[place]:
            return None
        return int(np.flatnonzero(self._places == place)[0])

    def _sort_all(self) -> None:
        objects = self._objects
        if objects is None:
            self._sorted = self._places = np.zeros(0, np.intp)
            return
        self._sorted = np.arange(len(objects))
        if self._sorting is not None:
            column, descending = self._sorting
            keys = _keys(objects, COLUMNS[column].name)
            self._sorted = np.argsort(-keys if descending else keys, kind="stable")
        self._places = self._sorted[self._within[self._sorted]]

    # -- asked by Qt -------------------------------------------------------------------------------

    def rowCount(self, parent: QModelIndex = _NO_INDEX) -> int:  # noqa: N802 - Qt's name
        """Objects that are shown."""
        return 0 if parent.isValid() else len(self._places)

    def columnCount(self, parent: QModelIndex = _NO_INDEX) -> int:  # noqa: N802 - Qt's name
        """Columns."""
        return 0 if parent.isValid() else len(COLUMNS)

    def headerData(  # noqa: N802 - Qt's name
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> object:
        """Titles and tooltips of the columns."""
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return COLUMNS[section].title
        return COLUMNS[section].tip or None if role == Qt.ItemDataRole.ToolTipRole else None

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        """Text of a cell, its alignment, or the colour of a class."""
        column = COLUMNS[index.column()]
        if role == Qt.ItemDataRole.DisplayRole:
            return self.text(index.row(), column)
        if role == Qt.ItemDataRole.TextAlignmentRole and column.name != CLASS:
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        if role == Qt.ItemDataRole.DecorationRole and column.name == CLASS:
            one = self._class_in(index.row())
            return None if one is None else QColor(one.color)
        return None

    def text(self, row: int, column: ShownColumn) -> str:
        """Text of a cell; ``…`` for what is still being measured."""
        place = self.place_at(row)
        if self._objects is None or place is None:
            return ""
        if column.name == CLASS:
            one = self._class_in(row)
            return "" if one is None else one.name
        if column.name == NUMBER:
            return f"{place + 1}"
        number = float(self._objects.numbers[column.name][place])
        return "…" if math.isnan(number) else format(number, column.form).replace("%", " %")

    def _class_in(self, row: int) -> LabelClass | None:
        place = self.place_at(row)
        if self._objects is None or place is None:
            return None
        return self._classes.get(int(self._objects.values[place]))


def _keys(objects: ObjectList, name: str) -> NDArray[np.floating]:
    """Numbers that a column is sorted by."""
    if name == NUMBER:
        return np.arange(len(objects), dtype=np.float64)
    if name == CLASS:
        return objects.values.astype(np.float64)
    return objects.numbers[name]
