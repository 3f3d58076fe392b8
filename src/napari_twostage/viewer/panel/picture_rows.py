"""Rows of the panel that choose the nuclear channel and the focal plane of a slide."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import QComboBox, QSizePolicy, QVBoxLayout, QWidget

from napari_twostage.slides.planes import PROJECTION
from napari_twostage.viewer.other_planes import focus_of
from napari_twostage.viewer.panel.number_field import CountField
from napari_twostage.viewer.panel.parts import form_row

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_twostage.session import Session
    from napari_twostage.viewer.panel.host import PanelHost


class PictureRows(QWidget):
    """Choice of the channel and the focal plane that are segmented; hidden where there is none.

    Parameters
    ----------
    host : PanelHost
        Panel that contains the rows.
    """

    def __init__(self, host: PanelHost) -> None:
        super().__init__()
        self._host = host
        self._layers: tuple[Image, ...] = ()
        self._channel = QComboBox()
        self._channel.setObjectName("nuclear_channel")
        self._channel.setAccessibleName("Nuclear channel")
        self._channel.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._channel_row = form_row(
            "Nuclear\nchannel",  # in one line, it would not be aligned with the other rows
            self._channel,
            "The channel that shows nuclei: it is segmented. Each channel has a result of its own",
        )
        self._focus = CountField()
        self._focus.setObjectName("focus")
        self._focus.setSpecialValueText("maximum of all planes")
        self._focus.setPrefix("plane ")
        self._focus_row = form_row(
            "Focus",
            self._focus,
            "Focal plane that is shown and segmented, or the maximum over all. Each has a result "
            "of its own",
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        for row in (self._channel_row, self._focus_row):
            layout.addWidget(row)
            row.hide()
        self._channel.activated.connect(self._channel_chosen)
        self._focus.valueChanged.connect(self._focus_chosen)

    def show_session(self, session: Session) -> None:
        """Show the channels and planes of the chosen slide."""
        self._show_channels()
        self._show_focus(session)
        self.setVisible(not (self._channel_row.isHidden() and self._focus_row.isHidden()))

    def _show_channels(self) -> None:
        group, chosen = self._host.group, self._host.slide_layer
        several = group is not None and chosen is not None and len(group.layers) > 1
        self._channel_row.setVisible(several)
        if group is None or chosen is None or not several:
            return
        self._layers = group.layers
        with QSignalBlocker(self._channel):
            self._channel.clear()
            self._channel.addItems(group.channels)
            self._channel.setCurrentIndex(group.layers.index(chosen))

    def _show_focus(self, session: Session) -> None:
        layer, context = self._host.slide_layer, self._host.context
        if layer is None or context is None or session.slide is None:
            self._focus_row.hide()
            return
        planes, focus = focus_of(layer, context.focus)
        self._focus_row.setVisible(planes > 1)
        with QSignalBlocker(self._focus):
            # a maximum over colours is no picture of the tissue
            self._focus.setRange(1 if layer.rgb else 0, planes)
            self._focus.setSuffix(f" of {planes}")
            self._focus.setValue(0 if focus == PROJECTION else int(focus) + 1)
        self._focus.setEnabled(not session.running and session.editing is None)

    def _channel_chosen(self, index: int) -> None:
        self._host.choose_channel(self._layers[index])

    def _focus_chosen(self, value: int) -> None:
        self._host.choose_focus(PROJECTION if value == 0 else value - 1)
