"""The whole workflow in a real window: model nuclei, sample slide, widgets by object name."""

from __future__ import annotations

import itertools
import json
import shutil
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from napari.layers import Labels
from qtpy.QtWidgets import QLabel

import napari_twostage as ts
from napari_twostage.engine import domain_check
from napari_twostage.method.instances import lines_between, separate
from napari_twostage.method.sample_windows import features_of
from napari_twostage.models.model import Model
from napari_twostage.samples import sample_slide
from napari_twostage.session import RunState
from napari_twostage.viewer.drawn_levels import FINE_LEVEL

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.viewer.conftest import Window

pytestmark = pytest.mark.slow
LONG_MS = 240_000
STATES = 3
"""Number of different states of uncertainty and labels to see during the coarse pass."""


def open_slide(window: Window, path: Path) -> None:
    window.viewer.open(str(path), plugin="napari-twostage")
    window.until(lambda: window.enabled("run_coarse"))


def look_at(window: Window, top: float, left: float, height: float) -> None:
    """Move the camera to a part of the slide, in pixels."""
    layer = window.viewer.layers["CMU-1-Small-Region"]
    middle = layer.data_to_world((top + height / 2, left + height / 2))
    camera = window.viewer.scene.camera
    camera.center = (0, *middle)
    camera.zoom = min(window.viewer.canvas.size) / (height * layer.scale[0])


def refined(window: Window) -> np.ndarray:
    return window.panel.session.seg.refined


def finish(window: Window) -> None:
    window.until(lambda: not window.panel.session.busy, LONG_MS)
    window.until(lambda: not window.panel._dirty)
    assert window.part("status").kind != "error", window.status


