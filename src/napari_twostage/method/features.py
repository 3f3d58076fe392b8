"""Features of a coarse window: stage 1's confidence, stain, sharpness and size of objects.

All follow from the pixels and the logits that the coarse pass reads and computes anyway. They are
named in `models.training_domain`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_twostage.method.uncertainty import pixel_statistics

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.geometry import Scale

SIDE = 64
"""Pixels a side, at least, that are enough to tell a bright field."""
LIGHT, DIM = 115, 35
"""Mean values: above the first all images are bright field, below the second none are."""
COLOURFUL = 8
"""Mean difference between a pixel's colour channels in a stained image that is dim."""
LEAST_PX = 8
"""Coarse pixels of the smallest object whose size counts."""
WHITE_PERCENTILE = 99.0
SURE = 0.98
"""Probability, or Dice, beyond which logits are cut."""


def is_bright_field(image: NDArray[np.generic]) -> bool:
    """Whether an image, with values up to 255, is bright field: stained or grey on a light ground.

    A stained slide may be dim; a dark field is black between its objects.
    """
    step = max(1, min(image.shape[:2]) // SIDE)
    some = image[::step, ::step].astype(np.float32)
    mean = float(some.mean())
    spread = float(np.ptp(some, axis=-1).mean()) if mean > DIM else 0.0
    return mean > LIGHT or spread > COLOURFUL


def logit(share: NDArray[np.floating] | float) -> NDArray[np.float64]:
    """Log odds of shares in [0, 1], cut at `SURE` and 1 - `SURE`."""
    inside = np.clip(share, 1 - SURE, SURE)
    return np.asarray(np.log(inside / (1 - inside)))


def window_features(
    pixels: NDArray[np.uint8], logits: NDArray[np.floating], mpp: Scale
) -> NDArray[np.float64] | None:
    """Features of a window, or of a whole small image.

    Parameters
    ----------
    pixels : (H, W, 3) uint8 array
        Pixels on the coarse grid.
    logits : (K, H, W) float array
        Calibrated logits of stage 1 for these pixels.
    mpp : (float, float)
        Micrometres per coarse pixel (y, x).

    Returns
    -------
    (12,) float64 array or None
        In the order of `FEATURES`: logit of the expected Dice; mean foreground logit of the
        background and of objects; share of outline pixels in objects, as a natural logarithm;
        optical density of objects and of the background in red, green and blue, above the
        window's brightest pixels; Laplacian over standard deviation, as a logarithm; median
        diameter of objects in micrometres, as a logarithm. None if there is no object, or nothing
        but objects.
    """
    _, right, wrong, missed = pixel_statistics(logits, "tent").astype(np.float64)
    objects = right + wrong > 0
    numbers, count = ndimage.label(objects)
    areas = np.bincount(numbers.ravel(), minlength=count + 1)[1:]
    areas = areas[areas >= LEAST_PX]
    if not areas.size or objects.all():
        return None
    probability = right + missed  # of the foreground
    log_odds = np.log(np.maximum(probability, 1e-7) / np.maximum(1 - probability, 1e-7))
    expected = 2 * right.sum() / (2 * right.sum() + wrong.sum() + missed.sum())
    outline = objects & ~ndimage.binary_erosion(objects)
    density, grey = _density(pixels), pixels.astype(np.float32).mean(axis=-1)
    detail = np.abs(ndimage.laplace(grey)).mean()
    return np.array(
        [
            float(logit(expected)),
            log_odds[~objects].mean(),
            log_odds[objects].mean(),
            math.log(outline.sum() / objects.sum()),
            *density[objects].mean(axis=0),
            *density[~objects].mean(axis=0),
            math.log((detail + 0.1) / (grey.std() + 0.1)),
            math.log(math.sqrt(4 / math.pi * float(np.median(areas)) * mpp[0] * mpp[1])),
        ]
    )


def _density(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Optical density (H, W, 3) above the brightest pixels."""
    white = np.percentile(pixels.reshape(-1, 3), WHITE_PERCENTILE, axis=0)
    density = np.log((white + 1) / (pixels.astype(np.float32) + 1))
    return np.asarray(density.clip(-0.1), np.float32)
