"""Crops for training: the right sizes, masks that follow images, the same from the same seed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from napari_twostage.method.features import is_bright_field
from napari_twostage.training.config import Augmentation
from napari_twostage.training.datasets import Sample
from napari_twostage.training.loop.batches import draw_crops
from napari_twostage.training.loop.crops import cut_crop

if TYPE_CHECKING:
    from napari_twostage.training.loop.batches import Batch

STILL = Augmentation(
    scale=(1.0, 1.0),
    bright_field_scale=(1.0, 1.0),
    brightness=0.0,
    contrast=0.0,
    gamma=0.0,
    stain=0.0,
    grey=0.0,
    blur=0.0,
)
"""Moves and turns crops, and leaves their values."""


def sample(height: int, width: int, *, ground: int = 40) -> Sample:
    """Make squares 120 levels from the ground."""
    mask = np.zeros((height, width), np.uint8)
    rng = np.random.default_rng(0)
    for top, left in rng.integers(0, min(height, width) - 12, (9, 2)):
        mask[top : top + 12, left : left + 12] = 1
    sign = 1 if ground < 128 else -1
    image = np.repeat((ground + sign * 120 * mask.astype(int))[..., None], 3, axis=2).astype(
        np.uint8
    )
    return Sample("s", image, mask)


def draw(samples: list[Sample], augmentation: Augmentation, seed: int = 0) -> Batch:
    weights = np.full(len(samples), 1 / len(samples))
    rng = np.random.default_rng(seed)
    return draw_crops(samples, weights, size_px=48, count=6, augmentation=augmentation, rng=rng)


@pytest.mark.parametrize("shape", [(90, 120), (30, 200), (20, 21)])
@pytest.mark.parametrize("ground", [40, 220])
def test_batches_have_one_shape_whatever_the_images(shape: tuple[int, int], ground: int) -> None:
    images, masks, *_ = draw([sample(*shape, ground=ground)], Augmentation())
    assert images.shape == (6, 48, 48, 3)
    assert images.dtype == torch.uint8
    assert masks.shape == (6, 48, 48)
    assert masks.dtype == torch.int64
    assert set(masks.unique().tolist()) == {0, 1}


def test_the_same_seed_draws_the_same_batch_and_another_one_another() -> None:
    samples = [sample(90, 120), sample(100, 80, ground=220)]
    first, again, other = (draw(samples, Augmentation(), seed) for seed in (3, 3, 4))
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.masks, again.masks)
    assert not torch.equal(first[0], other[0])


@pytest.mark.parametrize("shape", [(90, 120), (20, 21)])
def test_masks_go_where_their_images_go(shape: tuple[int, int]) -> None:
    images, masks, *_ = draw([sample(*shape)], STILL)
    assert torch.equal(images[..., 0] > 100, masks > 0)
    assert len({mask.numpy().tobytes() for mask in masks}) > 1, "crops differ"


def test_masks_go_where_their_images_go_at_other_sizes() -> None:
    scaled = Augmentation(
        scale=(0.6, 1.5), brightness=0.0, contrast=0.0, gamma=0.0, grey=0.0, blur=0.0
    )
    images, masks, *_ = draw([sample(150, 150)], scaled)
    assert ((images[..., 0] > 100) == (masks > 0)).float().mean() > 0.99


@pytest.mark.parametrize("scale", [(1.0, 1.0), (0.6, 1.5)])
def test_several_classes_go_where_their_images_go(scale: tuple[float, float]) -> None:
    """Between classes 1 and 3 lies no 2: values are not blended."""
    mask = np.zeros((150, 150), np.uint8)
    mask[:, 30:70], mask[60:90, 70:120] = 1, 3
    image = np.repeat((20 + 60 * mask)[..., None], 3, axis=2).astype(np.uint8)
    moved = replace(STILL, scale=scale)
    images, masks, *_ = draw_crops(
        [Sample("s", image, mask)],
        np.ones(1),
        size_px=64,
        count=6,
        augmentation=moved,
        rng=np.random.default_rng(0),
        classes=3,
    )
    assert set(masks.unique().tolist()) == {0, 1, 3}
    assert ((images[..., 0].float() - 20 - 60 * masks).abs() < 5).float().mean() > 0.95


@pytest.mark.parametrize("shape", [(150, 150), (20, 21)])
def test_what_was_taught_goes_where_its_image_goes(shape: tuple[int, int]) -> None:
    pupil = sample(*shape)
    soft_targets = np.stack([255 * pupil.mask, np.full(shape, 51, np.uint8)])
    moved = replace(STILL, scale=(0.6, 1.5))
    _, masks, shares, _ = draw([replace(pupil, soft_targets=soft_targets)], moved)
    assert shares is not None
    assert (shares.shape, shares.dtype) == ((6, 2, 48, 48), torch.float32)
    assert torch.equal(shares[:, 0] > 0.5, masks > 0)
    torch.testing.assert_close(shares[:, 1], torch.full_like(shares[:, 1], 0.2))
    assert draw([pupil], moved).soft_targets is None


def test_dark_fields_are_never_darkened_to_nothing() -> None:
    """Their nuclei stay brighter than the ground."""
    images, masks, *_ = draw([sample(120, 120)], Augmentation(blur=0.0), seed=1)
    for image, mask in zip(images.float(), masks, strict=True):
        if mask.unique().numel() == 2:
            assert image[mask > 0].mean() > image[mask == 0].mean() + 20


def test_weights_decide_what_is_drawn() -> None:
    samples = [sample(90, 90), sample(90, 90, ground=220)]
    rng = np.random.default_rng(0)
    images, *_ = draw_crops(
        samples, np.array([0.0, 1.0]), size_px=32, count=8, augmentation=STILL, rng=rng
    )
    assert all(is_bright_field(image.numpy()) for image in images)


def test_stained_tissue_on_glass_is_told_from_dark_fields() -> None:
    assert is_bright_field(sample(60, 60, ground=220).image)
    assert not is_bright_field(sample(60, 60).image)


def test_dim_stained_slides_are_bright_fields() -> None:
    """NuInsSeg's whites are at 150 of 255, its means below 100."""
    dim = sample(60, 60, ground=90).image.copy()
    dim[..., 0] = 60
    assert dim.mean() < 115
    assert is_bright_field(dim)
    blue = np.zeros((60, 60, 3), np.uint8)
    blue[20:30, 20:30, 2] = 250
    assert not is_bright_field(blue), "a stained dark field"


