"""A session looks at a few places in both resolutions, and takes the advice over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.fakes import FakeModel, noise_slide
from tests.session.helpers import HeldModel, Recorder, open_session, poll_until

import napari_twostage as ts
from napari_twostage.errors import SelectionError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Choosing tiles always saves something: times of a few tiles are chance."""
    monkeypatch.setattr("napari_twostage.engine.advisor.WORTH", 1.0)


def test_the_advice_is_that_of_the_engine_and_sets_the_threshold(tmp_path: Path) -> None:
    session = open_session(tmp_path / "out.zarr")
    recorder = Recorder(session)
    session.advise()
    session.wait()
    expected = ts.advise(noise_slide(), FakeModel(), tissue=False)
    assert session.advice is not None
    assert session.advice.choice == expected.choice == "two stages"
    assert session.advice.threshold == session.threshold == expected.threshold
    assert session.advice.dice == expected.dice
    assert recorder.lines[-1] == session.advice.describe()
    assert len(recorder.all("advice_changed")) == 1
    assert not (tmp_path / "out.zarr").exists()
    assert [one.describe() for one in recorder.all("progress_changed") if one][-1].startswith(
        "comparing "
    )
    session.set_model(FakeModel())
    assert session.advice is None
    assert len(recorder.all("advice_changed")) == 2
    session.close()


def test_it_is_refused_during_a_run_and_without_a_slide(tmp_path: Path) -> None:
    model = HeldModel()
    session = open_session(tmp_path / "out.zarr", model=model)
    model.hold()
    session.run_coarse()
    with pytest.raises(SelectionError):
        session.advise()
    model.release()
    session.wait()
    session.close()
    with pytest.raises(SelectionError, match="no slide"):
        ts.Session().advise()


def test_it_can_be_cancelled(tmp_path: Path) -> None:
    model = HeldModel()
    session = open_session(tmp_path / "out.zarr", model=model)
    model.hold("refine")
    session.advise()
    model.wait_begun()
    session.cancel()
    model.release()
    poll_until(session, lambda: not session.busy)
    assert session.advice is None
    session.close()
