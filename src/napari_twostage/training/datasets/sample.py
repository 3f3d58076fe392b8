"""One image with its ground truth, and many of them, decoded when asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

Pair = tuple[NDArray[np.uint8], NDArray[np.uint8]]
"""An image (H, W, 3) and its mask (H, W)."""


class DatasetError(ValueError):
    """A data set that is not laid out as expected; the message names the file."""


@dataclass(frozen=True)
class Sample:
    """One image and its ground truth."""

    name: str
    image: NDArray[np.uint8]
    """(H, W, 3) uint8."""
    mask: NDArray[np.uint8]
    """(H, W), 0 background, 1 to K the classes."""
    taught: NDArray[np.uint8] | None = None
    """(K, H, W) probabilities of the classes in 255ths, as a teacher gives them."""


class Samples(Sequence[Sample]):
    """Samples that are decoded each time they are indexed.

    Parameters
    ----------
    readers : mapping of str to callable
        How to read the image and the mask of each name; the order is the mapping's.
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
        """Those at `indices`, still undecoded."""
        chosen = [self.names[index] for index in indices]
        return Samples({name: self._readers[name] for name in chosen})


class KeptSamples(Sequence[Sample]):
    """Samples that stay in memory once decoded, as many as fit.

    What was decoded first stays: of samples drawn by chance, none is worth more than another.

    Parameters
    ----------
    samples : sequence of Sample
        Must not be changed by those who are given them.
    limit_bytes : int
        What images and masks may take together.
    """

    def __init__(self, samples: Sequence[Sample], limit_bytes: int = 1 << 30) -> None:
        self._samples = samples
        self._left = limit_bytes
        self._kept: dict[int, Sample] = {}

    def __len__(self) -> int:
        return len(self._samples)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> KeptSamples: ...
    def __getitem__(self, index: int | slice) -> Sample | KeptSamples:
        if isinstance(index, slice):
            return KeptSamples(self._samples[index], self._left)
        sample = self._kept.get(index)
        if sample is None:
            sample = self._samples[index]
            planes = (sample.image, sample.mask, sample.taught)
            size = sum(plane.nbytes for plane in planes if plane is not None)
            if size <= self._left:
                self._left -= size
                self._kept[index] = sample
        return sample


def hold_out(
    samples: Iterable[Sample], fraction: float, seed: int
) -> tuple[Sequence[Sample], Sequence[Sample]]:
    """Split samples in two, reproducibly: (rest, held out); `Samples` stay undecoded."""
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


class Facts(NamedTuple):
    """A row of the paper's table 2."""

    images: int
    mean_height: float
    """In pixels."""
    mean_width: float
    """In pixels."""
    foreground: float
    """Share of pixels of any class, in [0, 1]: of each image, then averaged over images."""


def describe(samples: Iterable[Sample]) -> Facts:
    """Measure a data set; every sample is decoded once, and none is kept.

    Raises
    ------
    DatasetError
        If there is no sample.
    """
    rows = [(*sample.mask.shape, (sample.mask > 0).mean()) for sample in samples]
    if not rows:
        raise DatasetError("there is no image to describe")
    height, width, foreground = np.mean(rows, axis=0).tolist()
    return Facts(len(rows), height, width, foreground)
