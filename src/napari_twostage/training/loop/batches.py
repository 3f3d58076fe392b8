"""Batches of a stage: each depends on the seed and the step alone, so a resumed run repeats it."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from napari_twostage.method.features import is_bright_field
from napari_twostage.training.datasets.resize import resize_image, resize_mask
from napari_twostage.training.loop.colours import recolour
from napari_twostage.training.loop.crops import cut_crop
from napari_twostage.training.loop.mistakes import Mistakes
from napari_twostage.training.loop.tissue import pale_inside, tint_outside
from napari_twostage.training.loop.whole_images import augment_image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_twostage.training.config import Augmentation, StageConfig, TrainConfig, WholeImages
    from napari_twostage.training.datasets import Sample
    from napari_twostage.training.datasets.stains import StainProfile
    from napari_twostage.training.loop.crops import Crop

WORKERS = min(8, os.cpu_count() or 1)


class Batch(NamedTuple):
    """Images and their ground truth."""

    images: Tensor
    """(N, H, W, 3) uint8."""
    masks: Tensor
    """(N, H, W) int64 class values."""
    soft_targets: Tensor | None = None
    """(N, K, H, W) float class probabilities of a teacher, without the background."""
    objects: Tensor | None = None
    """(N, H, W) float target of the object output, in [0, 1]."""

    def to(self, device: torch.device) -> Batch:
        """Copy to a device."""
        soft, objects = (
            part if part is None else part.to(device) for part in (self.soft_targets, self.objects)
        )
        return Batch(self.images.to(device), self.masks.to(device), soft, objects)


def make_draw(
    samples: Sequence[Sample],
    config: TrainConfig,
    stage: StageConfig,
    seed: int,
    mistakes: Mistakes | None = None,
) -> Callable[[int], Batch]:
    """Build the function from a step to its batch; crops are placed on mistakes once known."""
    if config.whole_images is not None:
        return partial(_draw_whole, samples, config.whole_images, stage.batch, seed)
    weights = _LazyWeights(samples, config.data.bright_field_weight)
    return partial(_draw_crops, samples, weights, config, stage, seed, mistakes or Mistakes())


def _draw_crops(
    samples: Sequence[Sample],
    weights: _LazyWeights,
    config: TrainConfig,
    stage: StageConfig,
    seed: int,
    mistakes: Mistakes,
    step: int,
) -> Batch:
    return draw_crops(
        samples,
        weights.get(),
        size_px=stage.crop_px,
        count=stage.batch,
        augmentation=config.augmentation,
        rng=np.random.default_rng((seed, step)),
        classes=max(1, len(config.data.classes)),
        foreground_share=config.data.foreground_share,
        mistakes=mistakes,
    )


def draw_crops(
    samples: Sequence[Sample],
    weights: NDArray[np.float64],
    *,
    size_px: int,
    count: int,
    augmentation: Augmentation,
    rng: np.random.Generator,
    classes: int = 1,
    foreground_share: float = 0.0,
    mistakes: Mistakes | None = None,
) -> Batch:
    """Draw a batch of augmented crops.

    Parameters
    ----------
    samples : sequence of Sample
    weights : (len(samples),) float array
        Probability of drawing each sample; they sum to 1.
    size_px, count : int
        Side of a crop, and number of crops.
    augmentation : Augmentation
    rng : Generator
    classes : int
        Highest value that masks can have.
    foreground_share : float
        Share of the crops that are placed on foreground.
    mistakes : Mistakes, optional
        Pixels on which some of the others are placed.
    """
    known = mistakes or Mistakes()
    indices = [int(index) for index in rng.choice(len(samples), size=count, p=weights)]
    chosen = [samples[index] for index in indices]
    crops = [
        cut_crop(
            sample,
            size_px,
            augmentation,
            rng,
            classes,
            foreground_share=foreground_share,
            mistakes=known.of(index),
            error_share=known.share,
        )
        for index, sample in zip(indices, chosen, strict=True)
    ]
    # of other images of the batch, which are in memory already
    stains = [sample.stains for sample in chosen if sample.stains is not None]
    images = [
        recolour(
            _with_changed_tissue(crop, sample.stains, augmentation, rng),
            augmentation,
            rng,
            bright_field=crop.bright_field,
            own=sample.stains,
            other=stains[rng.integers(len(stains))] if stains else None,
        )
        for crop, sample in zip(crops, chosen, strict=True)
    ]
    return Batch(
        torch.from_numpy(np.stack(images)),
        torch.from_numpy(np.stack([crop.mask for crop in crops])),
        _stacked([crop.soft_targets for crop in crops]),
        _stacked([crop.objects for crop in crops]),
    )


def _with_changed_tissue(
    crop: Crop, stains: StainProfile | None, augmentation: Augmentation, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Image of a crop; a share of the bright fields gets nuclei or cytoplasm of other tissue."""
    image = crop.image
    if stains is None or crop.objects is None:
        return image
    for share, change in ((augmentation.pale, pale_inside), (augmentation.tint, tint_outside)):
        if share and rng.random() < share:
            image = change(image, crop.objects, stains, rng)
    return image


