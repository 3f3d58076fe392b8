"""Plots: painted pixels, mouse and keyboard, empty and unusual data."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QColor, QMouseEvent
from qtpy.QtWidgets import QApplication, QWidget

from napari_twostage.viewer.panel.plot_axes import round_step, tick_text, ticks, time_ticks
from napari_twostage.viewer.panel.plots import (
    ACCENT,
    CURVE_POINTS,
    QualityCurve,
    ScoreHistogram,
)

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

WIDTH, HEIGHT = 280, 90


def beta(n: int = 5_000) -> np.ndarray:
    return np.random.default_rng(0).beta(0.7, 9, n)


def pixels(widget: QWidget) -> np.ndarray:
    """Painted pixels (H, W, 3)."""
    image = widget.grab().toImage()
    ratio = image.width() / widget.width()
    assert ratio == 1
    return np.array(
        [
            [image.pixelColor(x, y).getRgb()[:3] for x in range(image.width())]
            for y in range(image.height())
        ]
    )


def accented(widget: QWidget) -> np.ndarray:
    """Mask (H, W) of pixels in the accent colour."""
    return np.abs(pixels(widget) - ACCENT.getRgb()[:3]).max(axis=-1) < 3


@pytest.fixture
def histogram(qtbot: QtBot) -> ScoreHistogram:
    widget = ScoreHistogram()
    qtbot.addWidget(widget)
    widget.resize(WIDTH, HEIGHT)
    widget.set_scores(beta())
    return widget


@pytest.fixture
def curve(qtbot: QtBot) -> QualityCurve:
    widget = QualityCurve()
    qtbot.addWidget(widget)
    widget.resize(WIDTH, HEIGHT)
    return widget


def test_the_range_holds_all_scores_and_no_tile_is_above_its_end(
    histogram: ScoreHistogram,
) -> None:
    low, high = histogram.range
    assert low == 0
    assert beta().max() <= high < 1.1 * beta().max()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_bars_are_lit_above_the_threshold_only(histogram: ScoreHistogram, share: float) -> None:
    low, high = histogram.range
    histogram.set_scores(np.linspace(low, high, 3_000))
    histogram.set_threshold(low + share * (high - low))
    bars = accented(histogram)[HEIGHT // 2]
    assert not bars[: round(share * WIDTH) - 8].any()
    assert bars[round(share * WIDTH) + 8 : -8].mean() > 0.5


def test_a_single_tile_of_a_high_score_is_seen(histogram: ScoreHistogram) -> None:
    histogram.set_scores(np.append(np.full(200_000, 0.01), 1.0))
    histogram.set_threshold(0.5)
    assert accented(histogram)[HEIGHT // 2 :, -20:].any()


def test_dragging_emits_thresholds_in_the_range(histogram: ScoreHistogram, qtbot: QtBot) -> None:
    emitted: list[float] = []
    histogram.threshold_dragged.connect(emitted.append)
    left = Qt.MouseButton.LeftButton
    places = [140, 10, 270, -50, WIDTH + 50]
    qtbot.mousePress(histogram, left, pos=QPoint(places[0], 40))
    for x in places[1:]:
        drag(histogram, x)
    qtbot.mouseRelease(histogram, left, pos=QPoint(places[-1], 40))
    low, high = histogram.range
    assert emitted[0] == pytest.approx(high / 2, rel=0.02)
    assert min(emitted) == low
    assert max(emitted) == high
    assert histogram.threshold == emitted[-1] == high


def drag(widget: QWidget, x: int) -> None:
    """Move the mouse with its left button held, which qtbot cannot."""
    button = Qt.MouseButton.LeftButton
    at = QPointF(x, 40)
    event = QMouseEvent(
        QEvent.Type.MouseMove, at, at, button, button, Qt.KeyboardModifier.NoModifier
    )
    QApplication.sendEvent(widget, event)


def test_only_the_left_button_drags(histogram: ScoreHistogram, qtbot: QtBot) -> None:
    with qtbot.assertNotEmitted(histogram.threshold_dragged):
        qtbot.mouseClick(histogram, Qt.MouseButton.RightButton, pos=QPoint(100, 40))
        qtbot.mouseMove(histogram, QPoint(120, 40))


def test_what_is_dragged_to_is_where_the_line_is_painted(
    histogram: ScoreHistogram, qtbot: QtBot
) -> None:
    histogram.set_scores(np.linspace(0, 1, 3_000))
    qtbot.mouseClick(histogram, Qt.MouseButton.LeftButton, pos=QPoint(90, 40))
    lit = np.flatnonzero(accented(histogram)[HEIGHT // 2])
    assert abs(int(lit[0]) - 90) <= 2


def test_keys_step_and_stay_in_the_range(histogram: ScoreHistogram, qtbot: QtBot) -> None:
    low, high = histogram.range
    histogram.set_threshold(high / 2)
    for key, expected in (
        (Qt.Key.Key_Right, 0.51),
        (Qt.Key.Key_Left, 0.50),
        (Qt.Key.Key_PageUp, 0.60),
        (Qt.Key.Key_PageDown, 0.50),
        (Qt.Key.Key_End, 1.0),
        (Qt.Key.Key_Right, 1.0),
        (Qt.Key.Key_Home, 0.0),
        (Qt.Key.Key_Down, 0.0),
    ):
        with qtbot.waitSignal(histogram.threshold_dragged) as caught:
            qtbot.keyClick(histogram, key)
        assert caught.args == [pytest.approx(low + expected * (high - low))]
        assert histogram.threshold == caught.args[0]


def test_setting_the_threshold_emits_nothing_and_tells_screen_readers(
    histogram: ScoreHistogram, qtbot: QtBot
) -> None:
    with qtbot.assertNotEmitted(histogram.threshold_dragged):
        histogram.set_threshold(0.123)
        histogram.set_threshold(99.0)
        histogram.grab()
    assert histogram.threshold == 99.0
    assert histogram.accessibleName()
    assert "99" in histogram.accessibleDescription()


@pytest.mark.parametrize("scores", [[], [math.nan, math.nan]], ids=["none", "unknown"])
def test_without_scores_nothing_can_be_dragged(
    histogram: ScoreHistogram, qtbot: QtBot, scores: list[float]
) -> None:
    histogram.set_scores(scores)
    assert histogram.range == (0.0, 1.0)
    assert not accented(histogram).any()
    with qtbot.assertNotEmitted(histogram.threshold_dragged):
        qtbot.mouseClick(histogram, Qt.MouseButton.LeftButton, pos=QPoint(90, 40))
        qtbot.keyClick(histogram, Qt.Key.Key_Right)


@pytest.mark.parametrize("scores", [[0.0], [0.0] * 9, [0.3], [1e-7, 2e-7], [math.nan, 0.5], [1.9]])
def test_odd_scores_are_drawn(histogram: ScoreHistogram, scores: list[float]) -> None:
    histogram.set_scores(scores)
    low, high = histogram.range
    assert low == 0 < high
    assert np.nanmax(scores) <= high
    histogram.set_threshold(-1.0)
    assert accented(histogram)[HEIGHT // 2 :].any()


def test_rounding_leaves_no_score_out(histogram: ScoreHistogram) -> None:
    for hundredths in range(1, 200):
        histogram.set_scores([hundredths / 100])
        assert histogram.range[1] >= hundredths / 100
        assert histogram._heights.max() == 1


def test_colours_follow_a_style_sheet(qtbot: QtBot) -> None:
    """Set a style sheet on the parent, as napari's themes do."""
    window = QWidget()
    qtbot.addWidget(window)
    histogram = ScoreHistogram(window)
    histogram.resize(WIDTH, HEIGHT)
    histogram.set_scores(beta())
    histogram.set_threshold(9.0)
    for ground, text in (("#101010", "#f0f0f0"), ("#f0f0f0", "#101010")):
        window.setStyleSheet(f"QWidget {{ background-color: {ground}; color: {text}; }}")
        window.show()
        seen = pixels(histogram)[..., 0]
        assert abs(int(seen[2, 2]) - QColor(ground).red()) < 3
        assert abs(seen - QColor(text).red()).min() < 30
        bar = int(seen[HEIGHT - 25, 8])
        assert 0x10 + 40 < bar < 0xF0 - 40


