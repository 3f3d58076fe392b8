"""Several data sets learnt together: one sequence of samples, each with its weight and group."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np
import torch
from torch.nn import functional

from napari_twostage.method.features import is_bright_field
from napari_twostage.training.datasets.objects import (
    object_target,
    read_instances,
    split_at_necks,
)
from napari_twostage.training.datasets.samples import Sample
from napari_twostage.training.datasets.stains import estimate_stains

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from napari_twostage.models.card import ObjectTarget


@dataclass(frozen=True)
class Source:
    """One set of samples, and how they are drawn and completed."""

    root: Path
    samples: Sequence[Sample]
    zoom: float = 1.0
    """Pixels of the model per pixel of the set's images."""
    weight: float = 1.0
    """Share of the crops, relative to other sets."""
    groups: tuple[str, ...] | None = None
    """Group of each sample, if every group is drawn alike; else every sample is."""


class _MadeSamples(Sequence[Sample]):
    """Samples that are made each time they are indexed; a slice is a list of them."""

    @abstractmethod
    def _sample(self, index: int) -> Sample:
        """Make one sample."""

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        return self._sample(index)


class MixedSamples(_MadeSamples):
    """Samples of several sets, one after another, with what a run needs of each.

    Parameters
    ----------
    sources : sequence of Source
    objects : str
        Target of the object output to draw; see `objects.object_target`.
    stains : bool
        Whether to estimate the stains of bright-field images.
    """

    def __init__(
        self, sources: Sequence[Source], *, objects: ObjectTarget = "none", stains: bool = False
    ) -> None:
        self._sources = list(sources)
        self._places = [
            (source, index) for source in sources for index in range(len(source.samples))
        ]
        self._objects = objects
        self._stains = stains
        self.weights = np.concatenate([_weights(source) for source in sources])
        """(len(self),) how often each sample is to be drawn, relative to others."""

    def __len__(self) -> int:
        return len(self._places)

    def _sample(self, index: int) -> Sample:
        source, place = self._places[index]
        sample = source.samples[place]
        target = None
        if self._objects != "none":
            numbers = _instances(source.root, sample)
            target = object_target(numbers, self._objects, zoom=source.zoom)
        bright = self._stains and is_bright_field(sample.image)
        return replace(
            sample,
            objects=target,
            source=source.root.name,
            zoom=source.zoom,
            stains=estimate_stains(sample.image) if bright else None,
        )


def _weights(source: Source) -> NDArray[np.float64]:
    """Probabilities of a set's samples; they sum to the set's weight."""
    if source.groups is None:
        return np.full(len(source.samples), source.weight / max(1, len(source.samples)))
    sizes = Counter(source.groups)
    return np.array([source.weight / (len(sizes) * sizes[group]) for group in source.groups])


def hold_out_groups(
    owners: Sequence[str], fraction: float, seed: int
) -> tuple[list[int], list[int]]:
    """Split indices into (rest, held out), every group on one side.

    Groups are held out in a random order as long as the share of their images stays within
    `fraction` and a half; a group per image gives a plain random split.
    """
    sizes = Counter(owners)
    names = sorted(sizes)
    order = [names[place] for place in np.random.default_rng(seed).permutation(len(names))]
    wanted, held, taken = fraction * len(owners), set(), 0
    for name in order:
        if taken + sizes[name] / 2 <= wanted:
            held.add(name)
            taken += sizes[name]
    indices = range(len(owners))
    rest = [index for index in indices if owners[index] not in held]
    return rest, [index for index in indices if owners[index] in held]


def _instances(root: Path, sample: Sample) -> NDArray[np.int32]:
    """Instance numbers of a sample: of its file in ``instances/``, else of its mask's parts."""
    path = root / "instances" / f"{Path(sample.name).stem}.png"
    return read_instances(path) if path.is_file() else split_at_necks(sample.mask)


class AtModelSize(_MadeSamples):
    """Samples resampled to the model's pixel size, to be read whole."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._samples = samples

    def __len__(self) -> int:
        return len(self._samples)

    def _sample(self, index: int) -> Sample:
        sample = self._samples[index]
        if sample.zoom == 1:
            return sample
        shape = [max(1, round(length * sample.zoom)) for length in sample.mask.shape]
        values = range(1, int(sample.mask.max()) + 1)
        shares = [_resized((sample.mask == value)[..., None], shape)[..., 0] for value in values]
        background = 1 - sum(shares, np.zeros(shape, np.float32))
        return replace(
            sample,
            image=np.rint(_resized(sample.image, shape)).astype(np.uint8),
            mask=np.stack([background, *shares]).argmax(axis=0).astype(np.uint8),
            objects=None,
            zoom=1.0,
        )


def _resized(planes: NDArray[np.generic], shape: Iterable[int]) -> NDArray[np.float32]:
    """Resample (H, W, C) planes bilinearly, averaged where they shrink."""
    tensor = torch.from_numpy(np.ascontiguousarray(planes).astype(np.float32)).permute(2, 0, 1)
    resized = functional.interpolate(
        tensor[None], size=tuple(shape), mode="bilinear", antialias=True
    )
    result: NDArray[np.float32] = resized[0].permute(1, 2, 0).numpy()
    return result
