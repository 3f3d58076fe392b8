"""What each part of a training brings: variants of one run, each with a part left out or changed.

``python -m training.ablation STUDY --data DATA --runs RUNS --out OUT --train``. STUDY is a TOML
file. Every variant is a single model. It is measured on the images that its training held out,
whole groups of each set, and on sets that no variant was trained on.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from napari_twostage.errors import TwoStageError
from napari_twostage.method.features import is_bright_field
from napari_twostage.method.instances import depth_of, separate
from napari_twostage.method.uncertainty import labels
from napari_twostage.models.backends.torch_backend import tune_allocator
from napari_twostage.training.config import load_config
from napari_twostage.training.config.sections import read_section, read_toml, require
from napari_twostage.training.datasets.objects import read_instances
from napari_twostage.training.datasets.resize import nearest
from napari_twostage.training.evaluation.metrics import mean_dice
from napari_twostage.training.evaluation.object_quality import compare_objects, total
from napari_twostage.training.evaluation.table import NOTHING, Table, percent
from napari_twostage.training.loop.stages import coarse_at_full_size
from napari_twostage.training.loop.validate import predict_whole
from napari_twostage.training.run.images import open_groups, open_samples
from napari_twostage.training.run.networks import load_trained_networks, prepare_inference
from training.frontier.study import Trial, as_changes
from training.model_options import add_study_options, outside_sets
from training.parallel_training import train_all

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from napari_twostage.models.networks.two_stage import TwoStage
    from napari_twostage.training.config import TrainConfig
    from napari_twostage.training.datasets import Sample
    from napari_twostage.training.evaluation.object_quality import ObjectQuality


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A run that differs from the configuration."""

    name: str
    changes: dict[str, Any] = field(default_factory=dict)
    """Overrides of the file's values: ``"augmentation.pale" = 0``."""


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """Variants of one configuration."""

    name: str
    config: str
    """Configuration file of a single model, relative to this one."""
    variants: tuple[Variant, ...]
    """The first is what the others are compared with."""
    changes: dict[str, Any] = field(default_factory=dict)
    """Overrides for every variant, applied before its own."""
    outside: tuple[str, ...] = ()
    """Sets that no variant is trained on, as ``folder=micrometres per pixel``."""
    seeds: int = 1
    folder: Path = field(default=Path(), compare=False)
    """Folder of the study's file."""

    def __post_init__(self) -> None:
        names = {variant.name for variant in self.variants}
        require(len(names) == len(self.variants), "variants must have names of their own")
        require(bool(self.variants), "variants must be given")
        require(self.seeds >= 1, "seeds must be 1 or more")

    def trials(self, data: Path, runs: Path) -> list[Trial]:
        """Every run of every variant."""
        return [
            Trial(variant.name, 0, seed, config, data, runs / variant.name / f"seed {seed}")
            for variant in self.variants
            for seed in range(self.seeds)
            for config in [self._configure(variant, seed)]
        ]

    def _configure(self, variant: Variant, seed: int) -> TrainConfig:
        changes = {**self.changes, **variant.changes, "seed": seed}
        return load_config(self.folder / self.config, as_changes(changes))


class Measured(NamedTuple):
    """One image."""

    dice: float
    objects: ObjectQuality | None
    """None without true objects."""


Results = dict[str, list[Measured]]
"""Images by the name of their column."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is missing if asked to, measure, write; returns 2 for errors of the user."""
    parser = argparse.ArgumentParser(prog="python -m training.ablation", description=__doc__)
    add_study_options(parser)
    options = parser.parse_args(arguments)
    tune_allocator()
    try:
        study = load_ablation(options.study)
        trials = study.trials(options.data, options.runs)
        if options.train:
            train_all(trials, options.device, options.jobs)
        table = make_table(study, [trial for trial in trials if trial.finished])
    except TwoStageError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    table.write(options.out)
    sys.stdout.write(f"{table.to_markdown()}\n")
    return 0


def load_ablation(path: Path) -> Ablation:
    """Read and check a study's TOML file.

    Raises
    ------
    ConfigError
        If the file is missing or not TOML, or has unknown, missing or invalid values.
    """
    return replace(read_section(Ablation, read_toml(path), str(path)), folder=path.parent)


def make_table(study: Ablation, trials: Sequence[Trial]) -> Table:
    """Dice per image, and F1 of objects, of each variant on each set; seeds averaged."""
    measured: dict[str, list[Results]] = {}
    for trial in trials:
        measured.setdefault(trial.candidate, []).append(measure(trial, study))
    columns = list(next(iter(measured.values()), [{}])[0])
    missing = [variant.name for variant in study.variants if variant.name not in measured]
    table = Table(
        f"ablation_{study.name}",
        ("variant", *columns),
        f"{study.name}: Dice per image / F1 of objects at an IoU of 0.5, images read whole; "
        f"{study.seeds} seed(s). Held out are whole groups of each set that is trained on."
        + (f" Not run: {', '.join(missing)}." if missing else ""),
    )
    for variant, runs in measured.items():
        table.rows.append((variant, *(_cell([run[name] for run in runs]) for name in columns)))
    return table


def _cell(runs: Sequence[list[Measured]]) -> str:
    dice = percent(float(np.mean([image.dice for run in runs for image in run])))
    counted = [[image.objects for image in run if image.objects is not None] for run in runs]
    if not all(counted):
        return f"{dice} / {NOTHING}"
    return f"{dice} / {percent(float(np.mean([total(run).f1 for run in counted])))}"


def measure(trial: Trial, study: Ablation) -> Results:
    """Measure one run on held-out images and on the outside sets."""
    module = prepare_inference(load_trained_networks(trial.config, trial.folder))
    results: Results = {}
    for source, sample in tqdm(_images(trial, study), desc=trial.candidate, unit="image"):
        name = f"{source}, {'stained' if is_bright_field(sample.image) else 'dark'}"
        path = trial.data / source / "instances" / f"{Path(sample.name).stem}.png"
        results.setdefault(name, []).append(run(module, trial.config, sample, path))
    return results


def _images(trial: Trial, study: Ablation) -> Iterator[tuple[str, Sample]]:
    """Images that the run held out, and those of the outside sets, with the name of their set."""
    yield from ((sample.source, sample) for sample in open_samples(trial.config, trial.data)[1])
    for entry in outside_sets(study.outside):
        data = replace(trial.config.data, sets=(entry,), split="all")
        ((samples, _),) = open_groups(replace(trial.config, data=data), trial.data)
        yield from ((entry.folder, sample) for sample in samples)


def run(module: TwoStage, config: TrainConfig, sample: Sample, instances: Path) -> Measured:
    """Segment an image whole, and compare it with the truth."""
    predict = coarse_at_full_size(module, config.network.ratio, module.coarse_maps)
    with torch.inference_mode():
        maps = predict_whole(predict, sample.image, halo_px=config.stage1.halo_px)
    target = config.network.objects
    logits = maps if target == "none" else maps[:-1]
    found = labels(logits)
    dice = mean_dice(found, sample.mask, max(1, len(logits) - 1))
    if target == "none" or not instances.is_file():
        return Measured(dice, None)
    numbers = separate(found, depth_of(maps[-1], target))
    true: NDArray[np.integer] = nearest(read_instances(instances), found.shape)
    return Measured(dice, compare_objects(numbers, true))


if __name__ == "__main__":
    sys.exit(main())
