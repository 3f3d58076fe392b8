"""Nuclei and cytoplasm of other tissue, drawn into images painted from known stains."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import ndimage
from tests.training.test_stains import EOSIN, HAEMATOXYLIN, amounts, paint

from napari_twostage.training.datasets.stains import StainProfile, estimate_stains
from napari_twostage.training.loop.tissue import pale_inside, tint_outside

if TYPE_CHECKING:
    from numpy.typing import NDArray

WHITE = 0.7
NUCLEUS = np.zeros((64, 64), bool)
NUCLEUS[10:30, 10:40] = True


def density(pixels: NDArray[np.generic]) -> NDArray[np.float64]:
    return -np.log(np.clip(pixels / (255 * WHITE), 1 / 255, 0.999))


@pytest.fixture
def image() -> NDArray[np.uint8]:
    """Haematoxylin in `NUCLEUS`, eosin round it, glass below."""
    return paint(amounts(), [HAEMATOXYLIN, EOSIN], WHITE)


@pytest.fixture
def stains(image: NDArray[np.uint8]) -> StainProfile:
    found = estimate_stains(image)
    assert found is not None
    return found


@pytest.fixture
def depth() -> NDArray[np.float32]:
    inside = ndimage.distance_transform_edt(NUCLEUS)
    return (inside / inside.max()).astype(np.float32)


def test_nuclei_get_pale_inside_and_keep_their_rim(
    image: NDArray[np.uint8], depth: NDArray[np.float32], stains: StainProfile
) -> None:
    changed = [pale_inside(image, depth, stains, np.random.default_rng(n)) for n in range(20)]
    kept = np.mean([density(each) for each in changed], axis=0) / density(image)
    middle, rim = depth > 0.9, (depth > 0) & (depth < 0.2)
    assert 0.6 < kept[middle].mean() < 0.9
    assert 0.9 < kept[rim].mean() < 1
    # but for rounding, and what is brighter than the white
    assert np.abs(np.mean(changed, axis=0) - image)[~NUCLEUS].max() <= 1


def test_cytoplasm_takes_haematoxylin_and_nuclei_do_not(
    image: NDArray[np.uint8], depth: NDArray[np.float32], stains: StainProfile
) -> None:
    changed = np.mean(
        [tint_outside(image, depth, stains, np.random.default_rng(seed)) for seed in range(20)],
        axis=0,
    )
    haematoxylin = (density(changed) @ np.linalg.inv(stains.vectors))[..., 0]
    cytoplasm, glass = amounts()[..., 1] > 0.3, amounts().sum(axis=-1) == 0
    apart = ndimage.binary_erosion(cytoplasm & ~NUCLEUS, iterations=4)
    assert haematoxylin[apart].mean() > 0.1
    assert np.abs(haematoxylin[ndimage.binary_erosion(glass, iterations=4)]).max() < 0.05
    deep = depth > 0.5
    assert np.abs(changed[deep] - image[deep]).max() <= 1


def test_the_same_seed_changes_tissue_alike(
    image: NDArray[np.uint8], depth: NDArray[np.float32], stains: StainProfile
) -> None:
    for change in (pale_inside, tint_outside):
        once, again, other = (
            change(image, depth, stains, np.random.default_rng(seed)) for seed in (3, 3, 4)
        )
        assert np.array_equal(once, again)
        assert not np.array_equal(once, other)
