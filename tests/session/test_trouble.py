"""Errors: reported in one line, raised with their cause, and survived by the session."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.fakes import FakeModel, damage, make_card, noise_slide
from tests.session.helpers import PATIENCE_S, Recorder, coarse_session, open_session, whole_labels

import napari_twostage as ts
from napari_twostage.errors import (
    AGAIN,
    ExportError,
    ModelError,
    SegmentationError,
    SlideError,
    StorageError,
    TwoStageError,
)
from napari_twostage.method.tiling import TileState
from napari_twostage.result.label_store import LabelStore
from napari_twostage.session import WayOn

if TYPE_CHECKING:
    from pathlib import Path

    from napari_twostage.session import Session

WHOLE = ts.Box(0, 0, 70, 90)
ONE_LINE = r"\A[^\n]+\Z"


def whole(folder: Path, **options: Any) -> ts.Segmentation:
    options = {"tissue": False, "refine": "all", **options}
    return ts.segment(noise_slide(), FakeModel(), folder / "whole", **options)


def fails(
    session: Session,
    recorder: Recorder,
    kind: type[TwoStageError] = TwoStageError,
    cause: type[Exception] | None = None,
) -> str:
    """Wait for a failure of this very kind, with this cause; return its line in the window."""
    with pytest.raises(kind, match=ONE_LINE) as raised:
        session.wait(PATIENCE_S)
    assert type(raised.value) is kind
    assert type(raised.value.__cause__) is (cause or type(None))
    assert not session.busy
    assert recorder.errors == [str(raised.value).replace(AGAIN, "press Continue")]
    assert session.notice.kind == "error"
    return recorder.errors[0]


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("from_the_start", [True, False])
def test_a_tile_that_cannot_be_read_fails_and_the_others_are_refined(
    tmp_path: Path, from_the_start: bool
) -> None:
    slide, box = noise_slide(), ts.Box(40, 56, 42, 58)
    slide.fingerprint()
    if from_the_start:
        damage(slide, box)
    session = coarse_session(tmp_path / "out", slide)
    recorder = Recorder(session)
    if not from_the_start:
        damage(slide, box)
    session.refine_region(WHOLE)
    session.wait(PATIENCE_S)
    seg = session.seg
    assert set(seg.failures) == {(2, 3)}
    assert (seg.states == TileState.REFINED).sum() == seg.states.size - 1
    sound = whole(tmp_path)
    for row, column in np.argwhere(seg.states == TileState.REFINED).tolist():
        place = seg.tiles.box((row, column))
        np.testing.assert_array_equal(seg.read_labels(place), sound.read_labels(place))
    if not from_the_start:
        (line,) = recorder.errors
        assert line.startswith("1 tile failed")
        assert "damaged" in line
        assert "\n" not in line
    recorder.received.clear()
    session.refine_next(1)
    session.wait(PATIENCE_S)
    assert bool(recorder.errors) != from_the_start  # what stage 1 never saw is not tried again


def test_a_place_that_the_coarse_pass_cannot_read_is_reported(tmp_path: Path) -> None:
    slide = noise_slide()
    slide.fingerprint()
    damage(slide, ts.Box(40, 56, 42, 58))
    session = open_session(tmp_path / "out", slide)
    recorder = Recorder(session)
    session.run_coarse()
    session.wait(PATIENCE_S)
    assert session.coarse_done
    (line,) = recorder.errors
    assert line.startswith("1 tile failed")


@pytest.mark.parametrize("other", ["slide", "model", "something"])
def test_a_folder_of_something_else_is_named_and_left_alone(tmp_path: Path, other: str) -> None:
    out = tmp_path / "out"
    if other == "slide":
        ts.segment(noise_slide(seed=5), FakeModel(), out, tissue=False, refine="none")
    elif other == "model":
        model = FakeModel(make_card(name="other"))
        ts.segment(noise_slide(), model, out, tissue=False, refine="none")
    else:
        out.mkdir()
        (out / "notes.txt").write_text("keep")
    before = files(out)
    session = ts.Session()
    session.set_slide(noise_slide())
    session.set_model(FakeModel())
    session.wait(PATIENCE_S)
    recorder = Recorder(session)
    session.set_options(tissue_only=False)
    session.set_out(out)
    assert "out" in fails(session, recorder, SegmentationError)
    assert session.seg is None
    recorder.received.clear()
    session.run_coarse()
    fails(session, recorder, SegmentationError)
    assert files(out) == before
    session.set_out(tmp_path / "free")
    session.run_coarse()
    session.wait(PATIENCE_S)
    assert session.coarse_done


@pytest.mark.parametrize(
    ("method", "stage"), [("write_window", "coarse"), ("write_tile", "refine")]
)
def test_a_full_disk_is_told_and_the_result_goes_on_once_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, stage: str
) -> None:
    session = (open_session if stage == "coarse" else coarse_session)(tmp_path / "out")
    recorder = Recorder(session)
    write = getattr(LabelStore, method)
    calls = []

    def write_until_full(store: LabelStore, *args: Any) -> None:
        calls.append(args)
        if len(calls) > 3:
            raise OSError(28, "No space left on device")
        write(store, *args)

    def run() -> None:
        if stage == "coarse":
            session.run_coarse()
        else:
            session.refine_region(WHOLE)

    with monkeypatch.context() as patched:
        patched.setattr(LabelStore, method, write_until_full)
        run()
        line = fails(session, recorder, StorageError, cause=OSError)
        assert line == f"{session.out}: the disk is full; free space and press Continue"
    assert session.ways == [WayOn.RESUME]
    assert session.missing
    session.resume()
    session.wait(PATIENCE_S)
    expected = whole(tmp_path, refine="none" if stage == "coarse" else "all")
    np.testing.assert_array_equal(whole_labels(session.seg), whole_labels(expected))
    np.testing.assert_array_equal(session.seg.states, expected.states)


def test_a_folder_that_may_not_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = open_session(tmp_path / "out")
    recorder = Recorder(session)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(tmp_path / "out"))

    with monkeypatch.context() as patched:
        patched.setattr("napari_twostage.session.tasks.prepare", refuse)
        session.run_coarse()
        line = fails(session, recorder, cause=PermissionError)
    assert "no permission; change the permissions or choose another folder" in line
    assert str(tmp_path / "out") in line
    session.run_coarse()
    session.wait(PATIENCE_S)
    assert session.coarse_done


def test_an_unexpected_error_is_reported_logged_and_survived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    session = coarse_session(tmp_path / "out")
    recorder = Recorder(session)

    def fail(*_: object) -> None:
        raise RuntimeError("two\nlines")

    with monkeypatch.context() as patched, caplog.at_level(logging.ERROR):
        patched.setattr(FakeModel, "refine", fail)
        session.refine_region(WHOLE)
        line = fails(session, recorder, cause=RuntimeError)
    assert "RuntimeError: two lines" in line
    assert [record.exc_info[0] for record in caplog.records] == [RuntimeError]
    session.refine_region(WHOLE)
    session.wait(PATIENCE_S)
    np.testing.assert_array_equal(whole_labels(session.seg), whole_labels(whole(tmp_path)))


def test_an_unknown_model_leaves_the_session_as_it_was(tmp_path: Path) -> None:
    session = coarse_session(tmp_path / "out")
    seg = session.seg
    with pytest.raises(ModelError, match=ONE_LINE):
        session.set_model("no such model")
    assert session.seg is seg
    assert session.card == FakeModel().card


def test_an_export_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    session = coarse_session(tmp_path / "out")
    recorder = Recorder(session)
    session.export(tmp_path / "labels.bmp")
    assert "labels.bmp" in fails(session, recorder, ExportError)
    session.export(tmp_path / "a.geojson")
    session.wait(PATIENCE_S)
    assert recorder.all("exported") == [tmp_path / "a.geojson"]


def test_a_slide_without_tissue_is_told_and_leaves_no_folder(tmp_path: Path) -> None:
    slide = ts.open_slide(np.full((64, 64, 3), 240, np.uint8), mpp=0.5)
    session = open_session(tmp_path / "out", slide, tissue_only=True)
    recorder = Recorder(session)
    session.run_coarse()
    assert "no tissue" in fails(session, recorder, SlideError)
    assert not (tmp_path / "out").exists()
    assert session.seg is None
    session.set_options(tissue_only=False)
    session.run_coarse()
    session.wait(PATIENCE_S)
    assert session.coarse_done
