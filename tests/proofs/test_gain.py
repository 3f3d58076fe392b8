"""Tiles scored by stage 1's gain output: the same on every way through the engine."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.fakes import CLASSES
from tests.models.random_model import random_bundle
from tests.proofs.helpers import tissue_pixels

from napari_twostage import Segmentation, SelectionError, iter_segment, segment
from napari_twostage.method.steps import CoarseWindowDone
from napari_twostage.models.backends.conversion import convert_bundle
from napari_twostage.models.bundle import Bundle
from napari_twostage.models.model import Model
from napari_twostage.slides import open_slide

if TYPE_CHECKING:
    from pathlib import Path

KINDS = {
    "one class": {},
    "several": {"classes": CLASSES},
    "touching objects": {"objects": "distance"},
}
SCORED = {"gain_output": True, "uncertainty": "gain"}


def scored_model(kind: str, **changes: object) -> Model:
    return Model(random_bundle(**{**KINDS[kind], **SCORED, **changes}), "cpu")


@pytest.mark.parametrize("kind", KINDS)
def test_a_tile_scores_the_mean_probability_that_the_output_gives(
    tmp_path: Path, kind: str
) -> None:
    model, slide = scored_model(kind), open_slide(tissue_pixels(200, 300), mpp=0.5)
    steps = list(iter_segment(slide, model, tmp_path / "out", tissue=False, refine="none"))
    seg = Segmentation.open(tmp_path / "out", slide=slide)
    side = model.card.coarse_tile_px
    windows = [step for step in steps if isinstance(step, CoarseWindowDone)]
    assert len(windows) > 4
    for step in windows:
        assert step.gain is not None
        probability = 1 / (1 + np.exp(-step.gain.astype(np.float64)))
        found = seg.read_uncertainty(step.core)
        np.testing.assert_allclose(found, probability, atol=1e-6)
        for block in step.core.blocks(side):
            part = probability[block.shift(-step.core.top, -step.core.left).slices]
            score = seg.scores[block.top // side, block.left // side]
            assert score == pytest.approx(part.mean(), abs=1e-6)
    inner = next(step for step in windows if step.core.top and step.core.left)
    wide = inner.core.grow(model.card.coarse_halo_px)
    if seg.coarse_grid.box.contains(wide):
        maps = model.coarse([seg.view(seg.coarse_grid).read(wide)])[0]
        np.testing.assert_allclose(inner.gain, maps[-1], atol=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_lost_scores_are_computed_again_from_the_saved_output(tmp_path: Path, kind: str) -> None:
    slide = open_slide(tissue_pixels(200, 300), mpp=0.5)
    seg = segment(slide, scored_model(kind), tmp_path / "out", tissue=False, refine="none")
    scores, shown = seg.scores.copy(), seg.uncertainty_map.pixels.copy()
    assert scores.std() > 0
    (tmp_path / "out" / "statistics.npz").unlink()
    shutil.rmtree(tmp_path / "out" / "heat")
    again = Segmentation.open(tmp_path / "out")
    np.testing.assert_array_equal(again.scores, scores)
    np.testing.assert_array_equal(again.uncertainty_map.pixels, shown)


def test_labels_do_not_depend_on_what_orders_the_tiles(tmp_path: Path) -> None:
    pixels = tissue_pixels(200, 300)
    found = {}
    for name in ("gain", "tent"):
        seg = segment(
            open_slide(pixels, mpp=0.5),
            scored_model("touching objects"),
            tmp_path / name,
            tissue=False,
            refine="none",
            uncertainty=name,
        )
        assert seg.record.parameters.uncertainty == name
        found[name] = seg
    box = found["gain"].grid.box
    for read in ("read_labels", "read_depth"):
        first, second = (getattr(seg, read)(box) for seg in found.values())
        np.testing.assert_array_equal(first, second)
    assert not np.array_equal(found["gain"].scores, found["tent"].scores)


def test_a_model_without_the_output_refuses_the_gain_in_one_line(tmp_path: Path) -> None:
    model = Model(random_bundle(), "cpu")
    slide = open_slide(tissue_pixels(100, 100), mpp=0.5)
    with pytest.raises(SelectionError, match="has no uncertainty gain; take one of tent,") as found:
        segment(slide, model, tmp_path / "out", uncertainty="gain")
    assert "\n" not in str(found.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_openvino_gives_the_output_that_torch_gives(kind: str) -> None:
    plain = random_bundle(**{**KINDS[kind], **SCORED})
    bundle = Bundle(plain.card, plain.weights, plain.source, converted=convert_bundle(plain))
    rng = np.random.default_rng(0)
    windows = list(rng.integers(0, 256, (2, 64, 64, 3), dtype=np.uint8))
    first, second = (Model(bundle, device, "f32").coarse(windows) for device in ("cpu", "openvino"))
    assert first.shape[1] == plain.card.coarse_channels
    np.testing.assert_allclose(first, second, atol=1e-3)
    assert Model(bundle, "openvino", "f32").refine(windows).shape[1] == plain.card.channels
