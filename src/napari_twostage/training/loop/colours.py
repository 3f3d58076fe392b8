"""Changes of a crop's colours and sharpness, the way microscopes, scanners and stains vary."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFilter
from skimage.color import hed_from_rgb, rgb_from_hed

from napari_twostage.training.datasets.stains import transfer_matrix

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.training.config import Augmentation
    from napari_twostage.training.datasets.stains import StainProfile

CHANGED_SHARE = 0.7
"""Share of the bright-field crops whose amounts of stain change, and of those whose white does."""
TINT = 0.15
"""Largest difference between the channels of a changed white."""
JPEG_QUALITY = (30, 90)
NOISY_SHARE = 0.3
VALUES = np.linspace(0, 1, 256, dtype=np.float32)
DENSITIES = -np.log(np.maximum(VALUES, 1 / 255))
"""Optical density of every 8-bit value."""


def recolour(
    pixels: NDArray[np.uint8],
    augmentation: Augmentation,
    rng: np.random.Generator,
    *,
    bright_field: bool,
    own: StainProfile | None = None,
    other: StainProfile | None = None,
) -> NDArray[np.uint8]:
    """Vary stain, colour, contrast, brightness and sharpness of an image.

    Parameters
    ----------
    pixels : (S, S, 3) uint8 array
    augmentation : Augmentation
    rng : Generator
    bright_field : bool
    own, other : StainProfile, optional
        Stains of the image, and those that it may take on.
    """
    gamma = float(np.exp(rng.uniform(-augmentation.gamma, augmentation.gamma)))
    gain = 1 + rng.uniform(-augmentation.contrast, augmentation.contrast)
    if bright_field:
        if augmentation.density != (
            1.0,
            1.0,
        ):  # else nothing is drawn, as before there was a choice
            gamma *= float(np.exp(rng.uniform(*np.log(augmentation.density))))
        image = _restain(pixels, augmentation, rng, gamma, own, other)
        middle = float(image.mean())
        image *= np.float32(gain)
        image += np.float32(middle * (1 - gain))
        image += np.float32(rng.uniform(-augmentation.brightness, augmentation.brightness))
        changed = _rounded(image)
    else:
        values = VALUES**gamma
        middle = float(values[pixels.min()])
        # dark fields only get brighter, else nuclei sink into black
        shift = rng.uniform(0, augmentation.brightness)
        changed = _rounded((values - middle) * gain + middle + shift)[pixels]
    if rng.random() < augmentation.grey:
        changed = np.repeat(_rounded(changed.mean(axis=-1, keepdims=True) / 255), 3, axis=-1)
    return _degrade(changed, augmentation, rng)


def _restain(
    pixels: NDArray[np.uint8],
    augmentation: Augmentation,
    rng: np.random.Generator,
    gamma: float,
    own: StainProfile | None,
    other: StainProfile | None,
) -> NDArray[np.float32]:
    """Take on another image's stains, vary the amount of each stain, and move the white.

    All of it, and the gamma, is linear in optical density: density · matrix − offset.
    """
    white = new = np.ones(3) if own is None else own.white
    matrix: NDArray[np.floating] = np.eye(3)
    if own and other and rng.random() < augmentation.stain_transfer:
        matrix, new = transfer_matrix(own, other), other.white
    if rng.random() < CHANGED_SHARE:
        changes = 1 + rng.uniform(-augmentation.stain, augmentation.stain, size=3)
        matrix = matrix @ (hed_from_rgb * changes) @ rgb_from_hed
    if own and max(augmentation.white) and rng.random() < CHANGED_SHARE:
        new = rng.uniform(*augmentation.white) * rng.uniform(1 - TINT, 1, size=3)
    offset = gamma * (np.log(new) - np.log(white) @ matrix)
    density = DENSITIES[pixels] @ (gamma * matrix).astype(np.float32)
    image: NDArray[np.float32] = np.exp(offset.astype(np.float32) - density)
    return np.minimum(image, 1, out=image)


def _rounded(image: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Values in [0, 1] as 8-bit, clipped."""
    values: NDArray[np.uint8] = (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
    return values


def _degrade(
    pixels: NDArray[np.uint8], augmentation: Augmentation, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Blur, noise and compression, each of a share of the crops."""
    if rng.random() < augmentation.blur:
        blur = (
            ImageFilter.GaussianBlur(rng.uniform(0, augmentation.blur_px))
            if augmentation.blur_px
            else ImageFilter.BoxBlur(1)
        )
        pixels = np.asarray(Image.fromarray(pixels).filter(blur))
    elif augmentation.sharpen and rng.random() < augmentation.sharpen:
        sharper = ImageFilter.UnsharpMask(rng.uniform(0.6, 2.0), int(rng.integers(50, 250)), 0)
        pixels = np.asarray(Image.fromarray(pixels).filter(sharper))
    if augmentation.noise and rng.random() < NOISY_SHARE:
        noise = rng.standard_normal(pixels.shape, np.float32)
        noise *= np.float32(rng.uniform(0, augmentation.noise))
        pixels = _rounded(pixels / np.float32(255) + noise)
    return _compressed(pixels, rng) if rng.random() < augmentation.jpeg else pixels


def _compressed(pixels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    buffer = BytesIO()
    quality = int(rng.integers(*JPEG_QUALITY, endpoint=True))
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as compressed:
        return np.asarray(compressed)
