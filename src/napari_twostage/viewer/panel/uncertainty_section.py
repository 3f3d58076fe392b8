"""Section to choose the uncertainty threshold, with the cost and gain of refinement."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import QLabel
from superqt import QLabeledDoubleSlider

from napari_twostage.method.uncertainty import GAIN
from napari_twostage.viewer.panel.plots import QualityCurve, ScoreHistogram
from napari_twostage.viewer.panel.section import Section

if TYPE_CHECKING:
    from napari_twostage.method.selection import Curve
    from napari_twostage.session import Session
    from napari_twostage.viewer.panel.host import PanelHost


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
        self._histogram = ScoreHistogram()
        self._quality = QualityCurve()
        self.slider = QLabeledDoubleSlider()
        self.slider.setObjectName("threshold")
        self.slider.setOrientation(Qt.Orientation.Horizontal)
        self.slider.setDecimals(4)
        self.slider.setRange(0, 1)
        self.slider.setAccessibleName("Threshold")
        self.slider.setToolTip("Tiles whose mean uncertainty is above the threshold are refined")
        self._summary = QLabel()
        self._summary.setObjectName("plan_summary")
        self._summary.setWordWrap(True)
        for part in (self._histogram, self.slider, self._summary, self._quality):
            self.body.addWidget(part)
        self._histogram.threshold_dragged.connect(self.slider.setValue)
        self.slider.valueChanged.connect(self._moved)

    def show_session(self, session: Session) -> None:
        """Show the scores, threshold and forecast of a session."""
        curve = session.curve
        if curve is not self._curve:
            self._curve = curve
            self._histogram.set_scores([] if curve is None else curve.scores)
            self._draw_quality(curve)
        with QSignalBlocker(self.slider):
            if curve is not None:
                self.slider.setRange(*self._histogram.range)
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
        forecast = session.forecast
        self._histogram.set_threshold(session.threshold)
        if forecast is None:
            self._summary.setText("Run Coarse to see what refining would bring.")
            self.set_status("")
            return
        self._summary.setText(f"{_threshold_line(session)}{forecast.describe()}")
        if forecast.estimated_seconds is not None and forecast.expected_dice is not None:
            self._quality.set_point(forecast.estimated_seconds, forecast.expected_dice)
        self.set_status(f"threshold {session.threshold:.3f}")

    def _draw_quality(self, curve: Curve | None) -> None:
        if curve is None or curve.seconds is None or curve.no_dice:
            self._quality.set_curve([], [])
        else:
            self._quality.set_curve(curve.seconds, curve.dice)


def _threshold_line(session: Session) -> str:
    """Line that states the threshold in pixels per tile; empty if that is unknown."""
    pixels = session.expected_wrong_px
    if pixels is None:
        return ""
    kind = "corrected" if session.uncertainty == GAIN else "wrong"
    return f"Over {pixels:,.0f} {kind} pixels expected in a tile:\n"
