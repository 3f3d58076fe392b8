"""Targets of the object output, and objects made from it, against shapes that are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from napari_twostage.method.instances import quantised, separate
from napari_twostage.training.datasets import DatasetError
from napari_twostage.training.datasets.objects import (
    object_target,
    read_instances,
    split_at_necks,
)
from napari_twostage.training.evaluation.object_quality import compare_objects, total

if TYPE_CHECKING:
    from pathlib import Path


def discs(*centres: tuple[int, int], radius: int = 10, side: int = 64) -> np.ndarray:
    """Number discs by the nearest centre."""
    rows, columns = np.mgrid[:side, :side]
    far = np.stack([np.hypot(rows - row, columns - column) for row, column in centres])
    return np.where(far.min(axis=0) <= radius, far.argmin(axis=0) + 1, 0)


def test_touching_discs_are_split_at_their_neck_and_single_ones_are_not() -> None:
    truth = discs((20, 20), (20, 36), (48, 40))
    split = split_at_necks(truth > 0)
    assert split.max() == 3
    quality = compare_objects(split, truth)
    assert quality.f1 == 1
    assert quality.panoptic_quality > 0.95


def test_every_region_of_a_mask_keeps_a_number() -> None:
    mask = np.random.default_rng(0).random((50, 60)) > 0.6
    assert np.array_equal(split_at_necks(mask) > 0, mask)
    assert split_at_necks(np.zeros((9, 9))).max() == 0
    assert split_at_necks(np.ones((9, 9))).max() == 1


def test_distance_by_hand() -> None:
    """A square of 5: rings of 0.5, 1.5 and 2.5 pixels from its edge, as shares of 2.5."""
    numbers = np.zeros((9, 9), int)
    numbers[2:7, 2:7] = 7
    target = object_target(numbers, "distance")
    assert target[2, 2] == round(255 * 0.5 / 2.5)
    assert target[3, 4] == round(255 * 1.5 / 2.5)
    assert target[4, 4] == 255
    assert target[0, 0] == 0


def test_objects_that_touch_have_an_edge_between_them() -> None:
    numbers = np.repeat([[1] * 10 + [2] * 10], 20, axis=0)
    target = object_target(numbers, "distance")
    assert target[10, 9] == target[10, 10] < 40
    assert target[10, 0] == target[10, 19] == 255, "the rim of the image is no edge"
    edge = object_target(numbers, "boundary")
    assert edge[10].tolist() == [0] * 8 + [255] * 4 + [0] * 8


def test_a_boundary_is_as_wide_at_any_pixel_size() -> None:
    """2 pixels of the model are 4 of an image at half the pixel size."""
    numbers = np.repeat([[1] * 20 + [2] * 20], 20, axis=0)
    assert (object_target(numbers, "boundary", zoom=0.5)[10] > 0).sum() == 8


def test_instances_of_16_bits_are_read_and_colours_refused(tmp_path: Path) -> None:
    numbers = np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000
    Image.fromarray(numbers).save(tmp_path / "a.png")
    assert np.array_equal(read_instances(tmp_path / "a.png"), numbers)
    Image.fromarray(np.zeros((3, 4, 3), np.uint8)).save(tmp_path / "b.png")
    with pytest.raises(DatasetError, match="holds colours"):
        read_instances(tmp_path / "b.png")


def test_objects_come_back_from_their_distance() -> None:
    truth = discs((20, 20), (20, 37), (48, 40))
    depth = quantised(object_target(truth, "distance") / 255)
    found = separate(truth > 0, depth)
    assert compare_objects(found, truth).f1 == 1
    assert np.array_equal(found > 0, truth > 0)


def test_a_region_without_a_middle_is_one_object() -> None:
    truth = discs((20, 20), (48, 48))
    found = separate(truth > 0, np.zeros(truth.shape, np.uint8))
    assert compare_objects(found, truth).f1 == 1
    assert separate(np.zeros((5, 5)), np.zeros((5, 5), np.uint8)).max() == 0


def test_a_fragment_is_part_of_the_larger_object_that_it_touches() -> None:
    """A bud of 12 pixels on a disc, with a middle of its own, and the same bud alone."""
    mask = discs((20, 20), (48, 48)) > 0
    mask[18:22, 29:32] = mask[2:6, 60:63] = True
    depth = np.zeros(mask.shape, np.uint8)
    for middle in (slice(12, 28), slice(12, 28)), (slice(18, 22), slice(30, 32)):
        depth[middle] = 254
    depth[:, 28] = 0
    found = separate(mask, depth)
    assert found[20, 20] == found[20, 31] > 0
    assert len(np.unique(found)) == 4, "the background, two discs, and the bud that is alone"


def test_quality_by_hand() -> None:
    """Predicted: one of two objects whole, the other cut to 40 %, and one that is not there."""
    true = np.zeros((10, 30), int)
    true[:, :10], true[:, 20:] = 1, 2
    predicted = np.zeros_like(true)
    predicted[:, :10], predicted[:, 20:24], predicted[:5, 14:16] = 4, 9, 2
    quality = compare_objects(predicted, true)
    assert (quality.matched, quality.predicted, quality.true) == (1, 3, 2)
    assert quality.f1 == pytest.approx(2 * 1 / 5)
    assert quality.panoptic_quality == pytest.approx(1 * 2 / 5)
    # shared: 100 + 40; unions: 100 + 100, and 10 pixels that match nothing
    assert quality.aggregated_jaccard == pytest.approx(140 / 210)
    assert compare_objects(predicted, true, least_px=11).predicted == 2
    both = total([quality, compare_objects(true, true)])
    assert both.f1 == pytest.approx(2 * 3 / 9)
    nothing = np.zeros((4, 4), int)
    assert compare_objects(nothing, nothing).f1 == 1
