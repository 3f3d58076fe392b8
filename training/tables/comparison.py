"""Shared part of tables 3 and 4: the options of a comparison, its test images, its caption."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from napari_twostage.training.datasets import load_dataset
from training.parallel_training import train_all
from training.tables.inference import Rules
from training.tables.runs import ARCHITECTURES, DataSetRuns, Run, RunError, require_one_scale
from training.tables.scores import Score, measure

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from napari_twostage.training.datasets import Samples

THRESHOLDS = (1.0, 0.75, 0.5, 0.25, 0.0)
"""Thresholds of the paper's ablation."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Options for measuring runs, the same for all rows of a table."""

    data_sets: Sequence[DataSetRuns]
    architectures: Sequence[str] = tuple(ARCHITECTURES)
    threshold: float = 0.25
    upsampling: str = "nearest"
    stray_padding: bool = False
    images: int = 0
    """Number of test images to measure on, the first ones; 0 for all."""
    timing_images: int = 4
    rounds: int = 3
    device: str = "cpu"
    """Device for training and Dice; seconds are measured on the CPU."""
    train: bool = False
    """Train missing runs."""
    jobs: int = 1
    """Runs of an architecture that are trained side by side."""
    _samples: dict[str, Samples] = field(default_factory=dict, init=False)
    _scores: dict[Path, dict[str, Score]] = field(default_factory=dict, init=False)

    def gather(
        self, data_set: DataSetRuns, architecture: str, variants: Iterable[str]
    ) -> dict[str, Run]:
        """Finished runs by variant; with `train`, all of them."""
        runs = {variant: data_set.find(architecture, variant) for variant in variants}
        if self.train:
            missing = [run for run in runs.values() if not run.finished]
            train_all(sorted(missing, key=lambda run: run.level), self.device, self.jobs)
        return {variant: run for variant, run in runs.items() if run.finished}

    def rules(self, run: Run) -> Rules:
        """Inference rules for a run."""
        return Rules(
            size_px=run.size_px,
            threshold=self.threshold,
            measure=run.config.tiles.uncertainty,
            stray_padding=self.stray_padding,
            upsampling=self.upsampling,
        )

    def open_images(self, run: Run) -> Samples:
        """Test images of a run's data set."""
        data_set, data = run.data_set, run.config.data
        if data_set.name not in self._samples:
            samples = load_dataset(
                data.layout,
                data_set.data,
                "test",
                seed=data.seed,
                mpp=data.mpp,
                classes=[entry.text for entry in data.classes],
            )
            self._samples[data_set.name] = samples[: self.images or None]
        return self._samples[data_set.name]

    def measure(self, run: Run) -> dict[str, Score]:
        """Scores of a finished run at the paper's thresholds and at this comparison's."""
        if run.folder not in self._scores:
            thresholds = (*THRESHOLDS, self.threshold)
            self._scores[run.folder] = measure(
                run, self.open_images(run), self.rules(run), thresholds, self.device
            )
        return self._scores[run.folder]

    def describe(self, runs: Sequence[Run]) -> str:
        """Caption of the runs that share a table.

        Raises
        ------
        RunError
            If there is no run, or runs are of different scales.
        """
        if not runs:
            folders = ", ".join(str(data_set.runs) for data_set in self.data_sets)
            raise RunError(f"expected finished runs in {folders}, found none; add --train")
        scale = "; ".join(f"{key}: {value}" for key, value in require_one_scale(runs).items())
        images = {run.data_set.name: len(self.open_images(run)) for run in runs}
        tested = ", ".join(f"{name} {count}" for name, count in images.items())
        first = "the first of each, " if self.images else ""
        shifted = ", shifted by the stray padding" if self.stray_padding else ""
        return (
            f"Trained at {scale}. Test images: {first}{tested}. Stages share an image at threshold "
            f"{self.threshold:g} on the tiles' mean uncertainty{shifted} where nothing else is "
            f"said; what is not refined is upsampled {self.upsampling}."
        )
