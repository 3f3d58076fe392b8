"""A slide from the coarse pass to the exports, without a window."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
from tests.fakes import MPP, FakeModel, noise, noise_slide
from tests.session.helpers import Recorder, coarse_session, open_session, poll_until, whole_labels

import napari_twostage as ts
from napari_twostage.errors import SegmentationError, SelectionError
from napari_twostage.export import export
from napari_twostage.measure.areas import areas
from napari_twostage.method.selection import Curve
from napari_twostage.method.steps import CoarseWindowDone
from napari_twostage.method.tiling import TileState
from napari_twostage.session import EditState, RunState

if TYPE_CHECKING:
    from pathlib import Path

    from napari_twostage.geometry import Box as BoxType

ENDINGS = (
    ".geojson", ".geojson.gz", ".ome.zarr", ".ome.tif", ".areas.csv", ".objects.csv", ".png",
)  # fmt: skip
BOX = ts.Box(4, 50, 30, 70)
POLYGON = np.array([[40.0, 2.0], [66.0, 10.0], [45.0, 30.0]])


def test_a_session_makes_what_the_same_runs_make_without_it(tmp_path: Path) -> None:
    session = coarse_session(tmp_path / "session")
    session.threshold = float(np.nanquantile(session.seg.scores, 0.8))
    session.refine_uncertain()
    session.wait().refine_region(BOX)
    session.wait().refine_region([POLYGON])
    session.wait().refine_next(3)
    session.wait()

    seg = ts.segment(noise_slide(), FakeModel(), tmp_path / "plain", tissue=False, refine="none")
    seg.refine(seg.plan(threshold=session.threshold))
    seg.refine(seg.plan(region=BOX))
    seg.refine(seg.plan(region=[POLYGON]))
    seg.refine(seg.plan(n_tiles=3))
    np.testing.assert_array_equal(session.seg.states, seg.states)
    np.testing.assert_array_equal(whole_labels(session.seg), whole_labels(seg))
    assert 0 < (seg.states == TileState.REFINED).sum() < seg.states.size


def test_an_edit_is_kept_survives_refinement_is_counted_and_is_undone_as_one(
    tmp_path: Path,
) -> None:
    session = coarse_session(tmp_path / "out")
    recorder, seg = Recorder(session), session.seg
    place = ts.Box(10, 10, 40, 44)
    session.edit(place)
    assert session.edit_state is EditState.READING
    session.wait()
    (patch,) = recorder.all("edit_started")
    assert session.editing is patch
    assert patch.box == place
    np.testing.assert_array_equal(patch.labels, seg.read_labels(place))

    painted = patch.labels.copy()
    painted[5:20, 5:25] = 1
    painted[22:25, 2:30] = 0
    session.commit_edit(painted)
    assert session.edit_state is EditState.WRITING
    with pytest.raises(SelectionError, match="being written"):
        session.commit_edit(painted)
    session.wait()
    assert session.editing is None
    assert session.edit_state is EditState.NONE
    (edited,) = recorder.all("labels_edited")
    assert place.contains(edited)
    np.testing.assert_array_equal(seg.read_labels(place), painted)

    session.refine_region(ts.Box(0, 0, 70, 90))
    session.wait()
    changed = painted != patch.labels
    np.testing.assert_array_equal(seg.read_labels(place)[changed], painted[changed])
    session.measure()
    session.wait()
    assert session.tally == areas(seg)
    assert [session.tally] == recorder.all("measured")

    session.undo_edit()
    session.wait()
    assert session.tally is None
    whole = ts.segment(noise_slide(), FakeModel(), tmp_path / "o", tissue=False, refine="all")
    np.testing.assert_array_equal(whole_labels(seg), whole_labels(whole))
    session.undo_edit()
    session.wait()
    assert "no edit" in recorder.lines[-1]
    assert not recorder.errors


def test_every_export_is_what_export_writes(tmp_path: Path) -> None:
    session = coarse_session(tmp_path / "out")
    session.refine_next(5)
    session.wait()
    recorder = Recorder(session)
    paths = [tmp_path / f"session{ending}" for ending in ENDINGS]
    for path in paths:
        session.export(path)
    session.wait()
    assert recorder.all("exported") == paths
    assert not recorder.errors
    for path in paths:
        if path.suffix in {".geojson", ".csv"}:
            plain = tmp_path / path.name.replace("session", "plain")
            export(session.seg, plain)
            assert path.read_bytes() == plain.read_bytes()
        else:
            assert path.exists()


def test_the_script_makes_the_same_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = noise(90, 75, seed=4)
    path = tmp_path / "cells.tif"
    tifffile.imwrite(path, pixels, photometric="rgb", tile=(32, 32))
    out = tmp_path / "cells.twostage.zarr"
    session = coarse_session(out, ts.open_slide(path, mpp=MPP))
    session.threshold = float(np.nanquantile(session.seg.scores, 0.7))
    session.refine_uncertain()
    session.wait().refine_region(ts.Box(3, 3, 20, 40))
    session.wait().refine_region([POLYGON])
    session.wait().refine_next(2)
    labels, states = whole_labels(session.wait().seg), session.seg.states
    script = session.as_python()
    session.close()
    out.rename(tmp_path / "away")

    monkeypatch.setattr(
        ts, "load_model", lambda source, **_: FakeModel() if source == "fake" else None
    )
    names: dict[str, ts.Segmentation] = {}
    exec(script, names)
    seg = names["seg"]
    assert seg.path == out
    np.testing.assert_array_equal(whole_labels(seg), labels)
    np.testing.assert_array_equal(seg.states, states)
    assert (tmp_path / "cells.geojson").exists()


def test_listeners_are_called_on_the_thread_that_polls(tmp_path: Path) -> None:
    session = open_session(tmp_path / "out")
    recorder = Recorder(session)
    session.run_coarse()
    session.wait().refine_next(4)
    session.wait().edit(ts.Box(0, 0, 9, 9))
    session.wait().commit_edit(1 - session.editing.labels)
    session.measure()
    session.export(tmp_path / "a.areas.csv")
    session.wait().close()
    assert {"windows_done", "chips_done", "measured", "exported", "labels_edited"} <= {
        name for name, _ in recorder.received
    }
    assert recorder.threads == {threading.get_ident()}


def test_every_window_and_every_tile_is_told_once(tmp_path: Path) -> None:
    session = open_session(tmp_path / "out")
    recorder = Recorder(session)
    session.run_coarse()
    session.wait().refine_region(ts.Box(0, 0, 70, 90))
    session.wait()
    windows = [step for steps in recorder.all("windows_done") for step in steps]
    cores = [step.core for step in windows]
    assert all(isinstance(step, CoarseWindowDone) for step in windows)
    assert len(cores) == len(set(cores))
    assert set(cores) == session.seg.windows_done
    chips = [step.chip for steps in recorder.all("chips_done") for step in steps]
    tiles = [tile for chip in chips for tile in chip.tiles]
    assert len(tiles) == len(set(tiles)) == session.seg.states.size


# -- what it says of what is to come -----------------------------------------------------------


def test_the_forecast_is_the_plan(tmp_path: Path) -> None:
    session = open_session(tmp_path / "out")
    assert session.forecast is None
    session.run_coarse()
    session.wait()
    check_forecast(session)
    session.refine_next(7)
    session.wait()
    check_forecast(session)


def check_forecast(session: ts.Session) -> None:
    for threshold in (0.0, *np.nanquantile(session.seg.scores, [0.2, 0.5, 0.9]), 1.0):
        session.threshold = float(threshold)
        plan, forecast = session.seg.plan(threshold=float(threshold)), session.forecast
        assert (forecast.n_tiles, forecast.selected) == (plan.n_tiles, plan.selected)
        assert forecast.fraction == pytest.approx(plan.fraction)
        assert forecast.estimated_seconds == pytest.approx(plan.estimated_seconds)
        assert forecast.expected_dice == pytest.approx(plan.expected_dice, abs=1e-5)
        assert forecast.expected_dice_before == pytest.approx(plan.expected_dice_before, abs=1e-5)


def test_moving_the_threshold_costs_nothing_on_a_large_slide() -> None:
    session, count = ts.Session(), 200_000
    scores = np.sort(np.random.default_rng(0).random(count, np.float32))[::-1]
    session.curve = Curve(scores, np.arange(count + 1), np.linspace(0.8, 0.9, count + 1), 0.1)
    session.threshold = 0.5
    _ = session.forecast  # the first one sorts
    started = time.perf_counter()
    for step in range(20):
        session.threshold = step / 20
        assert session.forecast.n_tiles == (scores > step / 20).sum()
    assert (time.perf_counter() - started) / 20 < 0.02


# -- what it refuses ---------------------------------------------------------------------------


def test_what_cannot_be_done_yet_is_refused_in_one_line(tmp_path: Path) -> None:
    session = ts.Session()
    for refused in (
        session.run_coarse, session.refine_uncertain, session.refine_next, session.measure,
        session.undo_edit, session.as_python, session.review.next, session.review.next_failed,
        lambda: session.edit(ts.Box(0, 0, 9, 9)), lambda: session.export("a.png"),
        lambda: session.set_out(tmp_path), lambda: session.commit_edit(np.zeros((1, 1), np.uint8)),
    ):  # fmt: skip
        with pytest.raises(SelectionError, match=r"\A[^\n]+\Z"):
            refused()
    session.pause()
    session.resume()
    session.cancel()
    assert session.state is RunState.IDLE
    assert not session.busy


def test_a_second_edit_waits_for_the_first(tmp_path: Path) -> None:
    session = coarse_session(tmp_path / "out")
    recorder = Recorder(session)
    session.edit(ts.Box(0, 0, 9, 9))
    with pytest.raises(SelectionError, match="another edit"):
        session.edit(ts.Box(9, 9, 20, 20))
    session.wait()
    with pytest.raises(SelectionError, match="another edit"):
        session.edit(ts.Box(9, 9, 20, 20))
    session.discard_edit()
    session.edit(ts.Box(9, 9, 20, 20))
    session.wait()
    assert [patch.box for patch in recorder.all("edit_started")] == [
        ts.Box(0, 0, 9, 9), ts.Box(9, 9, 20, 20),
    ]  # fmt: skip


def test_an_edit_of_the_wrong_shape_or_class_stays_open(tmp_path: Path) -> None:
    session = coarse_session(tmp_path / "out")
    session.edit(ts.Box(0, 0, 9, 9))
    session.wait()
    for wrong in (np.zeros((9, 8), np.uint8), np.full((9, 9), 7, np.uint8)):
        with pytest.raises(SegmentationError, match=r"\A[^\n]+\Z"):
            session.commit_edit(wrong)
        assert session.editing is not None
    session.commit_edit(session.editing.labels)
    assert "nothing was changed" in session.notice.text
    assert not session.seg.edit_boxes


@pytest.mark.parametrize(
    ("box", "reason"), [(ts.Box(70, 0, 80, 9), "outside"), (ts.Box(0, 0, 70, 90), "at most")]
)
def test_only_places_inside_and_of_a_size_to_paint_are_edited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, box: BoxType, reason: str
) -> None:
    monkeypatch.setattr("napari_twostage.session.editing.EDIT_PX", 80)
    session = coarse_session(tmp_path / "out")
    with pytest.raises(SelectionError, match=reason):
        session.edit(box)


def test_nothing_runs_twice_at_once(tmp_path: Path) -> None:
    session = open_session(tmp_path / "out")
    session.run_coarse()
    with pytest.raises(SelectionError, match="something runs"):
        session.run_coarse()
    session.wait()
    poll_until(session, lambda: not session.busy)
    assert session.state is RunState.IDLE
