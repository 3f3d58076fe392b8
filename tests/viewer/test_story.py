"""The whole story in a real window, with the real model, by the names that automation uses."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
from qtpy.QtWidgets import QAbstractButton, QComboBox, QLabel, QWidget
from tests.session.helpers import whole_labels

import napari_twostage as ts
from napari_twostage.samples import sample_slide
from napari_twostage.tiling import TileState

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytestqt.qtbot import QtBot

PATIENCE_MS = 120_000


class Hand:
    """What a user does to the panel."""

    def __init__(self, panel: QWidget, qtbot: QtBot) -> None:
        self.panel = panel
        self.session = panel.session
        self._qtbot = qtbot

    def find(self, name: str, kind: type = QAbstractButton) -> QWidget:
        found = self.panel.findChild(kind, name)
        assert found is not None, name
        return found

    def press(self, name: str) -> None:
        button = self.find(name)
        assert button.isEnabled(), f"{name}: {self.session.notice}"
        button.click()

    def enabled(self, *names: str) -> list[bool]:
        return [self.find(name).isEnabled() for name in names]

    def until(self, done: Callable[[], bool]) -> None:
        self._qtbot.waitUntil(done, timeout=PATIENCE_MS)

    def rest(self) -> None:
        """Wait until nothing is under way and the panel shows it."""
        self.until(lambda: not self.session.busy)
        self.panel.show_session()

    @property
    def refined(self) -> int:
        return int(self.session.seg.ledger.refined.sum())

    @property
    def said(self) -> str:
        return self.find("status", QLabel).text()


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    """The sample slide, where results may be written beside it."""
    return tmp_path / shutil.copy(sample_slide(), tmp_path)


@pytest.fixture
def window(make_napari_viewer, plugin, qtbot: QtBot):  # noqa: ARG001 - napari must know the plugin
    """Open napari with the slide and the panel."""

    def open_window(path: Path) -> tuple[object, Hand]:
        viewer = make_napari_viewer()
        viewer.open(str(path), plugin="napari-twostage")
        _, panel = viewer.window.add_plugin_dock_widget("napari-twostage", "Two-stage segmentation")
        hand = Hand(panel, qtbot)
        hand.rest()
        return viewer, hand

    return open_window


@pytest.mark.slow
def test_from_the_slide_to_corrected_and_exported_labels(slide: Path, window) -> None:
    viewer, hand = window(slide)
    session = hand.session
    layer = viewer.layers["CMU-1-Small-Region"]
    assert layer.multiscale
    assert layer.rgb
    np.testing.assert_allclose(layer.scale, 0.499)
    assert {str(unit) for unit in layer.units} == {"micrometer"}
    assert viewer.canvas.overlays.scale_bar.visible
    assert hand.find("slide_layer", QComboBox).currentText() == layer.name
    assert hand.find("model", QComboBox).currentText() == "nuclei"
    mpp = hand.find("mpp", QWidget)
    assert mpp.value() == pytest.approx(0.499)
    assert not mpp.isEnabled()  # the file says so

    # coarse: labels and heat come while it runs
    assert hand.enabled("run_coarse", "refine_uncertain", "cancel") == [True, False, False]
    hand.press("run_coarse")
    assert hand.enabled("run_coarse", "refine_uncertain", "cancel") == [False, False, True]
    hand.until(lambda: bool(session.seg and len(session.seg.ledger.windows) > 1))
    hand.until(lambda: "CMU-1-Small-Region uncertainty" in viewer.layers)
    assert session.running
    hand.rest()
    assert hand.enabled("run_coarse", "refine_uncertain", "cancel") == [True, True, False]
    assert session.coarse_done
    assert viewer.layers["CMU-1-Small-Region uncertainty"].data.any()
    assert np.asarray(viewer.layers["CMU-1-Small-Region labels"].data[-1]).any()
    assert viewer.layers["CMU-1-Small-Region tissue"].data.any()

    # the threshold: what it would cost is said at once
    threshold, summary = hand.find("threshold", QWidget), hand.find("plan_summary", QLabel)
    threshold.setValue(0.10)
    loose = summary.text()
    threshold.setValue(0.17)
    assert session.threshold == pytest.approx(0.17, abs=1e-3)
    assert summary.text() != loose
    assert summary.text() == session.forecast.describe()
    assert "expected Dice" in summary.text()
    tiles = viewer.layers["CMU-1-Small-Region tiles"].data
    lit = int((tiles == tiles.max()).sum())
    assert lit == session.forecast.n_tiles > 0

    # refine, pause, go on
    hand.press("refine_uncertain")
    hand.until(lambda: hand.refined > 0)
    hand.press("pause")
    assert hand.find("pause").text() == "Resume"
    hand.press("pause")
    hand.rest()
    assert hand.refined == lit
    # what is done before a cancel is kept
    threshold.setValue(0.0)
    hand.press("refine_uncertain")
    hand.until(lambda: hand.refined > lit)
    hand.press("cancel")
    hand.rest()
    assert lit < hand.refined < 236
    assert "cancelled" in hand.said
    before = hand.refined
    hand.press("refine_next")
    hand.rest()
    assert hand.refined == before + 20

    # correct what is in view
    viewer.scene.camera.center = (0, 700 * 0.499, 1200 * 0.499)
    viewer.scene.camera.zoom = 4
    hand.press("edit_here")
    hand.until(lambda: session.editing is not None)
    edit = viewer.layers["CMU-1-Small-Region edit"]
    assert max(edit.data.shape) <= 4096
    edit.data[10:30, 10:40] = 1
    painted = edit.data.copy()
    hand.panel.show_session()
    hand.press("commit_edit")
    hand.rest()
    assert "CMU-1-Small-Region edit" not in viewer.layers
    place = session.seg.edits.last
    assert TileState.EDITED in session.seg.states
    hand.press("refine_visible")
    hand.rest()
    assert (session.seg.read_labels(place)[:20, :30] == 1).any()
    assert painted[10:30, 10:40].all()
    hand.press("undo_edit")
    hand.rest()
    assert not len(session.seg.edits)

    # results
    hand.press("measure")
    hand.rest()
    assert session.tally[0].objects > 1000
    session.export(slide.with_suffix(".geojson"))
    hand.rest()
    assert slide.with_suffix(".geojson").stat().st_size > 100_000
    assert "refine(seg.plan(" in session.as_python()


@pytest.mark.slow
def test_closing_in_the_middle_loses_nothing(slide: Path, window, tmp_path: Path) -> None:
    viewer, hand = window(slide)
    hand.press("run_coarse")
    hand.rest()
    hand.session.threshold = 0.0
    hand.press("refine_uncertain")
    hand.until(lambda: hand.refined >= 10)
    result = hand.session.seg.path
    viewer.window.remove_dock_widget(hand.panel)
    viewer.layers.clear()
    done = int(ts.Segmentation.open(result).ledger.refined.sum())
    assert 10 <= done < 236

    _, hand = window(result)
    assert hand.session.seg.path == result
    assert hand.refined == done
    hand.session.threshold = 0.0
    hand.press("refine_uncertain")
    hand.rest()
    assert hand.refined == 236
    expected = ts.segment(slide, "nuclei", tmp_path / "whole.zarr", refine="all")
    np.testing.assert_array_equal(whole_labels(hand.session.seg), whole_labels(expected))
