"""Shift of the stages' logits, fitted on images that were not trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from scipy.special import expit
from tests.training.make_dataset import make_dataset
from tests.training.tiny_run import CROPS, make_config

from napari_twostage.method.uncertainty import labels
from napari_twostage.training.run.images import open_samples
from napari_twostage.training.run.networks import build_initial_networks
from napari_twostage.training.shift import fit_shift, predict_windows, shift_stages

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (2.5, 1.2), (0.5, -0.8)])
def test_logits_that_are_off_are_shifted_to_the_true_boundary(scale: float, offset: float) -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(0, 2, (2, 300, 300))
    truth = (rng.random(true.shape) < expit(true)).astype(np.uint8)
    logits = (scale * true - offset).astype(np.float32)  # over- or underconfident, and shy or bold
    shift = fit_shift((one[None], mask) for one, mask in zip(logits, truth, strict=True))
    assert shift.shape == (1,)
    assert shift[0] == pytest.approx(offset, abs=0.05 * scale + 0.02)


def test_each_class_has_a_shift_of_its_own_and_the_background_none() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(0, 2, (3, 200, 200))
    gumbel = rng.gumbel(size=true.shape)
    truth = (true + gumbel).argmax(axis=0).astype(np.uint8)  # drawn by the softmax of `true`
    moved = true - np.array([0.0, 0.9, -0.6])[:, None, None]
    shift = fit_shift([(moved.astype(np.float32), truth)])
    assert shift == pytest.approx([0, 0.9, -0.6], abs=0.06)
    better = (labels(moved + shift[:, None, None]) == truth).mean()
    assert better > (labels(moved) == truth).mean()


def test_images_without_foreground_give_a_finite_shift() -> None:
    logits = np.random.default_rng(0).normal(0, 1, (1, 50, 50)).astype(np.float32)
    shift = fit_shift([(logits, np.zeros((50, 50), np.uint8))])
    assert np.isfinite(shift).all()
    assert shift[0] < 0


def test_stage_2_is_read_window_by_window(tmp_path: Path) -> None:
    module = build_initial_networks(make_config(tmp_path, CROPS)).eval()
    module.refine = lambda images, halo: (  # type: ignore[method-assign]
        images.float().mean(dim=(1, 2, 3), keepdim=True)[..., 0][:, None].expand(-1, 1, 32, 32)
        + 0 * halo
    )
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    found = predict_windows(module, image, 64, 16)
    assert found.shape == (1, 50, 70)
    padded = np.pad(image, [(16, 30), (16, 42), (0, 0)], mode="symmetric")
    for top in (0, 32):
        for left in (0, 32, 64):
            expected = padded[top : top + 64, left : left + 64].mean()
            part = found[0, top : top + 32, left : left + 32]
            np.testing.assert_allclose(part, expected, rtol=1e-4)


def test_both_stages_are_shifted_and_nothing_else_changes(tmp_path: Path) -> None:
    config = make_config(tmp_path, CROPS, "stage2.halo_px=16")
    _, held_out = open_samples(config, make_dataset(tmp_path / "set"))
    module = build_initial_networks(config).eval()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    shift_stages(module, config, held_out)
    after = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"stage1.last.bias", "stage2.last.bias"}
    module.load_state_dict(before)
    with torch.inference_mode():
        expected = fit_shift(
            (predict_windows(module, sample.image, 64, 16), sample.mask) for sample in held_out
        )
    moved = after["stage2.last.bias"] - before["stage2.last.bias"]
    assert moved.numpy() == pytest.approx(expected, rel=1e-4)
    assert moved.any()