def test_a_curve_keeps_its_ends_and_few_points(curve: QualityCurve) -> None:
    seconds = np.linspace(0, 6_000, 200_000)
    dice = 0.9 + 0.05 * (1 - np.exp(-seconds / 900))
    curve.set_curve(seconds, dice)
    assert len(curve._seconds) == len(curve._dice) == CURVE_POINTS
    for kept, given_ in ((curve._seconds, seconds), (curve._dice, dice)):
        assert kept[[0, -1]] == pytest.approx(given_[[0, -1]])


def test_the_point_divides_what_is_spent_from_what_is_left(curve: QualityCurve) -> None:
    curve.set_curve([0, 50, 100], [0.90, 0.94, 0.95])
    assert not accented(curve).any()
    reach = []
    for seconds, dice in ((20, 0.916), (50, 0.94), (90, 0.948)):
        curve.set_point(seconds, dice)
        reach.append(int(np.flatnonzero(accented(curve).any(axis=0))[-1]))
    assert reach == sorted(set(reach))
    assert f"{seconds} s" in curve.accessibleDescription()


@pytest.mark.parametrize(
    ("seconds", "dice"),
    [([], []), ([0.0], [0.9]), ([0, 1], [0.9, 0.9]), ([0, 1e-3], [0, 1]), ([0, 1e6], [0.9, 1])],
    ids=["none", "one", "flat", "quick", "days"],
)
def test_odd_curves_are_drawn(curve: QualityCurve, seconds: list[float], dice: list[float]) -> None:
    blank = pixels(curve)
    curve.set_curve(seconds, dice)
    curve.set_point(1e9, 2.0)
    assert (pixels(curve) == blank).all() == (not seconds)


