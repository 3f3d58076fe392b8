"""Whole images at one size, changed as the paper's runs changed them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class WholeImages:
    """The size of images, and how far they are changed; every range is sampled uniformly."""

    size_px: int
    """Side that every image is resized to, whatever its shape."""
    flip: bool = True
    """Mirror every other image, left to right."""
    brightness: float = 0.1
    """Values are multiplied by 1 − brightness to 1 + brightness ..."""
    contrast: float = 0.1
    """... and their distance from the image's mean by 1 − contrast to 1 + contrast."""
    scale: float = 1.1
    """Enlarge so much, then crop at a random place."""
    rotation_degrees: float = 0.0
    """Turn by up to so much either way; what comes from outside is mirrored in."""


def resize_image(image: NDArray[np.uint8], size_px: int) -> NDArray[np.uint8]:
    """Resize an image bilinearly, averaging where it shrinks.

    Parameters
    ----------
    image : (H, W, 3) uint8 array
    size_px : int

    Returns
    -------
    (size_px, size_px, 3) uint8 array
    """
    if image.shape[:2] == (size_px, size_px):
        return image
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float()
    resized = functional.interpolate(
        pixels, size=(size_px, size_px), mode="bilinear", antialias=True
    )
    return _to_bytes(resized[0].permute(1, 2, 0))


def resize_mask(mask: NDArray[np.uint8], size_px: int) -> NDArray[np.uint8]:
    """Resize a (H, W) mask of class values to (size_px, size_px), each pixel its nearest's."""
    pixels = torch.from_numpy(np.array(mask))[None, None]
    resized = functional.interpolate(pixels, size=(size_px, size_px), mode="nearest-exact")
    result: NDArray[np.uint8] = resized[0, 0].numpy()
    return result


def change_image(
    image: NDArray[np.uint8], mask: NDArray[np.uint8], config: WholeImages, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Move and recolour an image of `size_px`, and move its mask with it.

    Parameters
    ----------
    image : (size_px, size_px, 3) uint8 array
    mask : (size_px, size_px) uint8 array
    """
    flip = config.flip and rng.random() < 0.5
    angle = math.radians(rng.uniform(-config.rotation_degrees, config.rotation_degrees))
    slack = 1 - 1 / config.scale
    shift = rng.uniform(-slack, slack, size=2)
    gain = 1 + rng.uniform(-config.brightness, config.brightness)
    contrast = 1 + rng.uniform(-config.contrast, config.contrast)

    # where in the image, in [-1, 1], each pixel of the result comes from
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    turn = turn @ np.diag([-1 if flip else 1, 1]) / config.scale
    theta = torch.from_numpy(np.column_stack([turn, shift])).float()
    grid = functional.affine_grid(theta[None], [1, 1, *mask.shape], align_corners=False)

    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float()
    values = torch.from_numpy(np.array(mask))[None, None].float()
    moved = _sample(pixels, grid, "bilinear")[0].permute(1, 2, 0) * gain
    moved = (moved - moved.mean()) * contrast + moved.mean()
    return _to_bytes(moved), _sample(values, grid, "nearest")[0, 0].to(torch.uint8).numpy()


def _sample(pixels: Tensor, grid: Tensor, mode: str) -> Tensor:
    return functional.grid_sample(
        pixels, grid, mode=mode, padding_mode="reflection", align_corners=False
    )


def _to_bytes(pixels: Tensor) -> NDArray[np.uint8]:
    result: NDArray[np.uint8] = pixels.round().clamp(0, 255).to(torch.uint8).numpy()
    return result
