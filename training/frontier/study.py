"""What a frontier compares: its runs, the folds and seeds that each is trained on."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from napari_twostage.models.bundle import CARD
from napari_twostage.training.checkpoint import STAGE1
from napari_twostage.training.config import TrainConfig, load_config
from napari_twostage.training.datasets import load_dataset
from napari_twostage.training.samples import name_groups, open_fold
from napari_twostage.training.sections import read_section, read_toml, require
from napari_twostage.training.train import BUNDLE, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_twostage.training.datasets import Samples


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A run that is trained once for each fold and seed."""

    name: str
    config: str
    """File of its configuration, beside the study's."""
    changes: dict[str, Any] = field(default_factory=dict)
    """In place of the file's values: ``"network.ratio" = 4``."""
    parts: tuple[str] | tuple[str, str] | None = None
    """Single models that become stage 1, or both stages, as they are: the very networks that are
    compared alone. What is left is trained, and the configuration's [card] makes them a bundle."""
    teacher: str | None = None
    """A single model that it learns from, as much as its `distillation` says."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """A frontier on one data set."""

    name: str
    dense: str
    """The candidate whose cost is 1 and whose Dice is the goal."""
    candidates: tuple[Candidate, ...]
    changes: dict[str, Any] = field(default_factory=dict)
    """Of every candidate's file, before its own."""
    layout: str = "manifest"
    folds: int = 5
    """Parts that all images are dealt into, groups kept together; each is tested once, by runs
    that have not seen it. 0: the published split, one run tested on its test images."""
    folds_run: int = 0
    """How many of them, from the first on, where all would take too long; 0 for all."""
    seeds: int = 1
    """Runs of each candidate on each fold."""
    tolerance: float = 0.005
    """What the headline may lose against the dense run, in Dice."""
    selector: Literal["tent", "entropy", "expected gain"] = "tent"
    """What ranks the tiles of the rows that are put into the table and timed."""
    folder: Path = field(default=Path(), compare=False)
    """Of the study's file."""

    def __post_init__(self) -> None:
        names = [candidate.name for candidate in self.candidates]
        require(len(set(names)) == len(names), "candidates must have names of their own")
        require(self.dense in names, f"dense must be one of {', '.join(names)}")
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
        """List what all candidates are trained on: fold after fold, what others need before."""
        listed = [
            trial for candidate in self.candidates for trial in self.trials(candidate, data, runs)
        ]
        return sorted(listed, key=lambda trial: (trial.level, trial.fold, trial.seed))

    def trials(self, candidate: Candidate, data: Path, runs: Path) -> Iterator[Trial]:
        """List what a candidate is trained on."""
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
                config = load_config(
                    self.folder / candidate.config,
                    [f"{key}={_toml(value)}" for key, value in changes.items()],
                )
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
    """One training run of a candidate, and the images that it is tested on."""

    candidate: str
    fold: int
    seed: int
    config: TrainConfig
    data: Path
    folder: Path
    parts: tuple[Path, ...] = ()
    """Folders of the single models that its first stages are."""
    teacher: Path | None = None
    """Folder of the single model that it learns from."""

    @property
    def level(self) -> int:
        """When it can be trained: 0 at once, 1 after its teacher, 2 after its parts."""
        return 2 if self.parts else int(self.teacher is not None)

    @property
    def single(self) -> bool:
        """Whether it is one network, and not two stages."""
        return self.config.kind == "single"

    @property
    def finished(self) -> bool:
        """Whether it can be tested."""
        last = self.folder / STAGE1 if self.single else self.folder / BUNDLE / CARD
        return last.exists()

    def train(self, device: str) -> None:
        """Run it to its end, or on from where it was killed; a finished one is checked only."""
        run(
            self.config,
            self.data,
            self.folder,
            device=device,
            parts=self.parts,
            teacher=self.teacher,
        )

    def open_test(self) -> tuple[Samples, list[str]]:
        """The images it has not seen, and the group of each."""
        if self.config.data.folds:
            samples = open_fold(self.config, self.data)
        else:
            samples = load_dataset(self.config.data.layout, self.data, "test")
        return samples, name_groups(self.config, self.data, samples)


def load_study(path: Path) -> Study:
    """Read and check a study's TOML file.

    Raises
    ------
    ConfigError
        If the file is missing, no TOML, or has unknown, missing or impossible values.
    """
    return replace(read_section(Study, read_toml(path), str(path)), folder=path.parent)


def _toml(value: object) -> str:
    """Write a value as TOML does: as JSON, but for tables."""
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {_toml(inner)}' for key, inner in value.items())} }}"
    return json.dumps(value)