@pytest.fixture
def seen_while_running(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Pixels of uncertainty and of labels at each observation; the coarse pass waits for them.

    Without waiting, a machine may finish the pass before its window is painted once.
    """
    seen: list[tuple[int, int]] = []
    coarse, calls = Model.coarse, itertools.count(-1)  # the first two are under way at once

    def states() -> int:
        return min((len(set(pixels) - {0}) for pixels in zip(*seen, strict=True)), default=0)

    checking = False

    def check(*given: object) -> object:  # of the domain: its windows are not shown
        nonlocal checking
        checking = True
        found = features_of(*given)
        checking = False
        return found

    def delayed(model: Model, windows: Sequence[np.ndarray]) -> np.ndarray:
        if checking:
            return coarse(model, windows)
        wanted, end = min(next(calls), STATES), time.monotonic() + 20
        while states() < wanted and time.monotonic() < end:
            time.sleep(0.02)
        return coarse(model, windows)

    monkeypatch.setattr(Model, "coarse", delayed)
    monkeypatch.setattr(Model, "coarse_batch", 1)  # the sample slide has few windows
    monkeypatch.setattr(domain_check, "features_of", check)
    return seen


def test_from_the_slide_to_corrected_labels(open_window, tmp_path, seen_while_running) -> None:
    path = tmp_path / "CMU-1-Small-Region.svs"
    shutil.copy(sample_slide(), path)
    window = open_window(show=True)
    open_slide(window, path)
    assert window.part("slide_layer").currentText() == "CMU-1-Small-Region"
    assert window.part("model").currentText() == "nuclei"
    assert window.part("mpp").value() == pytest.approx(0.499, abs=1e-3)
    assert window.viewer.canvas.overlays.scale_bar.visible

    # 3. coarse: labels and uncertainty appear while it runs
    session = window.panel.session

    def watch() -> bool:
        layers = window.panel.layers
        if session.state is RunState.COARSE and layers.uncertainty is not None:
            seen_while_running.append(
                (int((layers.uncertainty.data > 0).sum()), int((layers.labels.data[-1] > 0).sum()))
            )
        return session.coarse_done

    window.press("run_coarse")
    assert not window.enabled("refine_uncertain")
    window.until(watch, LONG_MS)
    finish(window)
    for pixels in zip(*seen_while_running, strict=True):
        assert len(set(pixels) - {0}) >= STATES

    assert session.compute is not None
    assert window.part("compute").text() == f"Runs on {session.compute}"
    assert session.compute.why in window.part("compute").toolTip()

    # 4. the threshold, at once
    slider, summary = window.part("threshold"), window.part("plan_summary")
    scores = np.sort(session.seg.scores[np.isfinite(session.seg.scores)])[::-1]
    slider.setValue(float(scores[40]))
    few = summary.text()
    slider.setValue(float(scores[12]))
    assert summary.text() != few
    assert f"{session.forecast.n_tiles:,} doubtful tiles" in summary.text()
    threshold, wanted = session.threshold, session.seg.plan(threshold=session.threshold).n_tiles
    assert 5 <= wanted <= 20

    # 5. refine: pause, resume, cancel, go on
    window.press("refine_uncertain")
    window.until(lambda: refined(window).any(), LONG_MS)
    window.press("pause")
    window.until(lambda: session.state is RunState.PAUSED)
    window.press("pause")
    window.press("cancel")
    window.until(lambda: not session.running, LONG_MS)
    finish(window)
    if window.enabled("refine_uncertain"):  # unless all were done before the cancellation
        window.press("refine_uncertain")
        finish(window)
    assert refined(window).sum() == wanted
    assert (refined(window) == (session.seg.scores > threshold)).all()
    look_at(window, 300, 400, 250)
    view = window.panel._actions.visible_area()
    window.press("refine_visible")
    finish(window)
    assert refined(window)[session.seg.tiles_touching(session.seg.to_fine(view))].sum() > 0
    count = refined(window).sum()
    window.press("refine_next")
    finish(window)
    assert refined(window).sum() == count + 20
    window.press("draw_region")
    shapes = window.viewer.layers["regions"]
    slide_layer = window.viewer.layers["CMU-1-Small-Region"]
    drawn = np.array([(1000.0, 1000.0), (1250.0, 1010.0), (1100.0, 1300.0)])
    shapes.add_polygons(
        np.array([shapes.world_to_data(slide_layer.data_to_world(v - 0.5)) for v in drawn])
    )
    window.press("refine_region")
    finish(window)

    # 6. correct
    look_at(window, 320, 420, 200)
    window.press("edit_here")
    window.until(lambda: window.enabled("commit_edit"))
    edit = next(layer for layer in window.viewer.layers if layer.name.endswith(" edit"))
    assert isinstance(edit, Labels)
    box = session.editing.box
    before = edit.data.copy()
    edit.data[20:60, 20:60] = 1 - edit.data[20:60, 20:60]
    corrected = edit.data.copy()
    window.press("commit_edit")
    finish(window)
    assert edit not in window.viewer.layers
    assert np.array_equal(session.seg.read_labels(box), corrected)
    window.press("undo_edit")
    finish(window)
    assert np.array_equal(session.seg.read_labels(box), before)

    # 7. results
    window.press("measure")
    finish(window)
    nuclei = session.tally[0]
    assert nuclei.objects > 0
    shown = [label.text() for label in window.panel.findChildren(QLabel)]
    assert f"nucleus: {nuclei.left_out:,} specks below 8 µm² left out." in shown
    out = tmp_path / "nuclei.geojson"
    session.export(out)
    finish(window)
    assert json.loads(out.read_text())["features"]

    # what a script gets that does the same
    script = ts.segment(ts.open_slide(path), "nuclei", tmp_path / "by_script.zarr", refine="none")
    script.refine(script.plan(threshold=threshold))
    script.refine(script.plan(region=view))
    script.refine(script.plan(n_tiles=20))
    script.refine(script.plan(region=[drawn]))
    np.testing.assert_array_equal(refined(window), script.refined)
    whole = script.grid.box
    np.testing.assert_array_equal(session.seg.read_labels(whole), script.read_labels(whole))
    shown, labels = (
        np.asarray(window.panel.layers.labels.data[FINE_LEVEL][:]),
        script.read_labels(whole),
    )
    lines = lines_between(labels, separate(labels, script.read_depth(whole)))
    np.testing.assert_array_equal(shown[~lines], labels[~lines])

    # the dock is closed in the middle of a run; opened again, it goes on
    window.press("refine_next")
    window.until(lambda: session.state is RunState.REFINING)
    count, result = refined(window).sum(), session.seg.path
    window.close_panel()
    assert not session.busy
    assert list(window.viewer.layers) == [slide_layer, shapes]
    again = open_window(window.viewer)
    again.until(lambda: again.enabled("refine_next"))
    again.until(lambda: not again.panel.session.busy)
    assert again.panel.session.seg.path == result
    assert refined(again).sum() >= count
    again.press("refine_next")
    finish(again)
    assert refined(again).sum() > count
    again.close_panel()
