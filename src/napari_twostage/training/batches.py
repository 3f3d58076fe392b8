"""What a step is trained on: a batch that depends on the seed and the step alone."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_twostage.training.augment import draw_batch, is_bright_field
from napari_twostage.training.batch import Batch
from napari_twostage.training.whole import change_image, resize_image, resize_mask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from napari_twostage.training.config import StageConfig, TrainConfig
    from napari_twostage.training.datasets import Sample
    from napari_twostage.training.whole import WholeImages

WORKERS = min(8, os.cpu_count() or 1)


def make_draw(
    samples: Sequence[Sample], config: TrainConfig, stage: StageConfig, seed: int
) -> Callable[[int], Batch]:
    """Make the function from a step to its batch."""
    if config.whole_images is not None:
        return partial(_draw_whole, samples, config.whole_images, stage.batch, seed)
    weights = _draw_weights(samples, config.data.bright_field_weight)
    return partial(_draw_crops, samples, weights, config, stage, seed)


def _draw_crops(
    samples: Sequence[Sample],
    weights: NDArray[np.float64],
    config: TrainConfig,
    stage: StageConfig,
    seed: int,
    step: int,
) -> Batch:
    return draw_batch(
        samples,
        weights,
        size_px=stage.crop_px,
        count=stage.batch,
        augmentation=config.augmentation,
        rng=np.random.default_rng((seed, step)),
        classes=max(1, len(config.data.classes)),
    )


def _draw_weights(samples: Sequence[Sample], bright_field_weight: float) -> NDArray[np.float64]:
    if bright_field_weight == 1:
        return np.full(len(samples), 1 / len(samples))  # without opening an image
    bright = np.array([is_bright_field(sample.image) for sample in samples])
    weights = np.where(bright, bright_field_weight, 1.0)
    return np.asarray(weights / weights.sum())


def _draw_whole(
    samples: Sequence[Sample], whole: WholeImages, count: int, seed: int, step: int
) -> Batch:
    rng = np.random.default_rng((seed, step))
    drawn = [samples[index] for index in shuffled(len(samples), count, seed, step)]
    changed = [
        change_image(
            resize_image(sample.image, whole.size_px),
            resize_mask(sample.mask, whole.size_px),
            whole,
            rng,
        )
        for sample in drawn
    ]
    return Batch(
        torch.from_numpy(np.stack([image for image, _ in changed])),
        torch.from_numpy(np.stack([mask for _, mask in changed]).astype(np.int64)),
    )


def shuffled(total: int, count: int, seed: int, step: int) -> list[int]:
    """Indices of a step's samples: epochs one after the other, each in an order of its own.

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
    """Draw the batches of these steps in order, the next ones while this one is trained on."""
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
