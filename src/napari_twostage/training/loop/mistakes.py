"""Pixels that a network has wrong midway through its training: later crops are placed on some."""

from __future__ import annotations

from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.io.files import write_file
from napari_twostage.method.uncertainty import labels
from napari_twostage.training.datasets.mixed import AtModelSize

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_twostage.training.datasets import Sample

    Places = NDArray[np.uint32]

MOST = 2048
"""Pixels that are kept of an image and a true class."""


@dataclass
class Mistakes:
    """Wrong pixels of the training images, once they are known."""

    share: float = 0.0
    """Share of the crops that are placed on them."""
    by_image: dict[int, list[Places]] = field(default_factory=dict)
    """Flat indices into an image's mask, by its index: an array for each true class that was not
    always found, the background's among them."""

    def find(
        self,
        samples: Sequence[Sample],
        predict: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
        most_px: float,
        seed: int,
    ) -> None:
        """Look for them.

        Parameters
        ----------
        samples : sequence of Sample
            Training images.
        predict : callable
            Function from a whole image (H, W, 3) to its logits (K, H, W).
        most_px : float
            Pixels of images to look at, the first image aside; images are taken at random.
        seed : int
        """
        rng = np.random.default_rng(seed)
        whole = AtModelSize(samples)
        self.by_image.clear()
        looked_at = 0
        for index in map(int, rng.permutation(len(samples))):
            if looked_at > most_px:
                break
            sample = whole[index]
            looked_at += sample.mask.size
            wrong = labels(predict(sample.image)) != sample.mask
            places = _by_class(wrong, sample.mask, rng)
            if places:
                to = samples[index].mask.shape
                self.by_image[index] = [_moved(own, sample.mask.shape, to) for own in places]

    def of(self, index: int) -> list[Places]:
        """Wrong pixels of an image, by true class; empty if none are known."""
        return self.by_image.get(index, [])

    def save(self, path: Path) -> None:
        """Write them, for a training that is resumed."""
        rows = [
            np.stack([np.full(len(own), index), np.full(len(own), kind), own], axis=1)
            for index, kinds in self.by_image.items()
            for kind, own in enumerate(kinds)
        ]
        file = BytesIO()
        np.save(file, np.concatenate([np.empty((0, 3), np.int64), *rows]))
        write_file(path, file.getvalue())

    def load(self, path: Path) -> None:
        """Read what `save` wrote."""
        rows = np.load(path)
        self.by_image.clear()
        starts = np.flatnonzero(np.any(np.diff(rows[:, :2], axis=0, prepend=-1), axis=1))
        for part in np.split(rows, starts[1:]):
            if len(part):
                places = part[:, 2].astype(np.uint32)
                self.by_image.setdefault(int(part[0, 0]), []).append(places)


def _by_class(
    wrong: NDArray[np.bool_], mask: NDArray[np.uint8], rng: np.random.Generator
) -> list[Places]:
    """Flat indices of some wrong pixels, an array for each value of the mask there."""
    places = np.flatnonzero(wrong)
    values = mask.ravel()[places]
    kept = []
    for value in np.unique(values):
        own = places[values == value]
        chosen = rng.choice(own, size=min(MOST, len(own)), replace=False)
        kept.append(np.sort(chosen).astype(np.uint32))
    return kept


def _moved(places: Places, shape: tuple[int, ...], to: tuple[int, ...]) -> Places:
    """Flat indices into a plane of one shape as those of another that shows the same."""
    pixels = np.unravel_index(places, shape)
    moved = [
        ((pixel + 0.5) * wanted / found).astype(np.int64)
        for pixel, found, wanted in zip(pixels, shape, to, strict=True)
    ]
    return np.ravel_multi_index(tuple(moved), to).astype(np.uint32)
