"""Images and masks of another size."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch.nn import functional

from napari_twostage.training.datasets.samples import Samples

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_twostage.training.datasets.samples import Pair, Sample

Value = TypeVar("Value", bound=np.integer)


def resize_image(image: NDArray[np.uint8], size_px: int) -> NDArray[np.uint8]:
    """Resize an image bilinearly, with antialiasing when it shrinks.

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
    values = resized[0].permute(1, 2, 0).round().clamp(0, 255)
    result: NDArray[np.uint8] = values.to(torch.uint8).numpy()
    return result


def resize_mask(mask: NDArray[np.uint8], size_px: int) -> NDArray[np.uint8]:
    """Resize a (H, W) mask of class values to (size_px, size_px) by nearest neighbour."""
    pixels = torch.from_numpy(np.array(mask))[None, None]
    resized = functional.interpolate(pixels, size=(size_px, size_px), mode="nearest-exact")
    result: NDArray[np.uint8] = resized[0, 0].numpy()
    return result


def nearest(plane: NDArray[Value], shape: tuple[int, ...]) -> NDArray[Value]:
    """Bring a (H, W) plane of numbers to another shape; each pixel takes the nearest value."""
    rows, columns = (
        ((np.arange(wanted) + 0.5) * found / wanted).astype(int)
        for wanted, found in zip(shape, plane.shape, strict=True)
    )
    return plane[np.ix_(rows, columns)]


def resize_samples(samples: Sequence[Sample], size_px: int) -> Samples:
    """Resize images and masks to squares, lazily: each when it is indexed."""
    read = [partial(_read_resized, samples, index, size_px) for index in range(len(samples))]
    return Samples({f"{index:06d}": reader for index, reader in enumerate(read)})


def _read_resized(samples: Sequence[Sample], index: int, size_px: int) -> Pair:
    sample = samples[index]
    return resize_image(sample.image, size_px), resize_mask(sample.mask, size_px)
