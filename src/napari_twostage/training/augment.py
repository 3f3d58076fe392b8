"""Random crops of random images, changed the way microscopes and stains change them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from skimage.color import hed2rgb, rgb2hed
from torch.nn import functional

from napari_twostage.training.batch import Batch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_twostage.training.datasets import Sample


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How far crops are changed; every range is sampled uniformly (scale: log-uniformly)."""

    scale: tuple[float, float] = (0.6, 1.5)
    bright_field_scale: tuple[float, float] = (0.3, 1.4)
    """BOWL's stained images are magnified more than slides at 0.5 µm/px are."""
    brightness: float = 0.12
    """Of bright-field images; dark-field ones only get brighter, else nuclei sink into black."""
    contrast: float = 0.3
    gamma: float = 0.35
    stain: float = 0.25
    """Relative change of each stain's density, on bright-field images."""
    grey: float = 0.1
    """Share of crops that lose their colours."""
    blur: float = 0.1
    """Share of crops that are blurred a little."""


class Crop(NamedTuple):
    """One of a batch, before its colours are changed: values in [0, 1]."""

    image: NDArray[np.float32]
    mask: NDArray[np.int64]
    taught: NDArray[np.float32] | None


def is_bright_field(image: NDArray[np.generic]) -> bool:
    """Whether an image, in values up to 255, is stained tissue on a bright ground."""
    return bool(image.mean() > 115)


def draw_batch(
    samples: Sequence[Sample],
    weights: NDArray[np.float64],
    *,
    size_px: int,
    count: int,
    augmentation: Augmentation,
    rng: np.random.Generator,
    classes: int = 1,
) -> Batch:
    """Draw a training batch.

    Parameters
    ----------
    samples : sequence of Sample
    weights : (len(samples),) float array
        How probably each is drawn; they sum to 1.
    size_px, count : int
        Side of a crop, and how many.
    augmentation : Augmentation
    rng : Generator
    classes : int
        Highest value that masks can have.
    """
    chosen = rng.choice(len(samples), size=count, p=weights)
    crops = [_crop(samples[index], size_px, augmentation, rng, classes) for index in chosen]
    images = np.stack([_recolour(crop.image, augmentation, rng) for crop in crops])
    masks = np.stack([crop.mask for crop in crops])
    taught = [crop.taught for crop in crops if crop.taught is not None]
    return Batch(
        torch.from_numpy(images),
        torch.from_numpy(masks),
        torch.from_numpy(np.stack(taught)) if taught else None,
    )


def _crop(
    sample: Sample,
    size_px: int,
    augmentation: Augmentation,
    rng: np.random.Generator,
    classes: int,
) -> Crop:
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

    # a plane for each class: values of classes cannot be blended, shares of them can
    planes = 255 * (cut(sample.mask)[..., None] == np.arange(1, classes + 1)).astype(np.uint8)
    taught = [] if sample.taught is None else [cut(sample.taught.transpose(1, 2, 0))]
    both = np.concatenate([cut(sample.image), planes, *taught], axis=-1)
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
        np.ascontiguousarray(pixels[..., 3 + classes :].transpose(2, 0, 1)) if taught else None,
    )


def _recolour(
    image: NDArray[np.float32], augmentation: Augmentation, rng: np.random.Generator
) -> NDArray[np.uint8]:
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
