"""Features of training images and the Dice that follows from them, for a model's card.

Every image passes stage 1 once. What is kept decides `method.domain.check_domain` and the expected
Dice. Images of the test split are not used.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from napari_twostage.errors import ModelError
from napari_twostage.geometry import Box, Grid
from napari_twostage.method.domain import predicted_logit, trait_distances
from napari_twostage.method.features import logit
from napari_twostage.method.resample_labels import upsample
from napari_twostage.method.sample_windows import features_of, look_at
from napari_twostage.method.uncertainty import labels
from napari_twostage.models import load_model
from napari_twostage.models.bundle import write_card
from napari_twostage.models.training_domain import (
    CONFIDENCE,
    FEATURES,
    TRAITS,
    DiceRule,
    ImageKind,
    TrainingDomain,
)
from napari_twostage.slides import open_slide
from napari_twostage.slides.view import View
from napari_twostage.training.run.images import open_groups

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_twostage.models.model import Model
    from napari_twostage.training.config import TrainConfig
    from napari_twostage.training.datasets import Sample

HELD = 0.95
"""Share of the training images that no limit calls unlike themselves."""
COVERAGE = 0.9
RIDGE = 0.1
"""Shrinkage of the weights, in units of a feature's variance."""
LEAST_IMAGES = 3
"""Images of a group whose pooled Dice counts for the interval."""
LEAST_GROUPS = 5
"""Groups needed to state an interval."""
DENSITIES = 5
"""Optical densities that stand for those which training drew for an image."""
IS_DENSITY = np.isin(FEATURES, TRAITS["stain"])


@dataclass(frozen=True)
class MeasuredImage:
    """Features of an image with a truth, and how stage 1 does on it."""

    source: str
    """Name of its data set."""
    group: str
    """Slide, patient or source; unique among data sets."""
    bright_field: bool
    features: NDArray[np.float64]
    """(12,) as `models.training_domain.FEATURES`."""
    counts: tuple[int, int, int]
    """Foreground pixels found, found wrongly, and missed, of stage 1's upsampled labels."""

    @property
    def dice(self) -> float:
        """Dice of stage 1."""
        return pooled_dice([self])


def pooled_dice(images: Iterable[MeasuredImage]) -> float:
    """Dice of stage 1 over all pixels of some images; 1 if there is no foreground."""
    found, wrong, missed = np.sum([image.counts for image in images], axis=0)
    total = 2 * found + wrong + missed
    return float(2 * found / total) if total else 1.0


def measure_images(
    model: Model, sets: Sequence[tuple[Sequence[Sample], list[str]]], *, progress: bool = True
) -> list[MeasuredImage]:
    """Run stage 1 over images with a truth; those without objects are left out.

    Parameters
    ----------
    model : Model
    sets : sequence of (samples, groups)
        From `open_groups`.
    progress : bool
        Show a progress bar on stderr.
    """
    total = sum(len(samples) for samples, _ in sets)
    with tqdm(desc="domain", total=total, unit="image", disable=not progress) as bar:
        return [found for samples, groups in sets for found in _of_set(model, samples, groups, bar)]


def _of_set(
    model: Model, samples: Sequence[Sample], groups: list[str], bar: tqdm[None]
) -> Iterator[MeasuredImage]:
    for index, group in enumerate(groups):
        sample = samples[index]
        known = "" if group == sample.name else group
        measured = _measured(model, sample, known)
        if measured is not None:
            yield measured
        bar.update()


def _measured(model: Model, sample: Sample, group: str) -> MeasuredImage | None:
    card = model.card
    slide = open_slide(sample.image, mpp=(card.fine_mpp, card.fine_mpp))
    fine = Grid(slide.level_shapes[0], (1.0, 1.0), slide.mpp)
    view = View(slide, fine.coarser(card.ratio))
    side, (height, width) = card.coarse_core_px, view.grid.shape
    cores = [
        Box.at(top, left, side, side)
        for top in range(0, height, side)
        for left in range(0, width, side)
    ]
    windows = list(look_at(model, view, cores))
    features, bright = features_of(windows, view.grid.mpp)
    if not len(features):
        return None
    logits = np.zeros((card.outputs, *view.grid.shape), np.float32)
    for window in windows:
        logits[:, *window.box.slices] = window.logits
    read = upsample(lambda box: logits[:, *box.slices], view.grid.shape, fine.box, card.ratio)
    found, truth = labels(read), sample.mask
    right = (found == truth) & (truth > 0)
    bright_field = 2 * int(bright.sum()) > len(bright)
    if not group:  # images of one kind and size come from one source
        rows, columns = truth.shape
        group = f"{'bright' if bright_field else 'dark'} field of {rows} × {columns}"
    return MeasuredImage(
        source=sample.source,
        group=f"{sample.source}: {group}",
        bright_field=bright_field,
        features=features.mean(axis=0),
        counts=(
            int(right.sum()),
            int(((found > 0) & ~right).sum()),
            int(((truth > 0) & ~right).sum()),
        ),
    )


