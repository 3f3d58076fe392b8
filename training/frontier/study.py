"""A study: its candidates, and the folds and seeds that each is trained on."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from napari_twostage.models.bundle import CARD
from napari_twostage.training.config import TrainConfig, load_config
from napari_twostage.training.config.sections import read_section, read_toml, require
from napari_twostage.training.datasets import load_dataset
from napari_twostage.training.run.images import name_groups, open_fold
from napari_twostage.training.run.run_folder import BUNDLE, STAGE1
from napari_twostage.training.train import train
from training.frontier.scores import Average  # noqa: TC001 - read at runtime

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from napari_twostage.training.datasets import Samples


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A configuration that is trained once for each fold and seed."""

    name: str
    config: str
    """Configuration file, relative to the study's."""
    changes: dict[str, Any] = field(default_factory=dict)
    """Overrides of the file's values: ``"network.ratio" = 4``."""
    parts: tuple[str] | tuple[str, str] | None = None
    """Single models that become stage 1, or both stages, unchanged. The remaining stage is trained,
    and the configuration's [card] makes a bundle."""
    teacher: str | None = None
    """Single model to learn from; `distillation` in the configuration sets its share."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """A frontier on one data set."""

    name: str
    dense: str
    """Name of the candidate whose cost is 1 and whose Dice is the goal."""
    candidates: tuple[Candidate, ...]
    changes: dict[str, Any] = field(default_factory=dict)
    """Overrides for every candidate, applied before its own."""
    layout: str = "manifest"
    folds: int = 5
    """Folds of all images, groups kept together; each is tested once, by runs that were not trained
    on it. 0: the published split, tested once on its test images."""
    folds_run: int = 0
    """Number of folds to run, from the first; 0 for all."""
    seeds: int = 1
    """Number of seeds per candidate and fold."""
    tolerance: float = 0.005
    """Dice that the headline may lose against the dense run."""
    average: Average = "images"
    """How Dice is averaged where curves are drawn and compared: over images, over images with
    foreground, or pooled. Tables have all three."""
    half: str = ""
    """Name of the candidate at half the resolution, for the set's headroom."""
    selector: Literal["tent", "entropy", "expected gain", "gain output"] = "tent"
    """Selector of the rows that are tabulated and timed."""
    folder: Path = field(default=Path(), compare=False)
    """Folder of the study's file."""

    def __post_init__(self) -> None:
        names = [candidate.name for candidate in self.candidates]
        require(len(set(names)) == len(names), "candidates must have names of their own")
        for name in (self.dense, self.half or self.dense):
            require(name in names, f"dense and half must be among {', '.join(names)}")
        require(self.seeds >= 1, "seeds must be 1 or more")
        require(0 <= self.folds_run <= self.folds, "folds_run must be at most folds, or 0 for all")
        trained = {candidate.name for candidate in self.candidates if candidate.parts is None}
        named = {part for candidate in self.candidates for part in candidate.parts or ()}
        require(named <= trained, f"parts must be among {', '.join(sorted(trained))}")
        teachers = {candidate.teacher for candidate in self.candidates if candidate.teacher}
        alone = {
            candidate.name
            for candidate in self.candidates
            if candidate.parts is None and candidate.teacher is None
        }
        require(teachers <= alone, f"teachers must be among {', '.join(sorted(alone))}")

    def all_trials(self, data: Path, runs: Path) -> list[Trial]:
        """All trials of all candidates, sorted so that required ones come first."""
        listed = [
            trial for candidate in self.candidates for trial in self.trials(candidate, data, runs)
        ]
        return sorted(listed, key=lambda trial: (trial.level, trial.fold, trial.seed))

    def trials(self, candidate: Candidate, data: Path, runs: Path) -> Iterator[Trial]:
        """Trials of a candidate, one for each fold and seed."""
        for fold in range(self.folds_run or max(1, self.folds)):
            for seed in range(self.seeds):
                changes = {
                    **self.changes,
                    **candidate.changes,
                    "data.layout": self.layout,
                    "data.split": "all" if self.folds else "train",
                    "data.folds": self.folds,
                    "data.fold": fold,
                    "seed": seed,
                }
                config = load_config(self.folder / candidate.config, as_changes(changes))
                place = f"fold {fold} seed {seed}"
                parts = tuple(runs / name / place for name in candidate.parts or ())
                teacher = runs / candidate.teacher / place if candidate.teacher else None
                yield Trial(
                    candidate.name,
                    fold,
                    seed,
                    config,
                    data,
                    runs / candidate.name / place,
                    parts,
                    teacher,
                )


@dataclass(frozen=True)
class Trial:
    """One training run of a candidate, with its test images."""

    candidate: str
    fold: int
    seed: int
    config: TrainConfig
    data: Path
    folder: Path
    parts: tuple[Path, ...] = ()
    """Folders of the single models that become its first stages."""
    teacher: Path | None = None
    """Folder of the single model to learn from."""

    @property
    def level(self) -> int:
        """Order of training: 0 first, 1 after its teacher, 2 after its parts."""
        return 2 if self.parts else int(self.teacher is not None)

    @property
    def single(self) -> bool:
        """Whether it is a single model."""
        return self.config.kind == "single"

    @property
    def finished(self) -> bool:
        """Whether it can be tested."""
        last = self.folder / STAGE1 if self.single else self.folder / BUNDLE / CARD
        return last.exists()

    def train(self, device: str) -> None:
        """Train to the end, or resume; a finished trial is only checked."""
        train(
            self.config,
            self.data,
            self.folder,
            device=device,
            parts=self.parts,
            teacher=self.teacher,
        )

    def open_test(self) -> tuple[Samples, list[str]]:
        """Test images, which it was not trained on, and the group of each."""
        if self.config.data.folds:
            samples = open_fold(self.config, self.data)
        else:
            data = self.config.data
            samples = load_dataset(
                data.layout, self.data, "test", masks=data.masks, reduce=data.reduce
            )
        return samples, name_groups(self.config, self.data, samples)


def load_study(path: Path) -> Study:
    """Read and check a study's TOML file.

    Raises
    ------
    ConfigError
        If the file is missing or not TOML, or has unknown, missing or invalid values.
    """
    return replace(read_section(Study, read_toml(path), str(path)), folder=path.parent)


def as_changes(values: Mapping[str, object]) -> list[str]:
    """Overrides of a configuration's values, as `load_config` takes them."""
    return [f"{key}={_toml(value)}" for key, value in values.items()]


def _toml(value: object) -> str:
    """Format a value as TOML: as JSON, except for tables."""
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {_toml(inner)}' for key, inner in value.items())} }}"
    return json.dumps(value)
