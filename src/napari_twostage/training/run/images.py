"""Images of a run: training, validation, and the fold left out for testing."""

from __future__ import annotations

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
from napari_twostage.training.datasets.mixed import (
    AtModelSize,
    MixedSamples,
    Source,
    hold_out_groups,
)
from napari_twostage.training.datasets.resize import resize_samples

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from napari_twostage.training.config import TrainConfig
    from napari_twostage.training.config.image_sections import SetConfig
    from napari_twostage.training.datasets import Sample


def open_samples(config: TrainConfig, root: Path) -> tuple[Sequence[Sample], Sequence[Sample]]:
    """Images to train on, and those held out for validation, resized if the run resizes images.

    Raises
    ------
    DatasetError
        If the folder does not match the configured layout, or has too few images.
    """
    if config.data.sets:
        training, validation = _open_sets(config, root)
    else:
        samples = _sides(config, root)[0]
        training, validation = hold_out(samples, config.data.validation_fraction, config.seed)
        if config.network.objects != "none" or config.augmentation.needs_stains:
            training = _completed(config, [Source(root, training)])
    if not len(training) or (config.card is not None and not len(validation)):
        raise DatasetError(
            f"{root} has {len(training) + len(validation)} images to train on, of which "
            f"validation_fraction = {config.data.validation_fraction:g} holds out "
            f"{len(validation)}; training needs some, and so does calibrating: "
            "add images, or change the fraction"
        )
    if config.whole_images is None:
        return training, validation
    return training, resize_samples(validation, config.whole_images.size_px)


def open_fold(config: TrainConfig, root: Path) -> Samples:
    """Images of the fold that a run leaves out, to test it on.

    Raises
    ------
    DatasetError
        If the folder does not match the configured layout, or there are no folds.
    """
    if not config.data.folds:
        raise DatasetError("the configuration has no folds, so no fold is left out; set data.folds")
    return _sides(config, root)[1]


def open_groups(config: TrainConfig, root: Path) -> list[tuple[Sequence[Sample], list[str]]]:
    """Images of each set that a run learns from or validates on, and the group of each image.

    They are resampled to the model's pixel size. Images of no known group have their own name.
    """
    if not config.data.sets:
        samples = _sides(config, root)[0]
        return [(_whole_images(Source(root, samples)), name_groups(config, root, samples))]
    return [
        (_whole_images(Source(root / entry.folder, samples, _zoom(config, entry))), owners)
        for entry, samples, owners in _load_sets(config, root)
    ]


def _whole_images(source: Source) -> Sequence[Sample]:
    return AtModelSize(MixedSamples([source]))


def _load_sets(config: TrainConfig, root: Path) -> Iterator[tuple[SetConfig, Samples, list[str]]]:
    """Each set with its images, and the group of each image, else its name."""
    data = config.data
    for entry in data.sets:
        folder = root / entry.folder
        samples = load_dataset(
            entry.layout,
            folder,
            data.split,
            seed=data.seed,
            mpp=data.mpp,
            classes=[kind.text for kind in data.classes],
            masks=data.masks,
            reduce=data.reduce,
        )
        known = _known_groups(entry.layout, folder)
        yield entry, samples, [known.get(name, name) for name in samples.names]


def _zoom(config: TrainConfig, entry: SetConfig) -> float:
    """Pixels of the model per pixel of a set's images."""
    if entry.mpp is None or config.data.mpp is None:
        return 1.0
    return entry.mpp / config.data.mpp


def _open_sets(config: TrainConfig, root: Path) -> tuple[Sequence[Sample], Sequence[Sample]]:
    """Images of all sets to train on, and those held out, whole groups of each set."""
    kept: list[Source] = []
    held: list[Source] = []
    for entry, samples, owners in _load_sets(config, root):
        for side, indices in zip(
            (kept, held),
            hold_out_groups(owners, config.data.validation_fraction, config.seed),
            strict=True,
        ):
            side.append(
                Source(
                    root / entry.folder,
                    samples.pick(indices),
                    zoom=_zoom(config, entry),
                    weight=entry.weight,
                    groups=tuple(owners[index] for index in indices) if entry.by_group else None,
                )
            )
    return _completed(config, kept), AtModelSize(MixedSamples(held))


def _completed(config: TrainConfig, sources: list[Source]) -> MixedSamples:
    """Training images with what the networks and the augmentation need of each."""
    return MixedSamples(
        sources, objects=config.network.objects, stains=config.augmentation.needs_stains
    )


def name_groups(config: TrainConfig, root: Path, samples: Samples) -> list[str]:
    """Group of each image, kept on one side of a split: from the manifest, else its own name."""
    known = _known_groups(config.data.layout, root)
    return [known.get(name, name) for name in samples.names]


def _known_groups(layout: str, root: Path) -> dict[str, str]:
    return groups(root) if layout == "manifest" else {}


def _sides(config: TrainConfig, root: Path) -> tuple[Samples, Samples]:
    """Images to train on (some may be held out later), and those of the fold left out."""
    data = config.data
    samples = load_dataset(
        data.layout,
        root,
        data.split,
        seed=data.seed,
        mpp=data.mpp,
        classes=[entry.text for entry in data.classes],
        masks=data.masks,
        reduce=data.reduce,
    )
    left_out: list[int] = []
    if data.folds:
        folds = assign_folds(name_groups(config, root, samples), data.folds, data.seed)
        left_out = [place for place, fold in enumerate(folds) if fold == data.fold]
    remaining = sorted(set(range(len(samples))).difference(left_out))
    if data.limit:
        drawn = np.random.default_rng(data.seed).permutation(remaining)[: data.limit]
        remaining = sorted(drawn.tolist())
    return samples.pick(remaining), samples.pick(left_out)
