"""Data sets: loaded as they are, and what is wrong with them is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from tests.training.make_dataset import make_dataset

from training.datasets import DatasetError, Sample, hold_out, load_split

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_dataset(tmp_path / "set")


def test_a_split_holds_its_images_and_masks(folder: Path) -> None:
    samples = load_split(folder, "train")
    assert [sample.name for sample in samples] == ["a.png", "b.png", "c.png"]
    for sample in samples:
        assert sample.image.shape == (96, 96, 3)
        assert sample.image.dtype == sample.mask.dtype == np.uint8
        assert np.array_equal(sample.mask, sample.image[..., 0] > 128)


@pytest.mark.parametrize("part", ["images/b.png", "masks/b.png", "manifest.csv"])
def test_a_missing_file_is_named(folder: Path, part: str) -> None:
    (folder / part).unlink()
    with pytest.raises(DatasetError, match=part) as caught:
        load_split(folder, "train")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", ["images/b.png", "masks/b.png"])
@pytest.mark.parametrize("kept", [0, 4, 200])
def test_a_damaged_file_is_named(folder: Path, part: str, kept: int) -> None:
    path = folder / part
    whole = path.read_bytes()
    assert len(whole) > 100
    path.write_bytes(whole[: min(kept, len(whole) - 40)])
    with pytest.raises(DatasetError, match=part) as caught:
        load_split(folder, "train")
    assert "\n" not in str(caught.value)


def test_a_mask_of_another_size_is_named(folder: Path) -> None:
    Image.new("1", (50, 40)).save(folder / "masks" / "b.png")
    with pytest.raises(DatasetError, match=r"masks/b\.png is 50x40, its image 96x96"):
        load_split(folder, "train")


def test_an_empty_split_is_refused(folder: Path) -> None:
    with pytest.raises(DatasetError, match="no image of split 'validation'"):
        load_split(folder, "validation")


@pytest.mark.parametrize("fraction", [0.0, 0.3, 1.0])
def test_holding_out_parts_the_samples_the_same_way_each_time(fraction: float) -> None:
    empty = np.zeros((1, 1, 3), np.uint8), np.zeros((1, 1), np.uint8)
    samples = [Sample(str(index), *empty) for index in range(10)]
    rest, held = hold_out(samples, fraction, seed=3)
    assert len(held) == round(10 * fraction)
    assert sorted(sample.name for sample in rest + held) == [str(index) for index in range(10)]
    assert hold_out(samples, fraction, seed=3) == (rest, held)
