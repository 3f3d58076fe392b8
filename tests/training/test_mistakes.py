"""Pixels that were wrong midway: found, kept for a resumed run, and sought by later crops."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from tests.training.make_dataset import make_dataset
from tests.training.tiny_run import CROPS, make_config

from napari_twostage.training.config.image_sections import Augmentation
from napari_twostage.training.datasets import Sample
from napari_twostage.training.loop import train_stage
from napari_twostage.training.loop.crops import cut_crop
from napari_twostage.training.loop.mistakes import MOST, Mistakes
from napari_twostage.training.train import train

if TYPE_CHECKING:
    from pathlib import Path

STILL = Augmentation(scale=(1, 1), bright_field_scale=(1, 1))


def blank(image: np.ndarray) -> np.ndarray:
    """Logits of a network that finds nothing."""
    return np.full((1, *image.shape[:2]), -9, np.float32)


def half_found(side: int = 60) -> Sample:
    """An object of class 1."""
    mask = np.zeros((side, side), np.uint8)
    mask[10:20, 30:50] = 1
    return Sample("s", np.full((side, side, 3), 40, np.uint8), mask)


def test_wrong_pixels_are_kept_by_their_true_class() -> None:
    def first_half(image: np.ndarray) -> np.ndarray:
        logits = blank(image)
        logits[0, 10:20, 30:40] = logits[0, 50:, :4] = 9
        return logits

    mistakes = Mistakes(0.2)
    mistakes.find([half_found()], first_half, 1e9, seed=0)
    extra, missed = (set(places.tolist()) for places in mistakes.of(0))
    rows, columns = np.mgrid[:60, :60]
    at = rows * 60 + columns
    assert missed == set(at[10:20, 40:50].ravel().tolist())
    assert extra == set(at[50:, :4].ravel().tolist())


def test_no_more_are_kept_than_are_of_use() -> None:
    mask = np.ones((200, 200), np.uint8)
    mistakes = Mistakes(0.2)
    mistakes.find([Sample("s", np.zeros((200, 200, 3), np.uint8), mask)], blank, 1e9, seed=0)
    (missed,) = mistakes.of(0)
    assert len(np.unique(missed)) == MOST


def test_they_lie_on_the_image_where_the_model_reads_it_smaller() -> None:
    mistakes = Mistakes(0.2)
    mistakes.find([replace(half_found(), zoom=0.5)], blank, 1e9, seed=0)
    (missed,) = mistakes.of(0)
    rows, columns = np.unravel_index(missed, (60, 60))
    assert set(rows.tolist()) == {11, 13, 15, 17, 19}
    assert set(columns.tolist()) == set(range(31, 50, 2))


def test_images_are_looked_at_as_far_as_the_budget_goes() -> None:
    mistakes = Mistakes(0.2)
    mistakes.find([half_found()] * 20, blank, 5 * 3600 - 1, seed=0)
    assert len(mistakes.by_image) == 5


def test_what_is_saved_is_read_back(tmp_path: Path) -> None:
    one, other = Mistakes(0.2), Mistakes(0.2)
    one.by_image = {
        3: [np.array([5, 6], np.uint32), np.array([9], np.uint32)],
        0: [np.array([7], np.uint32)],
    }
    one.save(tmp_path / "m.npy")
    other.load(tmp_path / "m.npy")
    assert {index: [own.tolist() for own in kinds] for index, kinds in other.by_image.items()} == {
        3: [[5, 6], [9]],
        0: [[7]],
    }
    Mistakes().save(tmp_path / "none.npy")
    other.load(tmp_path / "none.npy")
    assert other.by_image == {}


def test_a_share_of_the_crops_is_placed_on_mistakes() -> None:
    image = np.zeros((400, 400, 3), np.uint8)
    image[100, 100] = image[300, 300] = 255
    sample = Sample("s", image, np.zeros((400, 400), np.uint8))
    known = [np.array([100 * 401], np.uint32), np.array([300 * 401] * 50, np.uint32)]
    rng = np.random.default_rng(0)

    def found(share: float) -> list[float]:
        crops = [
            cut_crop(sample, 20, STILL, rng, 1, mistakes=known, error_share=share)
            for _ in range(300)
        ]
        return [crop.image.max() > 100 for crop in crops]

    assert np.mean(found(0.0)) < 0.03
    assert np.mean(found(1.0)) == 1
    assert np.mean(found(0.4)) == pytest.approx(0.4, abs=0.09)


def test_later_steps_of_a_run_seek_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = make_dataset(tmp_path / "data")
    seen: list[tuple[bool, int]] = []
    step = train_stage.train_step

    def watch(stage, config, batch, optimiser, number):
        seen.append((bool(stage.mistakes.by_image), number))
        return step(stage, config, batch, optimiser, number)

    monkeypatch.setattr(train_stage, "train_step", watch)
    config = make_config(tmp_path, CROPS, "data.error_share=0.5", "kind=single")
    torch.set_num_threads(1)
    train(config, data, tmp_path / "run", device="cpu", progress=False)
    per_stage = config.stage1.steps
    assert [known for known, _ in seen[:per_stage]] == [
        number >= per_stage // 2 for _, number in seen[:per_stage]
    ]
    assert not list((tmp_path / "run").glob("*.mistakes.npy"))
