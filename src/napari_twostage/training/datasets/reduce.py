"""Images and masks read at a part of their resolution; needs no torch."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from napari_twostage.training.datasets.samples import Samples

if TYPE_CHECKING:
    from napari_twostage.training.datasets.samples import Pair


def reduce_samples(samples: Samples, factor: int) -> Samples:
    """Samples at 1 / factor of their resolution, lazily: each when it is indexed.

    A pixel is the mean of factor² pixels, of fewer at the right and lower border, and of the class
    with the largest share of them.
    """
    if factor == 1:
        return samples
    return Samples(
        {
            name: partial(_read_reduced, samples, index, factor)
            for index, name in enumerate(samples.names)
        }
    )


def _read_reduced(samples: Samples, index: int, factor: int) -> Pair:
    sample = samples[index]
    mask = sample.mask
    shares = [
        np.asarray(Image.fromarray((mask == value).view(np.uint8) * np.uint8(255)).reduce(factor))
        for value in range(int(mask.max()) + 1)
    ]
    image = np.asarray(Image.fromarray(sample.image).reduce(factor))
    return image, np.stack(shares).argmax(axis=0).astype(np.uint8)