def test_a_new_curve_forgets_the_point(curve: QualityCurve) -> None:
    curve.set_curve([0, 1], [0.9, 0.95])
    curve.set_point(0.5, 0.92)
    curve.set_curve([0, 2], [0.9, 0.95])
    assert not accented(curve).any()


@given(extent=st.floats(1e-9, 1e9))
def test_steps_are_round_and_fit_two_to_four_times(extent: float) -> None:
    step = round_step(extent)
    assert 2 - 1e-9 <= extent / step < 5 + 1e-9
    mantissa = step / 10 ** math.floor(math.log10(step) + 1e-9)
    assert min(abs(mantissa - round_) for round_ in (1, 2, 5)) < 1e-6


@given(high=st.floats(1e-6, 1e6))
def test_ticks_lie_in_the_range_and_read_differently(high: float) -> None:
    step = round_step(high)
    marks = ticks((0.0, high), step)
    assert 3 <= len(marks) <= 6
    assert all(0 <= tick <= high * (1 + 1e-6) for tick in marks)
    assert len({tick_text(mark, step) for mark in marks}) == len(marks)


@pytest.mark.parametrize(
    ("longest", "words"),
    [
        (0.9, ["0", "0.2 s", "0.4 s", "0.6 s", "0.8 s"]),
        (40, ["0", "10 s", "20 s", "30 s", "40 s"]),
        (100, ["0", "30 s", "60 s", "90 s"]),
        (130, ["0", "60 s", "120 s"]),
        (6600, ["0", "30 min", "60 min", "90 min"]),
        (14_400, ["0", "1 h", "2 h", "3 h", "4 h"]),
        (500, ["0", "2 min", "4 min", "6 min", "8 min"]),
        (40_000, ["0", "5 h", "10 h"]),
    ],
)
def test_time_is_told_in_a_unit_that_suits_it(longest: float, words: list[str]) -> None:
    marks = time_ticks(longest)
    assert [word for _, word in marks] == words
    assert marks[0][0] == 0
    assert marks[-1][0] <= longest * (1 + 1e-9)
