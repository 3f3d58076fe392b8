"""Section to choose the slide, its pixel size and the result folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QLabel,
    QSizePolicy,
    QWidget,
)

from napari_twostage.viewer.panel.parts import (
    ElidedLabel,
    button,
    button_grid,
    form_row,
)
from napari_twostage.viewer.panel.picture_rows import PictureRows
from napari_twostage.viewer.panel.pixel_size_rows import PixelSizeRows
from napari_twostage.viewer.panel.run_list import RunList
from napari_twostage.viewer.panel.section import Section

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_twostage.io.paths import Location
    from napari_twostage.session import Session
    from napari_twostage.slides.base import Slide
    from napari_twostage.slides.scenes import Scene
    from napari_twostage.viewer.channel_layers import ChannelGroup
    from napari_twostage.viewer.panel.host import PanelHost


class SlideSection(Section):
    """Choice of the slide's layer, and its size, pixel size and result folder.

    Parameters
    ----------
    host : PanelHost
        Panel that contains the section.
    """

    def __init__(self, host: PanelHost) -> None:
        super().__init__("Slide")
        self._host = host
        self._groups: list[ChannelGroup] = []
        self._choice = QComboBox()
        self._choice.setObjectName("slide_layer")
        self._choice.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._size = QLabel()
        self._picture = PictureRows(host)
        self._pixel_size = PixelSizeRows(host)
        self._scene = QComboBox()
        self._scene.setObjectName("scene")
        self._scene.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._scenes = form_row("Scene", self._scene, "The scan to segment of a file with several")
        self._notes = QLabel()
        self._notes.setTextFormat(Qt.TextFormat.PlainText)
        self._notes.setWordWrap(True)
        self._out = ElidedLabel()
        self._runs = RunList()
        self._runs.chosen.connect(self._open_run)
        self.body.addWidget(form_row("Layer", self._choice, "The image layer to segment"))
        self.body.addWidget(self._scenes)
        self.body.addWidget(self._picture)
        self.body.addWidget(form_row("Size", self._size, "Width × height of the finest level"))
        self.body.addWidget(self._pixel_size)
        self.body.addWidget(self._notes)
        self.body.addWidget(self._runs)
        self.body.addWidget(
            form_row("Results in", self._out, "Folder of the result; written while you work")
        )
        self.body.addWidget(self._out_buttons())
        self._choice.currentIndexChanged.connect(self._chosen)
        self._scene.activated.connect(self._scene_chosen)

    def _out_buttons(self) -> QWidget:
        grid, layout = button_grid()
        for place, made in enumerate(
            (
                button(
                    "open_run", "Open earlier result…",
                    "Open the folder of an earlier result of this slide", self._choose_earlier,
                ),
                button(
                    "choose_out", "Save new results in…",
                    "Choose the folder of the next result; it is written while you work",
                    self._choose_out,
                ),
            )
        ):  # fmt: skip
            layout.addWidget(made, place, 0, 1, 2)
        return grid

    def set_groups(self, groups: Sequence[ChannelGroup], chosen: ChannelGroup | None) -> None:
        """Set the slides to choose from, and the chosen one; a slide of channels is one."""
        self._groups = list(groups)
        with QSignalBlocker(self._choice):
            self._choice.clear()
            self._choice.addItems([group.name for group in groups] or ["Open a slide"])
            self._choice.setEnabled(bool(groups))
            self._choice.setCurrentIndex(-1 if chosen is None else self._groups.index(chosen))
        self._picture.show_session(self._host.session)

    def show_session(self, session: Session) -> None:
        """Show the slide of a session; ask for the pixel size if it is missing."""
        slide, context = session.slide, self._host.context
        self._picture.show_session(session)
        self._pixel_size.show_session(session)
        self._show_scenes(slide)
        self._notes.setText("" if slide is None else "\n".join(_notices(slide)))
        self._notes.setVisible(bool(self._notes.text()))
        self._runs.show_runs(session.runs, None if session.seg is None else session.seg.path)
        self._out.setText(str(session.out) if session.out else "beside the slide")
        if slide is None:
            self._size.setText("")
            missing = context is not None and context.mpp_missing
            self.set_status("pixel size?" if missing else "none")
            return
        height, width = slide.level_shapes[0]
        y, x = slide.mpp
        self._size.setText(
            f"{width:,} × {height:,} px\n{width * x / 1000:.2f} × {height * y / 1000:.2f} mm"
        )
        self.set_status(f"{width:,} × {height:,} px")

    def _chosen(self, index: int) -> None:
        if 0 <= index < len(self._groups):
            self._host.choose_group(self._groups[index])

    def _show_scenes(self, slide: Slide | None) -> None:
        """Offer the scans of a file that holds several."""
        scans = [] if slide is None else [n for n, one in enumerate(slide.scenes) if one.scan]
        self._scenes.setVisible(len(scans) > 1)
        if slide is None or len(scans) < 2:
            return
        with QSignalBlocker(self._scene):
            self._scene.clear()
            for number in scans:
                self._scene.addItem(_scene_text(number, slide.scenes[number]), number)
            self._scene.setCurrentIndex(self._scene.findData(slide.picture.scene))

    def _scene_chosen(self, index: int) -> None:
        self._host.choose_scene(int(self._scene.itemData(index)))

    def _open_run(self, folder: Location) -> None:
        session = self._host.session
        if session.seg is None or session.seg.path != folder:
            self._host.do(lambda: session.open_result(folder))

    def _choose_earlier(self) -> None:
        start = str(self._host.session.out or "")
        name = QFileDialog.getExistingDirectory(self, "Open an earlier result", start)
        if name:
            self._host.do(lambda: self._host.session.open_result(name))

    def _choose_out(self) -> None:
        start = str(self._host.session.out or "")
        name, _ = QFileDialog.getSaveFileName(
            self,
            "Result folder",
            start,
            "Result folder (*.twostage.zarr)",
            options=QFileDialog.Option.DontConfirmOverwrite,
        )
        if name:
            self._host.do(lambda: self._host.session.set_out(name))


def _notices(slide: Slide) -> list[str]:
    """What to know of the slide; which scene is read is shown by the choice itself."""
    several = sum(scene.scan for scene in slide.scenes) > 1
    return [one for one in slide.notices if not (several and one.startswith("scene "))]


def _scene_text(number: int, scene: Scene) -> str:
    name = "" if scene.name == str(number) else f" {scene.name}"
    return f"{number}{name}: {scene.shape[1]:,} × {scene.shape[0]:,} px"
