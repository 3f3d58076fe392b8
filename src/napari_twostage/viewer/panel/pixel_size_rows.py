"""Rows of the panel about the pixel size of a slide: the field, its source, and checks of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_twostage.session.pixel_check import pixel_size_warning, size_check
from napari_twostage.viewer.panel.note_bar import NoteBar
from napari_twostage.viewer.panel.number_field import NumberField
from napari_twostage.viewer.panel.parts import button, form_row, in_a_row
from napari_twostage.viewer.slide_of_layer import suggested_mpp

if TYPE_CHECKING:
    from napari_twostage.geometry import Scale
    from napari_twostage.session import Session
    from napari_twostage.session.events import Kind
    from napari_twostage.viewer.panel.host import PanelHost


class PixelSizeRows(QWidget):
    """Pixel size of the slide, which can be corrected at any time, and what speaks against it.

    Parameters
    ----------
    host : PanelHost
        Panel that contains the rows.
    """

    def __init__(self, host: PanelHost) -> None:
        super().__init__()
        self._host = host
        self._mpp = NumberField()
        self._mpp.setObjectName("mpp")
        self._mpp.setRange(0, 1000)
        self._mpp.setDecimals(4)
        self._mpp.setSingleStep(0.05)
        self._mpp.setSpecialValueText("type it here")
        self._mpp.setSuffix(" µm/px")
        self._mpp.setAccessibleName("Pixel size")
        self._of_file = button(
            "file_mpp", "Back to file", "Take the pixel size that the file states", self._take_file
        )
        self._source = _wrapped("mpp_source")
        self._asked = _wrapped("scale_question")
        self._take = button(
            "take_scale", "Take it", "Take the scale of the layer as its pixel size",
            self._take_scale,
        )  # fmt: skip
        self._suggestion = in_a_row(self._asked, self._take)
        self._warning, self._found = NoteBar("mpp_warning"), NoteBar("size_check")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        tip = "Micrometres per pixel (mpp) of the finest level; correct it if it is wrong"
        layout.addWidget(form_row("Pixel size", self._mpp, tip))
        self._origin = in_a_row(self._source, self._of_file)
        for part in (self._suggestion, self._origin, self._warning, self._found):
            layout.addWidget(part)
            part.hide()
        self._mpp.valueChanged.connect(self._typed)

    def show_session(self, session: Session) -> None:
        """Show the pixel size of the slide; ask for it if it is missing."""
        slide, context = session.slide, self._host.context
        missing = context is not None and context.mpp_missing
        stated = context.stated if context is not None and context.mpp_given else None
        with QSignalBlocker(self._mpp):
            self._mpp.setEnabled(missing or slide is not None)
            self._mpp.setValue(0 if slide is None else slide.mpp[0])
        self._of_file.setVisible(stated is not None)
        source = "This image states no pixel size: enter it to go on." if missing else ""
        if slide is not None:
            y, x = slide.mpp
            anisotropic = f"; {x:.4g} µm across" if abs(x / y - 1) > 1e-3 else ""
            file = "" if stated is None else f"; the file states {stated[0][0]:.4g} ({stated[1]})"
            source = f"Pixel size from: {slide.mpp_source}{anisotropic}{file}"
        self._source.setText(source)
        self._origin.setVisible(bool(source))
        self._show_suggestion(missing=missing)
        self._show_checks(session)

    def _show_suggestion(self, *, missing: bool) -> None:
        scale = self._suggested() if missing else None
        self._suggestion.setVisible(scale is not None)
        if scale is not None:
            y, x = scale
            size = f"{y:.4g}" if abs(x / y - 1) <= 1e-3 else f"{y:.4g} × {x:.4g}"
            self._asked.setText(f"The layer's scale is {size}: take it as µm/px?")
            self._origin.hide()

    def _show_checks(self, session: Session) -> None:
        slide, card = session.slide, session.card
        warning = "" if slide is None or card is None else pixel_size_warning(slide, card)
        self._warning.show_message(warning, "error")
        found = None if session.seg is None else size_check(session.seg)
        kind: Kind = "error" if found is not None and found.unlike else "info"
        self._found.show_message("" if found is None else found.text, kind)

    def _suggested(self) -> Scale | None:
        layer = self._host.slide_layer
        return None if layer is None else suggested_mpp(layer)

    def _take_scale(self) -> None:
        self._host.set_mpp(self._suggested())

    def _typed(self, value: float) -> None:
        if value > 0:
            self._host.set_mpp(value)

    def _take_file(self) -> None:
        self._host.set_mpp(None)


def _wrapped(name: str) -> QLabel:
    label = QLabel()
    label.setObjectName(name)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(True)
    return label
