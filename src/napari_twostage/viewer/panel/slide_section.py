"""Section to choose the slide, its pixel size and the result folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
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
    in_a_row,
)
from napari_twostage.viewer.panel.run_list import RunList
from napari_twostage.viewer.panel.section import Section

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Image

    from napari_twostage.io.paths import Location
    from napari_twostage.session import Session
    from napari_twostage.slides.base import Slide
    from napari_twostage.slides.scenes import Scene
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
        self._layers: list[Image] = []
        self._choice = QComboBox()
        self._choice.setObjectName("slide_layer")
        self._choice.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._size = QLabel()
        self._mpp = QDoubleSpinBox()
        self._mpp.setObjectName("mpp")
        self._mpp.setRange(0, 1000)
        self._mpp.setDecimals(4)
        self._mpp.setSingleStep(0.05)
        self._mpp.setSpecialValueText("type it here")
        self._mpp.setSuffix(" µm/px")
        self._mpp.setKeyboardTracking(False)
        self._mpp.setAccessibleName("Pixel size")
        self._of_file = button(
            "file_mpp", "Back to file", "Take the pixel size that the file states", self._take_file
        )
        self._scene = QComboBox()
        self._scene.setObjectName("scene")
        self._scene.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._scenes = form_row("Scene", self._scene, "The scan to segment of a file with several")
        self._notes = QLabel()
        self._notes.setTextFormat(Qt.TextFormat.PlainText)
        self._notes.setWordWrap(True)
        self._source = QLabel()
        self._source.setWordWrap(True)
        self._out = ElidedLabel()
        self._runs = RunList()
        self._runs.chosen.connect(self._open_run)
        self.body.addWidget(form_row("Layer", self._choice, "The image layer to segment"))
        self.body.addWidget(self._scenes)
        self.body.addWidget(form_row("Size", self._size, "Width × height of the finest level"))
        tip = "Micrometres per pixel (mpp) of the finest level; correct it if it is wrong"
        self.body.addWidget(form_row("Pixel size", in_a_row(self._mpp, self._of_file), tip))
        self.body.addWidget(self._source)
        self.body.addWidget(self._notes)
        self.body.addWidget(self._runs)
        self.body.addWidget(
            form_row("Results in", self._out, "Folder of the result; written while you work")
        )
        self.body.addWidget(self._out_buttons())
        self._choice.currentIndexChanged.connect(self._chosen)
        self._mpp.valueChanged.connect(self._mpp_typed)
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

    def set_layers(self, layers: Sequence[Image], chosen: Image | None) -> None:
        """Set the layers to choose from, and the chosen one."""
        self._layers = list(layers)
        with QSignalBlocker(self._choice):
            self._choice.clear()
            self._choice.addItems([layer.name for layer in layers] or ["open a slide first"])
            self._choice.setEnabled(bool(layers))
            self._choice.setCurrentIndex(self._layers.index(chosen) if chosen in layers else -1)

    def show_session(self, session: Session) -> None:
        """Show the slide of a session; ask for the pixel size if it is missing."""
        slide, context = session.slide, self._host.context
        mpp_missing = context is not None and context.mpp_missing
        stated = context.stated if context is not None and context.mpp_given else None
        with QSignalBlocker(self._mpp):
            self._mpp.setEnabled(mpp_missing or slide is not None)
            self._mpp.setValue(0 if slide is None else slide.mpp[0])
        self._of_file.setVisible(stated is not None)
        self._show_scenes(slide)
        self._notes.setText("" if slide is None else "\n".join(_notices(slide)))
        self._notes.setVisible(bool(self._notes.text()))
        self._runs.show_runs(session.runs, None if session.seg is None else session.seg.path)
        self._out.setText(str(session.out) if session.out else "beside the slide")
        if slide is None:
            asked = "This image states no pixel size: enter it to go on." if mpp_missing else ""
            self._source.setText(asked)
            self._source.setVisible(bool(asked))
            self._size.setText("")
            self.set_status("pixel size?" if mpp_missing else "none")
            return
        height, width = slide.level_shapes[0]
        y, x = slide.mpp
        self._size.setText(
            f"{width:,} × {height:,} px\n{width * x / 1000:.2f} × {height * y / 1000:.2f} mm"
        )
        anisotropic = f"; {x:.4g} µm across" if abs(x / y - 1) > 1e-3 else ""
        file = "" if stated is None else f"; the file states {stated[0][0]:.4g} ({stated[1]})"
        self._source.setText(f"Pixel size from: {slide.mpp_source}{anisotropic}{file}")
        self._source.setVisible(True)
        self.set_status(f"{width:,} × {height:,} px")

    def _chosen(self, index: int) -> None:
        self._host.choose_layer(self._layers[index] if 0 <= index < len(self._layers) else None)

    def _mpp_typed(self, value: float) -> None:
        if value > 0:
            self._host.set_mpp(value)

    def _take_file(self) -> None:
        self._host.set_mpp(None)

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
