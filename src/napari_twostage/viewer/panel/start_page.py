"""What an empty panel offers: a slide of the user, the sample, or one that was open before."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog, QLabel, QVBoxLayout, QWidget

from napari_twostage.slides import formats
from napari_twostage.viewer.panel.parts import host_button
from napari_twostage.viewer.settings import PLUGIN

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_twostage.io.paths import Location
    from napari_twostage.session import RunMemory
    from napari_twostage.viewer.panel.host import PanelHost

SAMPLE = "skin"
"""Key of the sample slide in the manifest."""
MOST_RECENT = 5


class StartPage(QWidget):
    """Buttons that open a slide.

    Parameters
    ----------
    host : PanelHost
        Panel that contains the page.
    viewer : ViewerModel
        Viewer that slides are opened in.
    memory : RunMemory
        Knows the slides of earlier runs.
    """

    def __init__(self, host: PanelHost, viewer: ViewerModel, memory: RunMemory) -> None:
        super().__init__()
        self.setObjectName("start_page")
        self._host = host
        self._viewer = viewer
        intro = QLabel(
            "A quick pass over the whole slide shows where labels are doubtful; "
            "only there they are refined at full resolution."
        )
        intro.setWordWrap(True)
        hint = QLabel("A slide can also be dropped on the window: a file, or an OME-Zarr folder.")
        hint.setWordWrap(True)
        self._recent_title = QLabel("Recent slides")
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(8, 8, 8, 8)
        self._column.setSpacing(8)
        for part in (
            intro,
            host_button(
                host, "open_slide", "Open slide…", "Choose the file of a slide", self._open
            ),
            host_button(
                host, "open_sample", "Try the sample",
                "Open a small slide of skin that comes with the plugin", self._open_sample,
            ),
            hint,
            self._recent_title,
        ):  # fmt: skip
            self._column.addWidget(part)
        self._column.addStretch()
        self._show_recent(memory)

    def _show_recent(self, memory: RunMemory) -> None:
        slides = memory.recent_slides(MOST_RECENT)
        self._recent_title.setVisible(bool(slides))
        for place in slides:
            made = host_button(
                self._host, "recent_slide", place.name, str(place), partial(self._open_at, place)
            )
            made.setStyleSheet("text-align: left;")
            made.setCursor(Qt.CursorShape.PointingHandCursor)
            self._column.insertWidget(self._column.count() - 1, made)

    def _open(self) -> None:
        patterns = " ".join(formats.viewer_patterns())
        name, _ = QFileDialog.getOpenFileName(
            self, "Open a slide", "", f"Slides ({patterns});;All files (*)"
        )
        if name:
            self._viewer.open(name, plugin=PLUGIN)

    def _open_sample(self) -> None:
        self._viewer.open_sample(PLUGIN, SAMPLE)

    def _open_at(self, place: Location) -> None:
        self._viewer.open(str(place), plugin=PLUGIN)