def _stacked(planes: Sequence[NDArray[np.float32] | None]) -> Tensor | None:
    given = [plane for plane in planes if plane is not None]
    return torch.from_numpy(np.stack(given)) if given else None


class _LazyWeights:
    """What `draw_weights` gives, once a batch is drawn: it may have to open every image."""

    def __init__(self, samples: Sequence[Sample], bright_field_weight: float) -> None:
        self._samples = samples
        self._bright_field_weight = bright_field_weight
        self._lock = Lock()
        self._weights: NDArray[np.float64] | None = None

    def get(self) -> NDArray[np.float64]:
        """Probability of drawing each sample; the threads of `prefetch` wait for the first."""
        with self._lock:
            if self._weights is None:
                self._weights = draw_weights(self._samples, self._bright_field_weight)
            return self._weights


def draw_weights(samples: Sequence[Sample], bright_field_weight: float) -> NDArray[np.float64]:
    """Probability of drawing each sample: its set's, and more or less if it is bright field."""
    weights = np.asarray(getattr(samples, "weights", np.ones(len(samples))))
    if bright_field_weight != 1:  # else no image need be opened
        bright = np.array([is_bright_field(sample.image) for sample in samples])
        weights = weights * np.where(bright, bright_field_weight, 1.0)
    return np.asarray(weights / weights.sum())


def _draw_whole(
    samples: Sequence[Sample], whole: WholeImages, count: int, seed: int, step: int
) -> Batch:
    rng = np.random.default_rng((seed, step))
    drawn = [samples[index] for index in shuffled(len(samples), count, seed, step)]
    augmented = [
        augment_image(
            resize_image(sample.image, whole.size_px),
            resize_mask(sample.mask, whole.size_px),
            whole,
            rng,
        )
        for sample in drawn
    ]
    return Batch(
        torch.from_numpy(np.stack([image for image, _ in augmented])),
        torch.from_numpy(np.stack([mask for _, mask in augmented]).astype(np.int64)),
    )


def shuffled(total: int, count: int, seed: int, step: int) -> list[int]:
    """Indices of a step's samples: one epoch after another, each in its own order.

    A batch may reach into the next epoch, so that all are full: batch normalisation over a
    single image of 1 × 1 features, as DeepLabV3 pools them, is not defined.
    """
    places = range(step * count, (step + 1) * count)
    orders = {
        epoch: np.random.default_rng((seed, epoch, total)).permutation(total)
        for epoch in {place // total for place in places}
    }
    return [int(orders[place // total][place % total]) for place in places]


def prefetch(draw: Callable[[int], Batch], steps: range) -> Iterator[Batch]:
    """Batches of these steps in order; threads draw the next ones during each training step."""
    with ThreadPoolExecutor(WORKERS) as pool:
        ahead = deque(pool.submit(draw, step) for step in steps[:WORKERS])
        try:
            for step in steps:
                batch = ahead.popleft().result()
                if step + WORKERS in steps:
                    ahead.append(pool.submit(draw, step + WORKERS))
                yield batch
        finally:
            pool.shutdown(cancel_futures=True)
