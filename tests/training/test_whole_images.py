"""Whole images: one size, masks that follow images, every image once an epoch."""

from __future__ import annotations

import numpy as np
import pytest

from napari_twostage.training.config import WholeImages
from napari_twostage.training.datasets.resize import resize_image, resize_mask
from napari_twostage.training.loop.batches import prefetch, shuffled
from napari_twostage.training.loop.whole_images import augment_image

STILL = WholeImages(size_px=64, flip=False, brightness=0, contrast=0, scale=1)


def square(side: int = 64) -> tuple[np.ndarray, np.ndarray]:
    mask = np.zeros((side, side), np.uint8)
    mask[10:30, 16:52] = 1
    mask[36:50, 8:20] = 2
    return np.repeat((40 + 80 * mask)[..., None], 3, axis=2).astype(np.uint8), mask


def test_nothing_changes_where_nothing_is_asked_for() -> None:
    image, mask = square()
    assert resize_image(image, 64) is image
    assert np.array_equal(resize_mask(mask, 64), mask)
    changed, moved = augment_image(image, mask, STILL, np.random.default_rng(0))
    assert np.array_equal(changed, image)
    assert np.array_equal(moved, mask)


@pytest.mark.parametrize("shape", [(30, 90), (200, 128)])
def test_any_shape_becomes_a_square_and_classes_stay_classes(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (*shape, 3), np.uint8)
    mask = rng.choice(np.array([0, 2, 5], np.uint8), shape)
    assert resize_image(image, 64).shape == (64, 64, 3)
    assert set(np.unique(resize_mask(mask, 64))) == {0, 2, 5}
    assert resize_image(image, 64).mean() == pytest.approx(image.mean(), abs=2)


@pytest.mark.parametrize("rotation", [0.0, 180.0])
def test_masks_go_where_their_images_go(rotation: float) -> None:
    config = WholeImages(size_px=64, brightness=0, contrast=0, rotation_degrees=rotation)
    image, mask = square()
    seen = set()
    for seed in range(8):
        changed, moved = augment_image(image, mask, config, np.random.default_rng(seed))
        seen.add(moved.tobytes())
        # between pixels images are blended and masks are not
        inside = np.abs(changed[..., 0].astype(int) - 40 - 80 * moved.astype(int)) < 5
        assert inside.mean() > 0.85
        assert set(np.unique(moved)) <= {0, 1, 2}
    assert len(seen) == 8


def test_a_flip_is_a_mirror_image() -> None:
    config = WholeImages(size_px=64, brightness=0, contrast=0, scale=1)
    image, mask = square()
    found = [augment_image(image, mask, config, np.random.default_rng(s))[1] for s in range(20)]
    mirrored = [np.array_equal(each, mask[:, ::-1]) for each in found]
    assert 3 < sum(mirrored) < 17
    same = [each for each, turned in zip(found, mirrored, strict=True) if not turned]
    assert all(np.array_equal(each, mask) for each in same)


def test_scaling_enlarges_by_as_much_as_stated() -> None:
    config = WholeImages(size_px=64, flip=False, brightness=0, contrast=0, scale=1.25)
    _, mask = square()
    blank = np.zeros((64, 64, 3), np.uint8)
    areas = [
        (augment_image(blank, mask == 1, config, np.random.default_rng(s))[1] > 0).sum()
        for s in range(10)
    ]
    assert max(areas) == pytest.approx((mask == 1).sum() * 1.25**2, rel=0.08)


def test_colours_vary_within_what_is_stated() -> None:
    config = WholeImages(size_px=64, flip=False, scale=1, brightness=0.1, contrast=0)
    image, mask = square()
    rngs = [np.random.default_rng(seed) for seed in range(100)]
    ratios = [augment_image(image, mask, config, rng)[0].mean() / image.mean() for rng in rngs]
    assert 0.895 < min(ratios) < 0.92
    assert 1.08 < max(ratios) < 1.105


def test_every_image_is_seen_once_an_epoch_in_an_order_of_its_own() -> None:
    drawn = [index for step in range(7) for index in shuffled(14, 4, 0, step)]
    epochs = [drawn[:14], drawn[14:]]
    assert all(sorted(epoch) == list(range(14)) for epoch in epochs)
    assert epochs[0] != epochs[1]
    assert drawn != [index for step in range(7) for index in shuffled(14, 4, 1, step)]


@pytest.mark.parametrize("steps", [range(40), range(33, 40), range(5, 5)])
def test_batches_come_in_the_order_of_steps(steps: range) -> None:
    assert list(prefetch(lambda step: step, steps)) == list(steps)


def test_an_error_while_drawing_a_batch_is_raised_where_it_is_asked_for() -> None:
    def draw(step: int) -> int:
        if step == 3:
            raise OSError("gone")
        return step

    batches = prefetch(draw, range(9))
    assert [next(batches) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(OSError, match="gone"):
        next(batches)
