"""Two slides in one window have independent sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.fakes import FakeModel, noise
from tests.session.helpers import HeldModel

from napari_twostage.session import RunState
from napari_twostage.viewer.drawn_levels import FINE_LEVEL

if TYPE_CHECKING:
    from tests.viewer.conftest import Window

UM = {"scale": (0.5, 0.5), "units": ("um", "um")}


@pytest.fixture
def window(window: Window) -> Window:
    window.viewer.add_image(noise(120, 140, seed=1), name="other", translate=(0, 80), **UM)
    window.viewer.layers.selection.active = window.viewer.layers["slide"]
    return window


def choose(window: Window, name: str) -> None:
    window.part("slide_layer").setCurrentText(name)


def ours(window: Window, name: str) -> list[str]:
    return [layer.name for layer in window.viewer.layers if layer.name.startswith(f"{name} ")]


def test_each_slide_has_its_own_session(window) -> None:
    first = window.panel.session
    window.run_coarse()
    choose(window, "other")
    second = window.panel.session
    assert second is not first
    assert not window.enabled("refine_uncertain")
    window.use(FakeModel())
    window.run_coarse()
    window.press("refine_next")
    window.settle()
    assert second.seg.path != first.seg.path
    assert second.seg.refined.any()
    assert not first.seg.refined.any()
    window.part("threshold").setValue(0.05)
    assert second.threshold == pytest.approx(0.05, abs=1e-3)
    assert first.threshold != second.threshold
    choose(window, "slide")
    assert window.panel.session is first
    assert window.part("threshold").value() == pytest.approx(first.threshold, abs=1e-3)
    assert len(ours(window, "slide")) == len(ours(window, "other")) == 4


def test_switching_while_one_runs_leaves_it_running(window) -> None:
    model = HeldModel()
    window.use(model)
    first = window.panel.session
    model.hold("coarse")
    window.press("run_coarse")
    model.step()
    window.until(lambda: first.seg is not None)
    choose(window, "other")
    assert first.state is RunState.COARSE
    assert not window.enabled("cancel")
    window.use(FakeModel())
    window.run_coarse()
    assert first.state is RunState.COARSE
    assert not first.coarse_done
    model.release()
    window.until(lambda: first.coarse_done and not first.busy)
    assert window.panel.session.notice.text.startswith("quick pass done")
    assert first.seg.path != window.panel.session.seg.path
    choose(window, "slide")
    window.until(lambda: window.enabled("refine_uncertain"))


def test_layers_of_each_slide_lie_on_it(window) -> None:
    for name in ("slide", "other"):
        choose(window, name)
        window.use(FakeModel())
        window.run_coarse()
        slide = window.viewer.layers[name]
        for layer in (window.viewer.layers[one] for one in ours(window, name)):
            np.testing.assert_allclose(
                layer.data_to_world((-0.5, -0.5)), slide.data_to_world((-0.5, -0.5))
            )


def test_removing_one_slide_leaves_the_other_at_work(window) -> None:
    model = HeldModel()
    window.use(model)
    first = window.panel.session
    model.hold("coarse")
    window.press("run_coarse")
    model.step()
    window.until(lambda: first.seg is not None)
    choose(window, "other")
    window.use(FakeModel())
    window.run_coarse()
    window.viewer.layers.remove("other")
    assert window.panel.session is first
    assert ours(window, "other") == []
    assert first.state is RunState.COARSE
    model.release()
    window.until(lambda: first.coarse_done)
    window.settle()


def test_a_stale_worker_writes_nothing_into_a_newer_run(window) -> None:
    old, new = HeldModel(), FakeModel()
    window.use(old)
    session = window.panel.session
    window.run_coarse()
    old.hold("refine")
    window.part("threshold").setValue(0.0)
    window.press("refine_uncertain")
    old.step()
    window.until(lambda: old.begun.acquire(blocking=False))
    chips: list[object] = []
    session.set_model(new)  # another session's state, the same folder
    session.events.chips_done.connect(chips.append)
    old.release()
    window.until(lambda: not session.busy)
    assert not chips
    assert session.coarse_done
    labels = session.seg.read_labels(session.seg.grid.box)
    assert np.array_equal(np.asarray(window.panel.layers.labels.data[FINE_LEVEL][:]), labels)
