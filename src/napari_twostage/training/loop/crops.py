"""Random crops, augmented the way microscopes and stains vary."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from skimage.color import hed2rgb, rgb2hed
from torch.nn import functional

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.training.config import Augmentation
    from napari_twostage.training.datasets import Sample


class Crop(NamedTuple):
    """A crop before its colours are augmented."""

    image: NDArray[np.float32]
    """(S, S, 3), in [0, 1]."""
    mask: NDArray[np.int64]
    """(S, S) class values."""
    soft_targets: NDArray[np.float32] | None
    """(K, S, S) class probabilities of a teacher, in [0, 1]."""


def is_bright_field(image: NDArray[np.generic]) -> bool:
    """Whether an image, with values up to 255, is bright field: stained tissue on white."""
    return bool(image.mean() > 115)


def cut_crop(
    sample: Sample,
    size_px: int,
    augmentation: Augmentation,
    rng: np.random.Generator,
    classes: int,
) -> Crop:
    """Cut a random square, scale it to `size_px`, turn and mirror it; the mask follows.

    Parameters
    ----------
    sample : Sample
    size_px : int
        Side of the crop.
    augmentation : Augmentation
    rng : Generator
    classes : int
        Highest value that the mask can have.
    """
    bright = is_bright_field(sample.image)
    low, high = np.log(augmentation.bright_field_scale if bright else augmentation.scale)
    side = round(size_px / float(np.exp(rng.uniform(low, high))))
    height, width = sample.mask.shape
    below, right = max(0, side - height), max(0, side - width)
    # symmetric padding may repeat, so images smaller than half the crop work too
    top = rng.integers(0, max(height, side) - side + 1)
    left = rng.integers(0, max(width, side) - side + 1)

    def cut(plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
        padding = ((0, below), (0, right), (0, 0))[: plane.ndim]
        padded = np.pad(plane, padding, mode="symmetric") if below or right else plane
        return padded[top : top + side, left : left + side]

    # one plane per class: class values cannot be interpolated, their shares can
    planes = 255 * (cut(sample.mask)[..., None] == np.arange(1, classes + 1)).astype(np.uint8)
    given = sample.soft_targets
    soft = [] if given is None else [cut(given.transpose(1, 2, 0))]
    both = np.concatenate([cut(sample.image), planes, *soft], axis=-1)
    both = np.rot90(both, int(rng.integers(4)))
    if rng.random() < 0.5:
        both = both[:, ::-1]
    tensor = torch.from_numpy(np.ascontiguousarray(both)).permute(2, 0, 1)[None].float() / 255
    resized = functional.interpolate(
        tensor, size=(size_px, size_px), mode="bilinear", antialias=True
    )
    pixels = resized[0].permute(1, 2, 0).numpy()
    shares = pixels[..., 3 : 3 + classes]
    background = 1 - shares.sum(axis=-1, keepdims=True)
    return Crop(
        pixels[..., :3],
        np.concatenate([background, shares], axis=-1).argmax(axis=-1),
        np.ascontiguousarray(pixels[..., 3 + classes :].transpose(2, 0, 1)) if soft else None,
    )


def recolour(
    image: NDArray[np.float32], augmentation: Augmentation, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Vary stain, colour, contrast, brightness and sharpness of a (S, S, 3) image in [0, 1]."""
    bright_field = is_bright_field(255 * image)
    if bright_field and rng.random() < 0.7:
        density = rgb2hed(image)
        density *= 1 + rng.uniform(-augmentation.stain, augmentation.stain, size=3)
        image = hed2rgb(density).astype(np.float32)
    if rng.random() < augmentation.grey:
        image = np.repeat(image.mean(axis=-1, keepdims=True), 3, axis=-1)
    image = np.clip(image, 0, 1) ** np.exp(rng.uniform(-augmentation.gamma, augmentation.gamma))
    gain = 1 + rng.uniform(-augmentation.contrast, augmentation.contrast)
    middle = image.mean() if bright_field else image.min()
    image = (image - middle) * gain + middle
    darkest = -augmentation.brightness if bright_field else 0.0
    image = image + rng.uniform(darkest, augmentation.brightness)
    if rng.random() < augmentation.blur:
        tensor = torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32)).permute(2, 0, 1)
        image = (
            functional.avg_pool2d(tensor, 3, 1, 1, count_include_pad=False).permute(1, 2, 0).numpy()
        )
    return np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)