def test_a_share_of_the_crops_is_placed_on_the_foreground() -> None:
    """One object of 4 x 4 pixels in 400 x 400: at random, one crop in 400 would hold it."""
    mask = np.zeros((400, 400), np.uint8)
    mask[300:304, 200:204] = 1
    rare = Sample("s", np.full((400, 400, 3), 40, np.uint8), mask)
    rng = np.random.default_rng(0)

    def found(share: float) -> float:
        crops = [cut_crop(rare, 20, STILL, rng, 1, foreground_share=share) for _ in range(200)]
        return float(np.mean([crop.mask.any() for crop in crops]))

    assert found(0.0) < 0.03
    assert found(1.0) == 1
    assert found(0.5) == pytest.approx(0.5, abs=0.12)


@pytest.mark.parametrize("size", [1, 24])
def test_crops_are_placed_on_objects_by_their_area(size: int) -> None:
    """Objects of one and three shares, too rare to be met by chance or not."""
    mask = np.zeros((1200, 1200), np.uint8)
    mask[100 : 100 + size, 100 : 100 + size] = 1
    mask[1000 : 1000 + size, 1000 : 1000 + 3 * size] = 1
    image = np.full((1200, 1200, 3), 40, np.uint8)
    image[600:] = 200
    rare, rng = Sample("s", image, mask), np.random.default_rng(0)
    crops = [cut_crop(rare, 16, STILL, rng, 1, foreground_share=1.0) for _ in range(400)]
    lower = np.mean([crop.image.mean() > 120 for crop in crops])
    assert lower == pytest.approx(0.75, abs=0.07)


def test_rare_classes_are_sought_as_often_as_common_ones() -> None:
    mask = np.zeros((900, 900), np.uint8)
    mask[:400, :400] = 1
    mask[800, 800] = 3  # there is no 2
    sparse, rng = Sample("s", np.full((900, 900, 3), 40, np.uint8), mask), np.random.default_rng(0)
    crops = [cut_crop(sparse, 12, STILL, rng, 3, foreground_share=1.0) for _ in range(300)]
    assert all(crop.mask.any() for crop in crops)
    assert np.mean([(crop.mask == 3).any() for crop in crops]) == pytest.approx(0.5, abs=0.1)


def test_images_are_read_at_the_pixel_size_of_the_model() -> None:
    """Squares of 12 pixels at half the pixel size are squares of 6."""
    mask = np.zeros((192, 192), np.uint8)  # the crop is the whole image
    mask[::24, ::24] = 1
    mask = np.kron(mask[::12, ::12], np.ones((12, 12), np.uint8))
    image = np.repeat((40 + 120 * mask)[..., None], 3, axis=2)
    crop = cut_crop(Sample("s", image, mask, zoom=0.5), 96, STILL, np.random.default_rng(1), 1)
    runs = np.diff(np.flatnonzero(np.diff(crop.mask.max(axis=0))))
    assert set(runs[1:-1].tolist()) <= {6}
    assert ((crop.image[..., 0] > 100) == (crop.mask > 0)).mean() > 0.9


def test_the_target_of_the_objects_goes_where_its_image_goes() -> None:
    whole = sample(120, 120)
    whole = replace(whole, objects=200 * whole.mask)
    batch = draw([whole], STILL)
    assert batch.objects is not None
    torch.testing.assert_close(batch.objects, batch.masks.float() * 200 / 255)
    assert draw([sample(120, 120)], STILL).objects is None
