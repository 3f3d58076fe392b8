"""Stains of a bright-field image, after Macenko, and their change into those of another.

Optical density is −log(I / white): linear in the amounts of the stains (Beer-Lambert). Macenko et
al., A method for normalizing histology slides for quantitative analysis, ISBI 2009.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

PIXELS = 4096
"""Pixels that a profile is estimated from."""
FAINT = 0.15
"""Optical density below which a pixel tells nothing of the stains."""
ANGLE_PERCENTILES = (1.0, 99.0)
DENSE_PERCENTILE = 99.0
WHITE_PERCENTILE = 99.5
DARKEST = 1 / 255
LEAST_DENSITY = 0.05


class StainProfile(NamedTuple):
    """White and stains of one image."""

    white: NDArray[np.float32]
    """(3,) values in (0, 1] where no stain is."""
    vectors: NDArray[np.float32]
    """(3, 3): optical density of haematoxylin, of eosin, and of what is neither, as unit rows."""
    densities: NDArray[np.float32]
    """(3,) amounts of haematoxylin and eosin that few pixels exceed, and 1."""


def estimate_stains(image: NDArray[np.uint8]) -> StainProfile | None:
    """Estimate the stains of a (H, W, 3) image; None if it has too little colour to tell."""
    pixels = image.reshape(-1, 3)[:: max(1, image.shape[0] * image.shape[1] // PIXELS)] / 255.0
    white = np.maximum(np.percentile(pixels, WHITE_PERCENTILE, axis=0), 10 * DARKEST)
    density = -np.log(np.clip(pixels / white, DARKEST, 1))
    stained = density[density.max(axis=1) > FAINT]
    if len(stained) < PIXELS // 16:
        return None
    plane = np.linalg.eigh(np.cov(stained.T))[1][:, :0:-1]
    plane *= np.sign(plane.sum(axis=0, keepdims=True) + 1e-9)
    flat = stained @ plane
    low, high = np.percentile(np.arctan2(flat[:, 1], flat[:, 0]), ANGLE_PERCENTILES)
    ends = [plane @ (np.cos(angle), np.sin(angle)) for angle in (low, high)]
    ends.sort(key=lambda vector: -vector[0])  # haematoxylin takes more of the red
    vectors = _completed(np.clip(np.array(ends), 1e-3, None))
    if vectors is None:
        return None
    amounts = np.percentile(stained @ np.linalg.inv(vectors), DENSE_PERCENTILE, axis=0)
    densities = np.array([*np.maximum(amounts[:2], LEAST_DENSITY), 1.0])
    return StainProfile(*(part.astype(np.float32) for part in (white, vectors, densities)))


def _completed(pair: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Two stains as unit vectors with a third, perpendicular one; None if they are one stain."""
    pair = pair / np.linalg.norm(pair, axis=1, keepdims=True)
    third = np.cross(pair[0], pair[1])
    length = float(np.linalg.norm(third))
    return np.vstack([pair, third / length]) if length > LEAST_DENSITY else None


def transfer_matrix(own: StainProfile, other: StainProfile) -> NDArray[np.float32]:
    """Matrix (3, 3) by which densities of one image are multiplied to be stained as another."""
    gains = np.clip(other.densities / own.densities, 0.4, 2.5)
    matrix: NDArray[np.float32] = np.linalg.inv(own.vectors) @ (gains[:, None] * other.vectors)
    return matrix
