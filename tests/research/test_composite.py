"""Composite slides: images lie where the slide says, and both ways of segmenting see the same."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tests.training.make_dataset import make_dataset

from napari_twostage.models.networks.lite_unet import LiteUNet
from napari_twostage.slides import open_slide
from napari_twostage.training.config import load_config
from napari_twostage.training.datasets import DatasetError, Samples
from napari_twostage.training.run.run_folder import claim_folder
from training.composite.__main__ import main
from training.composite.slide import CELL_PX, compose_mosaic, compose_slide, write_slide

CONFIGS = Path(__file__).parents[2] / "training" / "configs"


def samples(level: int) -> Samples:
    """Images of several shapes about a grey level, each with a mask that can be seen in it."""
    rng = np.random.default_rng(level)
    found = {}
    for number, shape in enumerate([(256, 256), (360, 320), (1024, 1100)]):
        mask = (rng.random(shape) < 0.2).astype(np.uint8)
        image = np.where(mask[..., None] > 0, 255 - level, level).astype(np.uint8)
        found[f"{number}.png"] = lambda image=image, mask=mask: (
            np.repeat(image, 3, axis=-1),
            mask,
        )
    return Samples(found)


@pytest.mark.parametrize("bright", [True, False])
def test_images_fill_the_share_and_lie_under_their_masks(bright: bool) -> None:
    level = 200 if bright else 20
    made = compose_slide(samples(level), side_px=4096, share=0.25, bright_field=bright)
    assert made.image.shape == (4096, 4096, 3)
    covered = sum(placed.box.area for placed in made.placed) / made.image[..., 0].size
    assert 0.2 < covered <= 0.25
    empty = np.ones((4096, 4096), bool)
    for placed in made.placed:
        assert empty[placed.box.slices].all()  # none over another
        empty[placed.box.slices] = False
        pixels = made.image[placed.box.slices][..., 0]
        assert np.array_equal(pixels == 255 - level, placed.mask > 0)
    assert len(np.unique(made.image[empty])) == 1


def test_a_mosaic_is_full_of_images_most_of_them_without_foreground() -> None:
    rng = np.random.default_rng(0)
    found = {}
    for number, shape in enumerate([(150, 210), (180, 200), (150, 260)]):
        mask = np.zeros(shape, np.uint8) if number else (rng.random(shape) < 0.2).astype(np.uint8)
        image = np.repeat(np.where(mask[..., None] > 0, 90, 180 + number).astype(np.uint8), 3, -1)
        found[f"{number}.png"] = lambda image=image, mask=mask: (image, mask)
    made = compose_mosaic(Samples(found), side_px=4000, empty=0.9)
    covered = np.zeros((4000, 4000), int)
    for placed in made.placed:
        covered[placed.box.slices] += 1
        assert placed.mask.shape == placed.box.shape
        assert np.array_equal(made.image[placed.box.slices][..., 0] == 90, placed.mask > 0)
    assert (covered == 1).all()
    share = np.mean([not placed.mask.any() for placed in made.placed])
    assert 0.85 < share < 0.95
    with pytest.raises(DatasetError, match="leave out --empty"):
        compose_mosaic(samples(20), side_px=1000, empty=0.5)


def test_a_composite_is_that_of_its_seed() -> None:
    one, same, other = (
        compose_slide(samples(20), side_px=2048, share=0.5, bright_field=False, seed=seed)
        for seed in (0, 0, 1)
    )
    assert np.array_equal(one.image, same.image)
    assert not np.array_equal(one.image, other.image)


def test_the_slide_on_disk_is_a_pyramid_of_that_image(tmp_path: Path) -> None:
    made = compose_slide(samples(20), side_px=4096, share=0.25, bright_field=False)
    write_slide(tmp_path / "slide.tif", made.image, 0.5)
    with open_slide(tmp_path / "slide.tif") as slide:
        assert slide.mpp == pytest.approx((0.5, 0.5))
        assert list(slide.level_shapes) == [(4096, 4096), (1024, 1024)]
        placed = made.placed[0]
        read = np.asarray(slide.read(placed.box), float)
        assert np.abs(read - made.image[placed.box.slices]).mean() < 12  # JPEG of noise


def test_no_image_of_that_light_is_refused() -> None:
    with pytest.raises(DatasetError, match="choose another --ground or --side"):
        compose_slide(samples(20), side_px=4096, share=0.2, bright_field=True)


def test_one_command_composes_segments_and_compares(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_dataset(tmp_path / "data")
    torch.manual_seed(0)
    run = tmp_path / "dense"
    claim_folder(run, load_config(CONFIGS / "nuclei_dense.toml"))
    save_file(LiteUNet().state_dict(), run / "stage1.safetensors")
    folders = ["--data", str(tmp_path / "data"), "--dense", str(run)]
    size = ["--side", str(CELL_PX), "--share", "1", "--rounds", "1", "--split", "train"]
    out = ["--out", str(tmp_path / "out"), "--thresholds", "0.01", "0.9"]
    assert main([*folders, *size, *out, "--ground", "bright"]) == 0
    (table,) = (tmp_path / "out").glob("composite_*.csv")
    with table.open(newline="") as file:
        rows = {row["run"]: row for row in csv.DictReader(file)}
    assert list(rows) == [
        "dense",
        "stage 1 only",
        "two stages, threshold 0.01",
        "two stages, threshold 0.9",
    ]
    assert rows["dense"]["speed-up"] == "1.0×"
    assert float(rows["two stages, threshold 0.01"]["tiles refined (%)"]) > 0
    same = {rows[name]["Dice (%)"] for name in ("stage 1 only", "two stages, threshold 0.9")}
    assert len(same) == 1
    assert main([*folders, *size, *out, "--ground", "dark"]) == 2
    assert "--ground" in capsys.readouterr().err
    assert main([*folders, *size, *out, "--empty", "0.5"]) == 2
    assert "--empty" in capsys.readouterr().err
