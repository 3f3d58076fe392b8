"""Samples: images with ground truth, decoded when they are indexed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, overload

import numpy as np
from numpy.typing import NDArray

from napari_twostage.errors import TwoStageError

if TYPE_CHECKING:
    from napari_twostage.training.datasets.stains import StainProfile

Pair = tuple[NDArray[np.uint8], NDArray[np.uint8]]
"""An image (H, W, 3) and its mask (H, W)."""


class DatasetError(TwoStageError):
    """A data set that is not laid out as expected; the message names the file."""


@dataclass(frozen=True)
class Sample:
    """One image and its ground truth."""

    name: str
    image: NDArray[np.uint8]
    """(H, W, 3) uint8."""
    mask: NDArray[np.uint8]
    """(H, W) uint8: 0 for the background, 1 to K for the classes."""
    soft_targets: NDArray[np.uint8] | None = None
    """(K, H, W) uint8: a teacher's class probabilities, times 255."""
    objects: NDArray[np.uint8] | None = None
    """(H, W) uint8: target of the networks' object output, times 255."""
    source: str = ""
    """Name of its data set, where a run learns from several."""
    zoom: float = 1.0
    """Pixels of the model per pixel of the image, along a side."""
    stains: StainProfile | None = None
    """Stains of a bright-field image, if augmentation needs them."""


class Samples(Sequence[Sample]):
    """Samples that are decoded each time they are indexed.

    Parameters
    ----------
    readers : mapping of str to callable
        Function that reads image and mask, by name; the mapping's order is kept.
    """

    def __init__(self, readers: Mapping[str, Callable[[], Pair]]) -> None:
        self._readers = dict(readers)
        self.names: tuple[str, ...] = tuple(self._readers)

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> Samples: ...
    def __getitem__(self, index: int | slice) -> Sample | Samples:
        if isinstance(index, slice):
            return Samples({name: self._readers[name] for name in self.names[index]})
        name = self.names[index]
        return Sample(name, *self._readers[name]())

    def pick(self, indices: Iterable[int]) -> Samples:
        """Samples at `indices`, still undecoded."""
        chosen = [self.names[index] for index in indices]
        return Samples({name: self._readers[name] for name in chosen})


class CachedSamples(Sequence[Sample]):
    """Samples that stay in memory once decoded, up to a size limit.

    Nothing is evicted: samples are drawn at random, so none is worth more than another.

    Parameters
    ----------
    samples : sequence of Sample
        Callers must not modify them.
    limit_bytes : int
        Size of images and masks together.
    """

    def __init__(self, samples: Sequence[Sample], limit_bytes: int = 2 << 30) -> None:
        self._samples = samples
        self._left = limit_bytes
        self._cached: dict[int, Sample] = {}
        self.weights = getattr(samples, "weights", np.ones(len(samples)))
        """(len(samples),) how often each is to be drawn, relative to others."""

    def __len__(self) -> int:
        return len(self._samples)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> CachedSamples: ...
    def __getitem__(self, index: int | slice) -> Sample | CachedSamples:
        if isinstance(index, slice):
            return CachedSamples(self._samples[index], self._left)
        sample = self._cached.get(index)
        if sample is None:
            sample = self._samples[index]
            planes = (sample.image, sample.mask, sample.soft_targets, sample.objects)
            size = sum(plane.nbytes for plane in planes if plane is not None)
            if size <= self._left:
                self._left -= size
                self._cached[index] = sample
        return sample


def hold_out(
    samples: Iterable[Sample], fraction: float, seed: int
) -> tuple[Sequence[Sample], Sequence[Sample]]:
    """Split samples reproducibly into (rest, held out); `Samples` stay undecoded."""
    held_in: Sequence[Sample] = samples if isinstance(samples, Samples) else list(samples)
    order = np.random.default_rng(seed).permutation(len(held_in))
    count = round(len(held_in) * fraction)
    held = set(order[:count].tolist())
    rest = [index for index in range(len(held_in)) if index not in held]
    return _pick(held_in, rest), _pick(held_in, sorted(held))


def _pick(samples: Sequence[Sample], indices: list[int]) -> Sequence[Sample]:
    if isinstance(samples, Samples):
        return samples.pick(indices)
    return [samples[index] for index in indices]
