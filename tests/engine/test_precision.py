"""Precision of a result: the same for all of its labels, whatever machine goes on with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.fakes import noise_slide

from napari_twostage import Segmentation, segment
from napari_twostage.errors import ModelError
from napari_twostage.models.backends import precision
from napari_twostage.models.model import Model
from napari_twostage.session import Session

if TYPE_CHECKING:
    from pathlib import Path

    from napari_twostage.models.bundle import Bundle

NEW, OLD = frozenset({"avx512_bf16"}), frozenset({"avx2"})
SLIDE = (120, 150)


@pytest.fixture
def bundle() -> Bundle:
    pytest.importorskip("torch")
    from tests.models.random_model import random_bundle

    return random_bundle(precision_loss={"bf16": 0.0})


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch):
    """Pretend that this is a machine of some features; torch emulates bf16 where it is missing."""

    def pretend(flags: frozenset[str]) -> None:
        monkeypatch.setattr(precision, "processor_flags", lambda: flags)

    return pretend


def begin(bundle: Bundle, out: Path) -> Segmentation:
    model = Model(bundle, "cpu")
    return segment(noise_slide(*SLIDE), model, out, tissue=False, refine="none")


def go_on(bundle: Bundle, out: Path, asked: str = "auto") -> Segmentation:
    model = Model(bundle, "cpu", asked)
    return segment(noise_slide(*SLIDE), model, out, tissue=False, refine="all")


def stated(seg: Segmentation) -> list[str | None]:
    """Precision of each run as the record on disk has it."""
    return [run.precision for run in Segmentation.open(seg.path).record.runs]


def test_a_result_begun_in_f32_stays_in_it_on_a_faster_machine(bundle, on, tmp_path: Path) -> None:
    on(OLD)
    whole = go_on(bundle, tmp_path / "whole").read_labels
    begun = begin(bundle, tmp_path / "out")
    on(NEW)
    seg = go_on(bundle, tmp_path / "out")
    assert stated(seg) == ["f32", "f32"]
    assert seg.record.runs[-1].compute["why"].endswith("the result was begun in f32")
    assert np.array_equal(seg.read_labels(begun.grid.box), whole(begun.grid.box))


def test_a_result_begun_in_bf16_is_not_silently_gone_on_with_in_another(
    bundle, on, tmp_path: Path
) -> None:
    on(NEW)
    out = begin(bundle, tmp_path / "out").path
    on(OLD)
    with pytest.raises(ModelError, match=r"begun in bf16: this CPU .* choose precision f32"):
        go_on(bundle, out)
    assert stated(go_on(bundle, out, "f32")) == ["bf16", "f32"]
    on(NEW)
    assert stated(go_on(bundle, out)) == ["bf16", "f32", "f32"]


def test_a_window_goes_on_in_the_precision_too_and_shows_it(bundle, on, tmp_path: Path) -> None:
    on(OLD)
    out = begin(bundle, tmp_path / "out").path
    on(NEW)
    session = Session(device="cpu")
    session.set_slide(noise_slide(*SLIDE))
    bundle.save(tmp_path / "bundle")
    session.set_model(bundle)
    session.set_out(out)
    session.get_ready()
    assert session.wait(60).compute.precision == "f32"
    session.refine_next(2)
    assert session.wait(60).compute.precision == "f32"
    assert stated(session.seg) == ["f32", "f32"]
    session.close()
