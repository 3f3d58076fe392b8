"""Random crops: placed, scaled, turned; `colours.recolour` changes their colours."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from napari_twostage.method.features import is_bright_field

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_twostage.training.config import Augmentation
    from napari_twostage.training.datasets import Sample

BILINEAR = Image.Resampling.BILINEAR
FEW = 4096
"""Number of random pixels that are looked at for foreground."""


class Crop(NamedTuple):
    """A crop before its colours are augmented."""

    image: NDArray[np.uint8]
    """(S, S, 3)."""
    mask: NDArray[np.int64]
    """(S, S) class values."""
    bright_field: bool
    objects: NDArray[np.float32] | None
    """(S, S) target of the object output, in [0, 1]."""
    soft_targets: NDArray[np.float32] | None
    """(K, S, S) class probabilities of a teacher, in [0, 1]."""


def cut_crop(
    sample: Sample,
    size_px: int,
    augmentation: Augmentation,
    rng: np.random.Generator,
    classes: int,
    *,
    foreground_share: float = 0.0,
    mistakes: Sequence[NDArray[np.uint32]] = (),
    error_share: float = 0.0,
) -> Crop:
    """Cut a random square, scale it to `size_px`, turn and mirror it; the mask follows.

    Parameters
    ----------
    sample : Sample
    size_px : int
        Side of the crop in pixels of the model.
    augmentation : Augmentation
    rng : Generator
    classes : int
        Highest value that the mask can have.
    foreground_share : float
        Probability that the square is placed to hold a random foreground pixel, if there is any:
        each class of the image as often as the others.
    mistakes : sequence of (n,) uint32 arrays
        Flat indices of pixels that a network had wrong, by true class; see `mistakes.Mistakes`.
    error_share : float
        Probability that it is placed to hold one of them, if there are any.
    """
    bright = is_bright_field(sample.image)
    low, high = np.log(augmentation.bright_field_scale if bright else augmentation.scale)
    side = max(1, round(size_px / (sample.zoom * float(np.exp(rng.uniform(low, high))))))
    drawn = rng.random()
    index: int | None = None
    if drawn < error_share and mistakes:
        index = int(rng.choice(mistakes[int(rng.integers(len(mistakes)))]))
    elif drawn < error_share + foreground_share:
        index = _foreground_index(sample.mask, classes, rng)
    top, left = _place(sample.mask.shape, side, index, rng)
    turns, mirrored = int(rng.integers(4)), rng.random() < 0.5

    def part_of(plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
        part = plane[top : top + side, left : left + side]
        missing = [(0, side - length) for length in part.shape[:2]]
        if any(after for _, after in missing):
            # symmetric padding may repeat, so images smaller than half the crop work too
            part = np.pad(part, [*missing, (0, 0)][: plane.ndim], mode="symmetric")
        return part

    def fit(part: NDArray[np.uint8]) -> NDArray[np.uint8]:
        small = Image.fromarray(np.ascontiguousarray(part)).resize((size_px, size_px), BILINEAR)
        turned = np.rot90(np.asarray(small), turns)
        return np.ascontiguousarray(turned[:, ::-1] if mirrored else turned)

    # one plane per class: class values cannot be interpolated, their shares can
    mask, objects, soft = part_of(sample.mask), sample.objects, sample.soft_targets
    values = range(1, classes + 1)
    shares = [fit((mask == value).view(np.uint8) * np.uint8(255)) for value in values]
    return Crop(
        fit(part_of(sample.image)),
        _largest(shares),
        bright,
        None if objects is None else _shares(fit(part_of(objects))),
        None if soft is None else _shares(np.stack([fit(part_of(plane)) for plane in soft])),
    )


def _shares(plane: NDArray[np.uint8]) -> NDArray[np.float32]:
    return plane.astype(np.float32) / np.float32(255)


def _largest(shares: list[NDArray[np.uint8]]) -> NDArray[np.int64]:
    """Class of the largest share of each pixel; shares are times 255, the rest is background."""
    if len(shares) == 1:
        return (shares[0] > 127).astype(np.int64)
    planes = np.stack(shares).astype(np.int16)
    every = np.concatenate([255 - planes.sum(axis=0, keepdims=True), planes])
    largest: NDArray[np.int64] = every.argmax(axis=0).astype(np.int64)
    return largest


def _place(
    shape: tuple[int, ...], side: int, index: int | None, rng: np.random.Generator
) -> tuple[int, int]:
    """Top and left of a square of a given side: at random, or around a pixel of a flat index."""
    last = [max(0, length - side) for length in shape]
    if index is None:
        top, left = (int(rng.integers(0, most + 1)) for most in last)
        return top, left
    start = [int(place) - int(rng.integers(side)) for place in np.unravel_index(index, shape)]
    top, left = (min(max(0, first), most) for first, most in zip(start, last, strict=True))
    return top, left


def _foreground_index(
    mask: NDArray[np.uint8], classes: int, rng: np.random.Generator
) -> int | None:
    """Flat index of a foreground pixel; None if there is none.

    Each class of the image is as likely as the others, and within it each pixel. A few random
    pixels usually hold one: a search of the whole mask would cost more than all else that makes a
    crop of a large photograph.
    """
    flat = mask.ravel()
    tried = rng.integers(mask.size, size=FEW)
    for kind in rng.permutation(np.arange(1, classes + 1)):
        found = tried[flat[tried] == kind]
        if not len(found):
            found = np.flatnonzero(flat == kind)
        if len(found):
            return int(rng.choice(found))
    return None
