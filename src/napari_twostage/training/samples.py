"""The images of a run: those it trains on, and those it holds out."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.training.datasets import (
    DatasetError,
    Samples,
    assign_folds,
    groups,
    hold_out,
    load_dataset,
)
from napari_twostage.training.whole import resize_image, resize_mask

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_twostage.training.config import TrainConfig
    from napari_twostage.training.datasets import Sample


def open_samples(config: TrainConfig, root: Path) -> tuple[Sequence[Sample], Sequence[Sample]]:
    """Find the images to train on and those held out, the latter at the size they are read at.

    Raises
    ------
    DatasetError
        If the folder is not laid out as the configuration says, or has too few images.
    """
    samples = _sides(config, root)[0]
    training, validation = hold_out(samples, config.data.validation_fraction, config.seed)
    if not len(training) or (config.card is not None and not len(validation)):
        raise DatasetError(
            f"{root} has {len(samples)} images to train on, of which validation_fraction = "
            f"{config.data.validation_fraction:g} holds out {len(validation)}; training needs "
            "some, and so does calibrating: add images, or change the fraction"
        )
    if config.whole_images is None:
        return training, validation
    return training, resize_samples(validation, config.whole_images.size_px)


def open_fold(config: TrainConfig, root: Path) -> Samples:
    """Find the images of the fold that a run leaves out, to test it on.

    Raises
    ------
    DatasetError
        If the folder is not laid out as the configuration says, or there are no folds.
    """
    if not config.data.folds:
        raise DatasetError("the configuration has no folds, so no fold is left out; set data.folds")
    return _sides(config, root)[1]


def name_groups(config: TrainConfig, root: Path, samples: Samples) -> list[str]:
    """Of each image, what it must not be parted from: in a manifest's folder, its group."""
    known = groups(root) if config.data.layout == "manifest" else {}
    return [known.get(name, name) for name in samples.names]


def _sides(config: TrainConfig, root: Path) -> tuple[Samples, Samples]:
    """The images to train on, some of which may be held out, and those of the fold left out."""
    data = config.data
    samples = load_dataset(
        data.layout,
        root,
        data.split,
        seed=data.seed,
        mpp=data.mpp,
        classes=[entry.text for entry in data.classes],
    )
    left_out: list[int] = []
    if data.folds:
        folds = assign_folds(name_groups(config, root, samples), data.folds, data.seed)
        left_out = [place for place, fold in enumerate(folds) if fold == data.fold]
    kept = sorted(set(range(len(samples))).difference(left_out))
    if data.limit:
        kept = sorted(np.random.default_rng(data.seed).permutation(kept)[: data.limit].tolist())
    return samples.pick(kept), samples.pick(left_out)


def resize_samples(samples: Sequence[Sample], size_px: int) -> Samples:
    """Resize images and masks to squares, each when it is asked for."""
    read = [partial(_read_resized, samples, index, size_px) for index in range(len(samples))]
    return Samples({f"{index:06d}": reader for index, reader in enumerate(read)})


def _read_resized(
    samples: Sequence[Sample], index: int, size_px: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    sample = samples[index]
    return resize_image(sample.image, size_px), resize_mask(sample.mask, size_px)