def fit_domain(
    images: Sequence[MeasuredImage], *, density: tuple[float, float] = (1.0, 1.0)
) -> TrainingDomain:
    """Fit what a card states of the training images.

    Sets weigh the same, and the groups of a set, and the images of a group.

    Parameters
    ----------
    images : sequence of MeasuredImage
    density : (float, float)
        Factors between which training varied the optical density of bright-field images: the model
        knows them as such.

    Raises
    ------
    ModelError
        If there are too few groups to state an interval.
    """
    groups = group_images(images)
    enough = [name for name, own in groups.items() if len(own) >= LEAST_IMAGES]
    if len(enough) < LEAST_GROUPS:
        raise ModelError(
            f"an interval needs {LEAST_GROUPS} groups of {LEAST_IMAGES} images with objects or "
            f"more, found {len(enough)}; add images of other slides or patients"
        )
    errors = left_out_errors(images)
    rule = replace(
        fit_dice(images),
        errors=_interval([errors[name] for name in enough]),
        groups=len(enough),
    )
    kinds = {
        bright: [image for image in images if image.bright_field == bright]
        for bright in (True, False)
    }
    return TrainingDomain(
        bright_field=_kind(kinds[True], rule, density),
        dark_field=_kind(kinds[False], rule),
        dice=rule,
    )


def group_images(images: Sequence[MeasuredImage]) -> dict[str, list[MeasuredImage]]:
    """Images of each group."""
    groups: dict[str, list[MeasuredImage]] = {}
    for image in images:
        groups.setdefault(image.group, []).append(image)
    return groups


def fit_dice(images: Sequence[MeasuredImage]) -> DiceRule:
    """Ridge regression of the Dice's logit on the confidence features; its errors are unknown."""
    weights = _weights(images)
    features = np.array([image.features[CONFIDENCE] for image in images])
    truth = logit(np.array([image.dice for image in images]))
    mean, spread = _moments(features, weights)
    scaled, middle = (features - mean) / spread, float(weights @ truth)
    square = (scaled * weights[:, None]).T @ scaled + RIDGE * np.eye(features.shape[1])
    slopes = np.linalg.solve(square, scaled.T @ (weights * (truth - middle))) / spread
    if slopes[0] < 0:  # refining must not lower what is predicted
        slopes[0] = 0.0
    return DiceRule(
        intercept=round(middle - float(slopes @ mean), 5),
        weights=tuple(round(float(slope), 5) for slope in slopes),
        errors=(0.0, 0.0),
        coverage=COVERAGE,
        groups=1,
    )


def left_out_errors(images: Sequence[MeasuredImage]) -> dict[str, float]:
    """True less predicted logit of each group's pooled Dice, by a rule fitted on the others."""
    groups = group_images(images)
    errors = {}
    for name, own in groups.items():
        rule = fit_dice([image for image in images if image.group != name])
        features = np.mean([image.features for image in own], axis=0)
        errors[name] = float(logit(pooled_dice(own)) - predicted_logit(rule, features))
    return errors


def _interval(errors: Sequence[float]) -> tuple[float, float]:
    """Ends between which a new error lies with `COVERAGE`, by split conformal prediction."""
    ordered = sorted(errors)
    below = int((1 - COVERAGE) / 2 * (len(ordered) + 1))
    return round(ordered[max(0, below - 1)], 4), round(ordered[min(-1, -below)], 4)


def _kind(
    images: Sequence[MeasuredImage], rule: DiceRule, density: tuple[float, float] = (1.0, 1.0)
) -> ImageKind | None:
    if not images:
        return None
    weights, features = _weights(images), np.array([image.features for image in images])
    weights = np.tile(weights / DENSITIES, DENSITIES)
    features = np.concatenate(
        [np.where(IS_DENSITY, factor, 1) * features for factor in np.geomspace(*density, DENSITIES)]
    )
    mean, spread = _moments(features, weights)
    quality = predicted_logit(rule, features)
    middle, deviation = _moments(quality[:, None], weights)
    kind = ImageKind(
        images=len(images),
        groups=len({image.group for image in images}),
        mean=_rounded(mean),
        spread=_rounded(spread),
        limits=(1.0,) * len(TRAITS),
        quality=(round(float(middle[0]), 4), round(float(deviation[0]), 4)),
    )
    distances = trait_distances(features, kind).T
    return replace(kind, limits=_rounded([_quantile(one, weights, HELD) for one in distances]))


def _weights(images: Sequence[MeasuredImage]) -> NDArray[np.float64]:
    """Weight of each image; they sum to 1."""
    of_group = Counter(image.group for image in images)
    of_source = Counter({image.group: image.source for image in images}.values())
    weights = np.array([1 / of_group[one.group] / of_source[one.source] for one in images])
    return np.asarray(weights / weights.sum())


def _moments(
    values: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weighted mean and standard deviation of each column, the latter above 0."""
    mean = weights @ values
    return mean, np.sqrt(weights @ (values - mean) ** 2) + 1e-3


def _quantile(values: NDArray[np.float64], weights: NDArray[np.float64], share: float) -> float:
    order = np.argsort(values)
    place = int(np.searchsorted(np.cumsum(weights[order]), share * (1 - 1e-9)))
    return float(values[order][min(place, len(values) - 1)])


def _rounded(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(round(float(value), 4) for value in values)


def add_domain(
    folder: Path,
    config: TrainConfig,
    data: Path,
    *,
    device: str = "auto",
    progress: bool = True,
) -> TrainingDomain:
    """Put the training images of a run, its validation images included, into a bundle's card.

    Parameters
    ----------
    folder : path
        Folder of the bundle.
    config : TrainConfig
        Configuration that the model was trained with.
    data : path
        Folder of the data set, or of the sets.
    device : str
        As for `load_model`.
    progress : bool
        Show a progress bar on stderr.

    Returns
    -------
    TrainingDomain
        The part of the card that was written.
    """
    model = load_model(folder, device=device)
    images = measure_images(model, open_groups(config, data), progress=progress)
    domain = fit_domain(images, density=config.augmentation.density)
    write_card(folder, replace(model.card, domain=domain))
    return domain
