"""Widgets of the panel: texts, signals, and fit at a width of 320 px."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractButton, QApplication, QLabel, QLineEdit, QVBoxLayout, QWidget

from napari_twostage.viewer.panel.parts import (
    ClassRow,
    ElidedLabel,
    MessageBar,
    StateLegend,
    Swatch,
    form_row,
)
from napari_twostage.viewer.panel.section import Section

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

DOCK_PX = 320
LONG = "slide_" + "0123456789abcdef" * 12 + ".svs"
COLORS = {"coarse": "#7a8794", "refined": "#2ca05a", "edited": "#8e5bd6", "failed": "#d33a3a"}


@pytest.fixture
def section(qtbot: QtBot) -> Section:
    widget = Section("Slide")
    widget.set_number(1)
    qtbot.addWidget(widget)
    widget.body.addWidget(QLabel("inside"))
    widget.resize(DOCK_PX, 200)
    widget.show()
    return widget


def header(section: Section) -> QAbstractButton:
    return section.findChild(QAbstractButton)


def test_a_section_opens_and_closes(section: Section, qtbot: QtBot) -> None:
    inside = section.body.itemAt(0).widget()
    assert section.is_open
    assert inside.isVisible()
    tall = section.sizeHint().height()
    with qtbot.waitSignal(section.toggled) as caught:
        section.set_open(False)
    assert caught.args == [False]
    assert not section.is_open
    assert not inside.isVisible()
    assert section.sizeHint().height() < tall
    with qtbot.assertNotEmitted(section.toggled):
        section.set_open(False)


@pytest.mark.parametrize("key", [Qt.Key.Key_Space, Qt.Key.Key_Return, Qt.Key.Key_Enter])
def test_a_section_obeys_keys_and_the_mouse(section: Section, qtbot: QtBot, key: Qt.Key) -> None:
    assert header(section).focusPolicy() & Qt.FocusPolicy.TabFocus
    qtbot.keyClick(header(section), key)
    assert not section.is_open
    qtbot.mouseClick(header(section), Qt.MouseButton.LeftButton)
    assert section.is_open


def test_a_status_is_shown_and_read_aloud(section: Section) -> None:
    blank = section.grab().toImage()
    section.set_status("40,000 × 30,000 px")
    assert section.status == "40,000 × 30,000 px"
    assert header(section).accessibleName() == "Slide"
    assert header(section).accessibleDescription() == section.status
    assert section.grab().toImage() != blank


def test_long_words_widen_nothing(section: Section, qtbot: QtBot) -> None:
    section.set_status(LONG)
    section.body.addWidget(ElidedLabel(LONG))
    row = ClassRow(1, LONG, "red")
    row.set_detail("3.12 mm² · 41 %")
    section.body.addWidget(row)
    legend = StateLegend(COLORS)
    legend.set_counts(dict.fromkeys(COLORS, 123_456))
    section.body.addWidget(legend)
    bar = MessageBar()
    bar.show_message("could not read /data/" + "a_folder/" * 30 + "slide.svs", "error")
    section.body.addWidget(bar)
    qtbot.wait(1)
    assert section.minimumSizeHint().width() < DOCK_PX


def test_an_elided_label_keeps_its_text(qtbot: QtBot) -> None:
    label = ElidedLabel("a")
    qtbot.addWidget(label)
    label.resize(100, 20)
    label.setText(LONG)
    assert label.text() == label.toolTip() == LONG
    assert "…" in QLabel.text(label)
    label.setText("")
    assert label.text() == label.toolTip() == ""


def test_a_swatch_shows_its_colour(qtbot: QtBot) -> None:
    swatch = Swatch("#17bebb")
    qtbot.addWidget(swatch)
    assert swatch.grab().toImage().pixelColor(7, 7).name() == "#17bebb"


def test_an_eye_tells_its_class_and_state(qtbot: QtBot) -> None:
    row = ClassRow(3, "tumour", "red")
    qtbot.addWidget(row)
    eye = row.findChild(QAbstractButton)
    assert "tumour" in eye.accessibleName()
    emitted = []
    row.toggled_class.connect(lambda *args: emitted.append(args))
    qtbot.mouseClick(eye, Qt.MouseButton.LeftButton)
    qtbot.keyClick(eye, Qt.Key.Key_Space)
    row.set_visible_class(True)
    row.set_visible_class(False)
    assert emitted == [(3, False), (3, True), (3, False)]


def test_a_legend_counts_every_state_in_order(qtbot: QtBot) -> None:
    legend = StateLegend(COLORS)
    qtbot.addWidget(legend)
    legend.set_counts({"refined": 104, "coarse": 1240, "outside": 9})
    assert legend.accessibleName() == "coarse 1,240, refined 104, edited 0, failed 0"
    html = legend.text()
    assert [html.index(color) for color in COLORS.values()] == sorted(
        html.index(color) for color in COLORS.values()
    )


def test_a_legend_wraps_between_entries(qtbot: QtBot) -> None:
    legend = StateLegend(COLORS)
    qtbot.addWidget(legend)
    legend.set_counts(dict.fromkeys(COLORS, 1_240))
    one_line = legend.heightForWidth(2_000)
    assert legend.heightForWidth(280) >= 1.8 * one_line
    assert legend.minimumSizeHint().width() < 280


def test_messages_are_told_apart_and_kept_as_they_are(qtbot: QtBot) -> None:
    bar = MessageBar()
    qtbot.addWidget(bar)
    bar.resize(300, 40)
    assert bar.objectName() == "status"
    blank = bar.grab().toImage()
    pictures = []
    for kind in ("info", "busy", "error"):
        bar.show_message("a/b_c <b>", kind)
        assert (bar.text(), bar.kind, bar.toolTip()) == ("a/b_c <b>", kind, "a/b_c <b>")
        assert bar.accessibleName() == f"{kind}: a/b_c <b>"
        pictures.append(bar.grab().toImage())
    assert all(
        a != b for i, a in enumerate([blank, *pictures]) for b in [blank, *pictures][i + 1 :]
    )
    bar.show_message("")
    assert bar.grab().toImage() == blank


def test_rows_of_a_form_line_up(qtbot: QtBot) -> None:
    form = QWidget()
    qtbot.addWidget(form)
    layout = QVBoxLayout(form)
    fields = [QLineEdit(), QLineEdit()]
    layout.addWidget(form_row("Model", fields[0], "which"))
    layout.addWidget(form_row("Pixel size", fields[1]))
    form.resize(DOCK_PX, 100)
    form.show()
    lefts = {field.mapTo(form, field.rect().topLeft()).x() for field in fields}
    assert len(lefts) == 1
    assert np.all([field.width() > 150 for field in fields])
    assert fields[0].toolTip() == "which"
    assert fields[0].accessibleName() == "Model"


def test_nothing_outlives_its_parent(qtbot: QtBot) -> None:
    before = set(QApplication.topLevelWidgets())
    parent = QWidget()
    section = Section("Slide", parent)
    section.set_number(1)
    section.body.addWidget(form_row("Model", QLineEdit()))
    section.body.addWidget(ClassRow(1, "nuclei", "red"))
    gone = []
    for child in parent.findChildren(QWidget):
        child.destroyed.connect(lambda: gone.append(1))
    count = len(parent.findChildren(QWidget))
    assert count >= 8
    with qtbot.waitSignal(parent.destroyed):
        parent.deleteLater()
    assert len(gone) == count
    assert set(QApplication.topLevelWidgets()) <= before
