"""Nuclei and cytoplasm of tissue that training images have too few of, drawn into bright fields.

Tumours have nuclei that are pale inside (open chromatin, a thin rim, dark clumps and nucleoli), and
cytoplasm that takes haematoxylin. Normal tissue has few of either: a network that learnt from it
breaks the first into their chromatin and takes the second for nuclei.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.training.datasets.stains import StainProfile

DARKEST = 1 / 255
PALE = (0.3, 0.7)
"""Range of the largest share of its density that the middle of an object loses."""
PALE_PATCH_PX = 16
"""Distance over which the share goes from one drawn value to the next."""
RIM_POWER = (0.3, 1.0)
"""Power of the depth that the loss follows: the lower, the thinner the rim."""
GRAIN_PX = 1.2
"""Size of the clumps of chromatin, which stay dark."""
CLUMPED_SHARE = (0.02, 0.2)
"""Share of the pixels that are clumps."""
SOFT_PX = 0.7
"""Blur of the clumps' edges."""
TINT = (0.2, 0.7)
"""Range of the largest share of the eosin outside objects that turns into haematoxylin."""
TINT_PATCH_PX = 24


def pale_inside(
    pixels: NDArray[np.uint8],
    depth: NDArray[np.float32],
    stains: StainProfile,
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """Lower the optical density inside objects, most where they are deep.

    Parameters
    ----------
    pixels : (S, S, 3) uint8 array
        Bright-field image.
    depth : (S, S) float array
        Distance to the outside of each pixel's object, as a share of the object's largest.
    stains : StainProfile
        Stains of the image.
    rng : Generator
    """
    lost = _patches(len(depth), PALE, PALE_PATCH_PX, rng) * depth ** rng.uniform(*RIM_POWER)
    grain = ndimage.gaussian_filter(rng.standard_normal(depth.shape), GRAIN_PX)
    clumps = grain > np.quantile(grain, 1 - rng.uniform(*CLUMPED_SHARE))
    lost *= 1 - ndimage.gaussian_filter(clumps.astype(np.float32), SOFT_PX)
    density = _density(pixels, stains)
    return _painted(density * (1 - lost)[..., None], stains)


def tint_outside(
    pixels: NDArray[np.uint8],
    depth: NDArray[np.float32],
    stains: StainProfile,
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """Turn eosin outside objects into haematoxylin; see `pale_inside` for the parameters."""
    outside = 1 - np.minimum(1, ndimage.gaussian_filter(4 * depth, 1))
    share = _patches(len(depth), TINT, TINT_PATCH_PX, rng) * outside
    density = _density(pixels, stains)
    eosin = np.maximum((density @ np.linalg.inv(stains.vectors))[..., 1], 0)
    amounts = stains.densities
    change = amounts[0] / amounts[1] * stains.vectors[0] - stains.vectors[1]
    return _painted(density + (share * eosin)[..., None] * change, stains)


def _patches(
    side: int, strength: tuple[float, float], patch_px: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """(side, side) values that change slowly, from 0 to a highest one that is drawn too."""
    places = rng.random((-(-side // patch_px) + 1,) * 2)
    smooth: NDArray[np.float64] = ndimage.zoom(places, side / len(places), order=1)
    return rng.uniform(*strength) * smooth


def _density(pixels: NDArray[np.uint8], stains: StainProfile) -> NDArray[np.float32]:
    density: NDArray[np.float32] = -np.log(
        np.clip(pixels / (np.float32(255) * stains.white), np.float32(DARKEST), 1)
    )
    return density


def _painted(density: NDArray[np.floating], stains: StainProfile) -> NDArray[np.uint8]:
    bright = np.exp(-np.maximum(density, 0))
    image: NDArray[np.uint8] = np.rint(255 * stains.white * bright).astype(np.uint8)
    return image
