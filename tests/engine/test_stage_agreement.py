"""The threshold that is chosen where stage 2 stands for the truth."""

from __future__ import annotations

import numpy as np
import pytest
from tests.fakes import FakeModel, noise_slide

from napari_twostage.engine.api import segment
from napari_twostage.engine.stage_agreement import FOUND, _agreement, stage_agreement
from napari_twostage.errors import ModelError
from napari_twostage.geometry import Box
from napari_twostage.method.agreement import TileChanges
from napari_twostage.method.selection import EVERYTHING

WHOLE = Box(0, 0, 128, 160)


def test_tiles_above_the_threshold_hold_what_stage_2_changes(tmp_path):
    slide, model = noise_slide(128, 160), FakeModel()
    found = stage_agreement(model, slide, WHOLE)
    seg = segment(slide, model, tmp_path / "out.twostage.zarr", refine="none", region=WHOLE)
    coarse = seg.read_labels(WHOLE)
    seg.refine(EVERYTHING)
    fine = seg.read_labels(WHOLE)
    assert found.n_tiles == seg.scores.size == 80
    assert found.dice == pytest.approx(2 * (coarse & fine).sum() / (coarse.sum() + fine.sum()))
    chosen = (seg.scores > found.threshold).repeat(16, 0).repeat(16, 1)
    changed = coarse != fine
    assert found.fraction == pytest.approx(chosen.mean())
    assert found.found == pytest.approx(changed[chosen].sum() / changed.sum())
    assert FOUND <= found.found < 1
    assert found.fraction < 1


def test_the_threshold_is_the_highest_that_finds_enough():
    scores = np.array([0.9, 0.5, 0.3, 0.1], np.float32)
    coarse = [np.zeros((4, 4), np.uint8)] * 4
    fine = [np.zeros((4, 4), np.uint8) for _ in scores]
    for tile, changed in zip(fine, (6, 2, 1, 1), strict=True):
        tile.ravel()[:changed] = 1
    found = _agreement(TileChanges.count(scores, coarse, fine))
    assert (found.found, found.fraction) == (0.8, 0.5)
    assert 0.3 <= found.threshold < 0.5
    assert found.dice == 0


def test_stages_that_agree_need_no_refinement():
    same = [np.ones((4, 4), np.uint8)] * 4
    found = _agreement(TileChanges.count(np.array([0.9, 0.5, 0.3, 0.1], np.float32), same, same))
    assert (found.dice, found.found, found.fraction) == (1, 1, 0)


def test_a_region_of_few_tiles_is_refused():
    with pytest.raises(ModelError, match=r"9 tiles of the region .* expected 16 or more"):
        stage_agreement(FakeModel(), noise_slide(128, 160), Box(0, 0, 40, 40))
