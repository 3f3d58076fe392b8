"""List of the runs on a slide; a click opens one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, QSize, Qt, Signal
from qtpy.QtWidgets import QListWidget, QListWidgetItem, QSizePolicy, QWidget

from napari_twostage.viewer.panel.parts import LabelFont

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_twostage.io.paths import Location
    from napari_twostage.session import SlideRun

MOST_SHOWN = 3
"""Runs that are in view at once."""


class RunList(QListWidget):
    """Runs on a slide, two lines each: how it was made, and how far it came.

    Parameters
    ----------
    parent : QWidget, optional
    """

    chosen = Signal(object)
    """Folder of the run that was clicked."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("runs")
        self.setAccessibleName("Runs on this slide")
        self.setToolTip("Runs on this slide; click one to open it. Each stays as it is.")
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._label_font = LabelFont(self)
        self._runs: tuple[SlideRun, ...] = ()
        self.itemClicked.connect(self._choose)
        self.itemActivated.connect(self._choose)  # with the keyboard

    def show_runs(self, runs: Sequence[SlideRun], opened: Location | None) -> None:
        """Show runs, the open one marked.

        Parameters
        ----------
        runs : sequence of SlideRun
        opened : Path or Url, optional
            Folder of the run that is open.
        """
        with QSignalBlocker(self):
            if tuple(runs) != self._runs:
                self._runs = tuple(runs)
                self.clear()
                for run in runs:
                    self.addItem(self._item(run))
            paths = [run.path for run in self._runs]
            self.setCurrentRow(paths.index(opened) if opened in paths else -1)
        self.setFont(self._label_font.current())
        self.setVisible(bool(runs))
        self.updateGeometry()

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """As high as its runs, up to `MOST_SHOWN`."""
        rows = min(max(self.count(), 1), MOST_SHOWN)
        height = max(self.sizeHintForRow(0), 2 * self.fontMetrics().lineSpacing())
        return QSize(200, rows * height + 2 * self.frameWidth())

    def minimumSizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """No higher than its runs."""
        return QSize(0, self.sizeHint().height())

    def _item(self, run: SlideRun) -> QListWidgetItem:
        item = QListWidgetItem(f"{run.describe()}\n{run.describe_progress()}")
        item.setToolTip(str(run.path))
        item.setData(Qt.ItemDataRole.UserRole, run.path)
        return item

    def _choose(self, item: QListWidgetItem) -> None:
        self.chosen.emit(item.data(Qt.ItemDataRole.UserRole))
