"""How far the domain check and the predicted Dice can be trusted: tables for the decision record.

``python -m training.domain_study CONFIG --data DATA --model MODEL --outside MoNuSeg=0.25``. The
images of the run's train split are left out set by set and group by group; those of its test split
and of other sets are judged by what was fitted on all of the train split.
"""

from __future__ import annotations

import argparse
import pickle
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import spearmanr

from napari_twostage.errors import TwoStageError
from napari_twostage.method.domain import check_domain, predicted_logit
from napari_twostage.method.features import logit
from napari_twostage.models import load_model
from napari_twostage.training.config import load_config
from napari_twostage.training.domain import (
    MeasuredImage,
    fit_dice,
    fit_domain,
    group_images,
    left_out_errors,
    measure_images,
    pooled_dice,
)
from napari_twostage.training.evaluation.table import Table
from napari_twostage.training.run.images import open_groups
from training.model_options import add_model_options, outside_sets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_twostage.models.training_domain import DiceRule, TrainingDomain
    from napari_twostage.training.config import TrainConfig
    from napari_twostage.training.config.image_sections import SetConfig

Images = list[MeasuredImage]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the tables; returns 2 for errors that the user can correct."""
    parser = argparse.ArgumentParser(prog="python -m training.domain_study", description=__doc__)
    add_model_options(parser)
    parser.add_argument("--keep", type=Path, help="file that keeps what was measured, and is read")
    options = parser.parse_args(arguments)
    try:
        config = load_config(options.config)
        if options.keep and options.keep.exists():
            parts = pickle.loads(options.keep.read_bytes())  # noqa: S301 - the user's own file
        else:
            parts = measure(config, options)
            if options.keep:
                options.keep.write_bytes(pickle.dumps(parts))
    except TwoStageError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    domain = fit_domain(parts["train"], density=config.augmentation.density)
    for table in (ranking_table(parts), slide_table(parts, domain), check_table(parts, domain)):
        sys.stdout.write(f"{table.to_markdown()}\n")
    return 0


def measure(config: TrainConfig, options: argparse.Namespace) -> dict[str, Images]:
    """Images of the splits ``train`` and ``test``, and of ``outside``."""
    model = load_model(options.model, device=options.device)
    splits = {
        "train": config,
        "test": _with(config, "test", config.data.sets),
        "outside": _with(config, "all", outside_sets(options.outside)),
    }
    return {
        name: measure_images(model, open_groups(each, options.data))
        for name, each in splits.items()
    }


def _with(config: TrainConfig, split: str, sets: tuple[SetConfig, ...]) -> TrainConfig:
    return replace(config, data=replace(config.data, split=split, sets=sets))


def ranking_table(parts: dict[str, Images]) -> Table:
    """Rank correlation of the predicted and the true Dice of images, each set left out."""
    rows = []
    train = parts["train"]
    for source in sorted({image.source for image in train}):
        rule = fit_dice([image for image in train if image.source != source])
        for bright in (True, False):
            own = [one for one in train if (one.source, one.bright_field) == (source, bright)]
            if own:
                kind = "bright" if bright else "dark"
                rows.append([f"{source}, {kind} field", len(own), _correlation(rule, own)])
    rule = fit_dice(train)
    for source in sorted({image.source for image in parts["outside"]}):
        own = [image for image in parts["outside"] if image.source == source]
        rows.append([source, len(own), _correlation(rule, own)])
    return Table(
        "ranking",
        ("set left out", "images", "Spearman"),
        rows=[tuple(map(str, row)) for row in rows],
        caption="Predicted and true Dice of images; the prediction is fitted on the other sets",
    )


def _correlation(rule: DiceRule, images: Images) -> str:
    predicted = predicted_logit(rule, np.array([image.features for image in images]))
    return f"{spearmanr(predicted, [image.dice for image in images])[0]:.2f}"


def slide_table(parts: dict[str, Images], domain: TrainingDomain) -> Table:
    """True and predicted pooled Dice of each group that was left out."""
    rule = domain.dice
    left_out = left_out_errors(parts["train"])
    rows, errors, raw_errors, inside = [], [], [], []
    for split, images in parts.items():
        for name, own in sorted(group_images(images).items()):
            features = np.mean([image.features for image in own], axis=0)
            truth = pooled_dice(own)
            odds = predicted_logit(rule, features)
            if split == "train":
                odds = logit(truth) - left_out[name]
            predicted, low, high = (float(_share(odds + shift)) for shift in (0.0, *rule.errors))
            raw = float(_share(features[0]))
            check = check_domain(domain, features[None], np.array([own[0].bright_field]), "nucleus")
            if len(own) >= 3 and name.startswith("NuInsSeg"):
                errors.append(abs(predicted - truth))
                raw_errors.append(abs(raw - truth))
                inside.append(low <= truth <= high)
            numbers = [f"{100 * value:.1f}" for value in (truth, raw, predicted, low, high)]
            rows.append((name, split, str(len(own)), *numbers, "; ".join(check.unlike)))
    header = ("slide", "split", "images", "Dice", "own probabilities", "predicted", "from", "to")
    return Table(
        "slides",
        (*header, "unlike"),
        rows=rows,
        caption=(
            f"Pooled Dice of slides left out. NuInsSeg, {len(errors)} slides: mean absolute error "
            f"{100 * np.mean(errors):.1f} points (own probabilities {100 * np.mean(raw_errors):.1f}"
            f"), {sum(inside)} of {len(inside)} in the interval"
        ),
    )


def _share(odds: NDArray[np.float64] | float) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-odds)))


def check_table(parts: dict[str, Images], domain: TrainingDomain) -> Table:
    """Share of groups and of images that the check calls unlike the training images."""
    rows: list[tuple[str, ...]] = []
    for split, images in parts.items():
        for source in sorted({image.source for image in images}):
            own = [image for image in images if image.source == source]
            single = np.mean([_is_unlike(domain, [image]) for image in own])
            slides = [_is_unlike(domain, group) for group in group_images(own).values()]
            rows.append(
                (source, split, str(len(own)), f"{single:.2f}", f"{sum(slides)} of {len(slides)}")
            )
    return Table(
        "check",
        ("set", "split", "images", "share of images unlike", "slides unlike"),
        rows=rows,
        caption="Domain check by the limits of the train split",
    )


def _is_unlike(domain: TrainingDomain, images: Images) -> bool:
    features = np.mean([image.features for image in images], axis=0)
    bright = np.array([images[0].bright_field])
    return bool(check_domain(domain, features[None], bright, "nucleus").unlike)


if __name__ == "__main__":
    sys.exit(main())
