"""Data sets: loaded as they are, and what is wrong with them is named."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from tests.training.make_dataset import make_dataset
from tests.training.tiny_run import CROPS, make_config

from napari_twostage.training.config import ConfigError, WholeImages, load_config
from napari_twostage.training.datasets import (
    CachedSamples,
    DatasetError,
    Sample,
    Samples,
    assign_folds,
    hold_out,
    load_split,
)
from napari_twostage.training.loop.batches import make_draw
from napari_twostage.training.run.images import open_fold, open_samples

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


def test_a_set_with_several_kinds_of_masks_is_read_with_the_one_that_is_named(folder: Path) -> None:
    shutil.copytree(folder / "masks", folder / "masks_dark")
    Image.fromarray(np.zeros((96, 96), np.uint8)).save(folder / "masks_dark" / "b.png")
    sides = open_samples(make_config(folder, CROPS, "data.masks=masks_dark"), folder)
    found = {sample.name: bool(sample.mask.any()) for side in sides for sample in side}
    assert found == {"a.png": True, "b.png": False, "c.png": True}


@pytest.mark.parametrize("name", ["", "..", "a/b", "a\\b", "c:"])
def test_masks_outside_the_set_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="masks must be the name of a folder"):
        make_config(tmp_path, CROPS, f"data.masks={name}")


def test_images_are_read_smaller_and_a_pixel_is_of_the_class_that_most_of_it_is(
    folder: Path,
) -> None:
    planes = np.random.default_rng(0).integers(0, 256, (91, 96, 3), dtype=np.uint8)
    values = np.zeros((91, 96), np.uint8)
    values[:4, :2], values[:4, 2:3], values[88:, :3], values[88:, 4:5] = 1, 1, 1, 1
    Image.fromarray(planes).save(folder / "images" / "b.png")
    Image.fromarray(values * 255).save(folder / "masks" / "b.png")
    sides = open_samples(make_config(folder, CROPS, "data.reduce=4"), folder)
    (found,) = [sample for side in sides for sample in side if sample.name == "b.png"]
    means = planes[:88].reshape(22, 4, 24, 4, 3).mean(axis=(1, 3))
    assert found.image.shape == (23, 24, 3)
    assert np.abs(found.image[:22] - means).max() <= 0.5
    # three quarters of the first pixel, three quarters of one at the border, a quarter beside it
    assert np.argwhere(found.mask).tolist() == [[0, 0], [22, 0]]
    with pytest.raises(ConfigError, match="reduce must be 1 or more"):
        make_config(folder, CROPS, "data.reduce=0")


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


def test_folds_keep_groups_together_and_are_of_about_one_size() -> None:
    groups = ["p1"] * 7 + ["p2"] * 3 + [f"q{number}" for number in range(20)]
    folds = assign_folds(groups, 3, seed=5)
    assert len({folds[place] for place in range(7)}) == 1
    assert len({folds[place] for place in range(7, 10)}) == 1
    assert [folds.count(fold) for fold in range(3)] == [10, 10, 10]
    assert assign_folds(groups, 3, seed=5) == folds
    assert assign_folds(groups, 3, seed=6) != folds


def test_a_fold_is_left_out_of_training_and_all_folds_are_all_images(folder: Path) -> None:
    seen = []
    for fold in range(2):
        config = make_config(
            folder, CROPS, "data.split=all", "data.folds=2", f"data.fold={fold}", "data.seed=1"
        )
        training, validation = open_samples(config, folder)
        names = {sample.name for sample in [*training, *validation]}
        left_out = set(open_fold(config, folder).names)
        assert len(names) == len(left_out) == 2
        assert not names & left_out
        seen += sorted(left_out)
    assert sorted(seen) == ["a.png", "b.png", "c.png", "d.png"]


def test_without_folds_none_is_left_out(folder: Path) -> None:
    with pytest.raises(DatasetError, match="is left out"):
        open_fold(make_config(folder, CROPS), folder)


def test_what_fits_is_decoded_once_and_the_rest_each_time() -> None:
    read: list[int] = []

    def reader(number: int) -> tuple[np.ndarray, np.ndarray]:
        read.append(number)
        return np.full((10, 10, 3), number, np.uint8), np.zeros((10, 10), np.uint8)

    lazy = Samples({str(n): lambda n=n: reader(n) for n in range(4)})
    kept = CachedSamples(lazy, limit_bytes=900)  # two of 400
    for _ in range(3):
        assert [int(sample.image[0, 0, 0]) for sample in kept] == [0, 1, 2, 3]
    assert sorted(read) == [0, 1, 2, 2, 2, 3, 3, 3]
    assert len(kept) == 4
    assert [sample.name for sample in kept[1:3]] == ["1", "2"]


def test_training_does_not_change_the_samples_that_are_kept(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    samples = CachedSamples(load_split(tmp_path, "train"))
    before = [(sample.image.copy(), sample.mask.copy()) for sample in samples]
    (tmp_path / "tiny.toml").write_text(CROPS)
    config = load_config(tmp_path / "tiny.toml")
    draw = make_draw(samples, config, config.stage1, seed=0)
    whole = replace(config, whole_images=WholeImages(size_px=96))
    draw_whole = make_draw(samples, whole, config.stage1, seed=0)
    for step in range(8):
        draw(step)
        draw_whole(step)
    for sample, (image, mask) in zip(samples, before, strict=True):
        assert np.array_equal(sample.image, image)
        assert np.array_equal(sample.mask, mask)
