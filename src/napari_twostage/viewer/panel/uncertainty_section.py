"""Section to choose the uncertainty threshold, with the cost and gain of refinement."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import QLabel
from superqt import QLabeledDoubleSlider

from napari_twostage.method.selection import Selection
from napari_twostage.method.uncertainty import GAIN
from napari_twostage.viewer.panel.plots import QualityCurve, ScoreHistogram
from napari_twostage.viewer.panel.section import Section

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.method.selection import Curve
    from napari_twostage.session import Session
    from napari_twostage.viewer.panel.host import PanelHost


_TIP = "Tiles whose mean uncertainty is above the threshold are refined"


class UncertaintySection(Section):
    """Threshold slider below the histogram of tile scores; forecast of refinement.

    Parameters
    ----------
    host : PanelHost
        Panel that contains the section.
    """

    def __init__(self, host: PanelHost) -> None:
        super().__init__("Uncertainty")
        self._host = host
        self._curve: Curve | None = None
        self._along: NDArray[np.float64] | None = None
        self._histogram = ScoreHistogram()
        self._quality = QualityCurve()
        self.slider = QLabeledDoubleSlider()
        self.slider.setObjectName("threshold")
        self.slider.setOrientation(Qt.Orientation.Horizontal)
        self.slider.setDecimals(4)
        self.slider.setRange(0, 1)
        self.slider.setAccessibleName("Threshold")
        self.slider.setToolTip(_TIP)
        self._summary = QLabel()
        self._summary.setObjectName("plan_summary")
        self._summary.setWordWrap(True)
        for part in (self._histogram, self.slider, self._summary, self._quality):
            self.body.addWidget(part)
        self._histogram.threshold_dragged.connect(self.slider.setValue)
        self.slider.valueChanged.connect(self._moved)

    def show_session(self, session: Session) -> None:
        """Show the scores, threshold and forecast of a session."""
        curve, along = session.curve, session.prices.seconds_along
        if curve is not self._curve:
            self._histogram.set_scores([] if curve is None else curve.scores)
        if curve is not self._curve or along is not self._along:
            self._curve, self._along = curve, along
            self._draw_quality(curve, along)
        with QSignalBlocker(self.slider):
            if curve is not None:
                low, high = self._histogram.range
                # a threshold above all scores is shown as it is, too
                self.slider.setRange(low, max(high, session.threshold))
                self.slider.setDecimals(self._histogram.decimals)
            self.slider.setValue(session.threshold)
        self.slider.setEnabled(curve is not None)
        self._show_forecast(session)

    def _moved(self, threshold: float) -> None:
        """Apply a slider move; cheap: only the forecast text and the tile overlay are updated."""
        session = self._host.session
        session.threshold = threshold
        self._show_forecast(session)
        if self._host.layers is not None:
            self._host.layers.redraw()

    def _show_forecast(self, session: Session) -> None:
        price = session.price(Selection(threshold=session.threshold))
        self._histogram.set_threshold(session.threshold)
        self.slider.setToolTip(f"{_TIP}{_pixels(session)}")
        if price is None:
            self._summary.setText("Run the quick pass to see what refining would bring.")
            self.set_status("")
            return
        self._summary.setText(price.describe_selection())
        if price.seconds is not None and price.dice is not None:
            self._quality.set_point(price.seconds, price.dice[1])
        self.set_status(f"threshold {self._histogram.threshold_text}")

    def _draw_quality(self, curve: Curve | None, along: NDArray[np.float64] | None) -> None:
        """Draw the expected Dice against seconds, or say why it is not known."""
        self._quality.placeholder = _why_no_curve(curve)
        if curve is None or along is None or curve.no_dice:
            self._quality.set_curve([], [])
        else:
            self._quality.set_curve(along[np.minimum(curve.left, len(along) - 1)], curve.dice)


def _why_no_curve(curve: Curve | None) -> str:
    if curve is None:
        return QualityCurve.placeholder
    return f"no estimate: {curve.no_dice}" if curve.no_dice else "measuring this machine's speed"


def _pixels(session: Session) -> str:
    """Line that states the threshold in pixels per tile; empty if that is unknown."""
    pixels = session.expected_wrong_px
    if pixels is None:
        return ""
    kind = "corrected" if session.uncertainty == GAIN else "wrong"
    return f".\nThe threshold stands for {pixels:,.0f} {kind} pixels in a tile"
