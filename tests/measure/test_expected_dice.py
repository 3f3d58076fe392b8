"""No Dice is expected of nothing, of a part, or of slides unlike those a model was measured on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.fakes import FakeModel, make_card, noise_slide

import napari_twostage as ts
from napari_twostage.measure.summary import summarise, summary_lines
from napari_twostage.method.steps import CoarsePassStarted, CoarseWindowDone
from napari_twostage.session.upkeep import curve_of

if TYPE_CHECKING:
    from pathlib import Path


def assert_not_stated(seg: ts.Segmentation, reason: str) -> None:
    """No Dice in the summary, a plan, and what the panel shows; the reason in each of them."""
    summary = json.loads(json.dumps(summarise(seg)))
    assert summary["expected_dice"] is None
    assert reason in summary["no_dice"]
    lines = "\n".join(summary_lines(summary))
    assert reason in lines
    plan = seg.plan(fraction=1.0)
    forecast = curve_of(seg, 0.1).at(0.0)
    for found in (plan, forecast):
        assert found.expected_dice is found.expected_dice_before is None
        assert reason in found.describe()
        assert "Dice" not in found.describe() + lines
    assert np.isnan(curve_of(seg, 0.1).dice).all()


def test_of_a_finished_result_it_is_stated(tmp_path: Path) -> None:
    seg = ts.segment(noise_slide(), FakeModel(), tmp_path / "a.zarr", tissue=False)
    summary = summarise(seg)
    assert 0 < summary["expected_dice"] < 1
    assert not summary["no_dice"]
    assert "expected Dice" in "\n".join(summary_lines(summary))
    assert "expected Dice" in seg.plan(fraction=1.0).describe()


@pytest.mark.parametrize("refine", ["none", "all"])
def test_of_a_slide_without_objects_it_is_not(tmp_path: Path, refine: str) -> None:
    empty = ts.open_slide(np.zeros((90, 90, 3), np.uint8), mpp=0.5)
    seg = ts.segment(empty, FakeModel(), tmp_path / "a.zarr", tissue=False, refine=refine)
    assert_not_stated(seg, "found no objects")


@pytest.mark.parametrize("step", [CoarsePassStarted, CoarseWindowDone])
def test_of_an_unfinished_coarse_pass_it_is_not(tmp_path: Path, step: type) -> None:
    slide = noise_slide(300, 300)
    steps = ts.iter_segment(slide, FakeModel(), tmp_path / "a.zarr", tissue=False)
    next(found for found in steps if isinstance(found, step))
    steps.close()
    seg = ts.Segmentation.open(tmp_path / "a.zarr", slide=slide, model=FakeModel())
    assert_not_stated(seg, "coarse pass is unfinished")


@pytest.mark.parametrize(
    ("mpp", "reason"),
    [
        (0.9, "0.9 µm are larger"),
        ((0.5, 0.8), "0.8 µm are larger"),
        (0.1, "0.1 µm are far smaller"),
    ],
)
def test_of_other_pixel_sizes_it_is_not(
    tmp_path: Path, mpp: float | tuple[float, float], reason: str
) -> None:
    pixels = np.random.default_rng(0).integers(60, 190, (150, 150, 3), np.uint8)
    slide = ts.open_slide(pixels, mpp=mpp)
    seg = ts.segment(slide, FakeModel(), tmp_path / "a.zarr", tissue=False)
    assert_not_stated(seg, f"pixels of {reason} than the model's, 0.4 to 0.6 µm")


def test_pixels_that_are_averaged_to_the_models_are_of_its_domain() -> None:
    card = make_card()
    assert not any(card.unfit_for((mpp, mpp)) for mpp in (0.125, 0.25, 0.4, 0.5, 0.6))
