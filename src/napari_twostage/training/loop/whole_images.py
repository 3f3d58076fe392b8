"""Augmentation of whole images, as in the paper's runs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from napari_twostage.training.config import WholeImages


def augment_image(
    image: NDArray[np.uint8], mask: NDArray[np.uint8], config: WholeImages, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Turn, mirror, scale and recolour an image; its mask follows.

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

    # source position of each output pixel, in [-1, 1]
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
