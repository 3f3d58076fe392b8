"""Several data sets as one: weights, groups, pixel sizes, and a run over them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.training.make_dataset import make_dataset
from tests.training.tiny_run import CROPS

from napari_twostage.training.config import ConfigError, load_config
from napari_twostage.training.datasets import Sample
from napari_twostage.training.datasets.mixed import (
    AtModelSize,
    MixedSamples,
    Source,
    hold_out_groups,
)
from napari_twostage.training.loop.batches import draw_weights
from napari_twostage.training.run.images import open_samples

if TYPE_CHECKING:
    from pathlib import Path

SETS = """
[[data.sets]]
folder = "plain"
[[data.sets]]
folder = "fine"
mpp = 0.25
weight = 3.0
by_group = true
"""


def samples(count: int) -> list[Sample]:
    image, mask = np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint8)
    return [Sample(f"{index}", image, mask) for index in range(count)]


def test_sets_are_drawn_by_their_weight_whatever_their_size(tmp_path: Path) -> None:
    mixed = MixedSamples(
        [
            Source(tmp_path, samples(10)),
            Source(tmp_path, samples(4), weight=3.0, groups=("a", "a", "a", "b")),
        ]
    )
    weights = draw_weights(mixed, 1.0)
    assert weights.sum() == pytest.approx(1)
    assert weights[:10].sum() == pytest.approx(1 / 4)
    assert weights[10:13].sum() == pytest.approx(3 / 8), "a group of three, as often as one of one"
    assert weights[13] == pytest.approx(3 / 8)


def test_groups_are_held_out_whole() -> None:
    owners = [f"slide{index % 7}" for index in range(70)]
    for seed in range(5):
        rest, held = hold_out_groups(owners, 0.3, seed)
        assert sorted(rest + held) == list(range(70))
        assert {owners[index] for index in rest}.isdisjoint(owners[index] for index in held)
        assert len(held) == 20
    assert hold_out_groups(owners, 0.3, 1) == hold_out_groups(owners, 0.3, 1)
    assert hold_out_groups(owners, 0.0, 1)[1] == []


def test_whole_images_are_resampled_to_the_model() -> None:
    mask = np.kron(np.eye(8, dtype=np.uint8), np.ones((8, 8), np.uint8))
    image = np.repeat(200 * mask[..., None], 3, axis=2)
    half = AtModelSize([Sample("s", image, mask, zoom=0.5)])[0]
    assert (half.image.shape, half.mask.shape, half.zoom) == ((32, 32, 3), (32, 32), 1.0)
    assert np.array_equal(half.mask, np.kron(np.eye(8), np.ones((4, 4))))
    assert (np.abs(half.image[..., 0].astype(int) - 200 * half.mask) < 60).mean() > 0.9


def configuration(folder: Path, extra: str = "") -> Path:
    path = folder / "run.toml"
    text = CROPS.replace("validation_fraction = 0.34", "validation_fraction = 0.34\nmpp = 0.5")
    path.write_text(text.replace("[network]", f"{SETS}[network]{extra}", 1))
    return path


def test_a_run_opens_all_of_its_sets(tmp_path: Path) -> None:
    make_dataset(tmp_path / "plain")
    make_dataset(tmp_path / "fine")
    config = load_config(configuration(tmp_path, '\nobjects = "distance"'))
    training, validation = open_samples(config, tmp_path)
    assert (len(training), len(validation)) == (4, 2)
    assert [sample.zoom for sample in training] == [1, 1, 0.5, 0.5]
    assert all(sample.objects is not None and sample.objects.max() == 255 for sample in training)
    assert [sample.mask.shape for sample in validation] == [(96, 96), (48, 48)]


def test_sets_that_cannot_be_are_refused_in_a_line(tmp_path: Path) -> None:
    path = configuration(tmp_path)
    path.write_text(path.read_text().replace("\nmpp = 0.5", ""))
    with pytest.raises(ConfigError, match="need the model's mpp"):
        load_config(path)
    with pytest.raises(ConfigError, match="weight must be positive"):
        load_config(configuration(tmp_path), ['data.sets=[{folder="a", weight=0.0}]'])
