"""What tables 3 and 4 share: the options of a comparison, its test images, its caption."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from napari_twostage.training.datasets import load_dataset
from napari_twostage.training.infer import Rules
from training.tables.measure import Score, measure
from training.tables.runs import ARCHITECTURES, Run, RunError, Study, require_one_scale

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from napari_twostage.training.datasets import Samples

THRESHOLDS = (1.0, 0.75, 0.5, 0.25, 0.0)
"""The paper's."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How runs are measured: all rows of a table alike."""

    studies: Sequence[Study]
    architectures: Sequence[str] = tuple(ARCHITECTURES)
    threshold: float = 0.25
    upsampling: str = "nearest"
    stray_padding: bool = False
    images: int = 0
    """Test images to measure on, the first ones; 0 for all."""
    timing_images: int = 4
    rounds: int = 3
    device: str = "cpu"
    """What trains and measures Dice; seconds are the CPU's."""
    train: bool = False
    """Train what is missing."""
    _samples: dict[str, Samples] = field(default_factory=dict, init=False)
    _scores: dict[Path, dict[str, Score]] = field(default_factory=dict, init=False)

    def gather(self, study: Study, architecture: str, variants: Iterable[str]) -> dict[str, Run]:
        """The runs that are finished, by variant, and with `train` all of them."""
        runs = {variant: study.find(architecture, variant) for variant in variants}
        if self.train:
            for run in runs.values():
                if not run.finished:
                    run.train(self.device)
        return {variant: run for variant, run in runs.items() if run.finished}

    def rules(self, run: Run) -> Rules:
        """How the stages of a run share an image."""
        return Rules(
            size_px=run.size_px,
            threshold=self.threshold,
            measure=run.config.tiles.uncertainty,
            stray_padding=self.stray_padding,
            upsampling=self.upsampling,
        )

    def open_images(self, run: Run) -> Samples:
        """The test images of a run's data set."""
        study, data = run.study, run.config.data
        if study.name not in self._samples:
            samples = load_dataset(
                data.layout,
                study.data,
                "test",
                seed=data.seed,
                mpp=data.mpp,
                classes=[entry.text for entry in data.classes],
            )
            self._samples[study.name] = samples[: self.images or None]
        return self._samples[study.name]

    def measure(self, run: Run) -> dict[str, Score]:
        """Scores of a finished run at the paper's thresholds and this comparison's."""
        if run.folder not in self._scores:
            thresholds = (*THRESHOLDS, self.threshold)
            self._scores[run.folder] = measure(
                run, self.open_images(run), self.rules(run), thresholds, self.device
            )
        return self._scores[run.folder]

    def describe(self, runs: Sequence[Run]) -> str:
        """What the caption says of runs that stand in one table.

        Raises
        ------
        RunError
            If there is none, or they are of different scales.
        """
        if not runs:
            folders = ", ".join(str(study.runs) for study in self.studies)
            raise RunError(f"expected finished runs in {folders}, found none; add --train")
        scale = "; ".join(f"{key}: {value}" for key, value in require_one_scale(runs).items())
        images = {run.study.name: len(self.open_images(run)) for run in runs}
        tested = ", ".join(f"{name} {count}" for name, count in images.items())
        first = "the first of each, " if self.images else ""
        shifted = ", shifted by the stray padding" if self.stray_padding else ""
        return (
            f"Trained at {scale}. Test images: {first}{tested}. Stages share an image at threshold "
            f"{self.threshold:g} on the tiles' mean uncertainty{shifted} where nothing else is "
            f"said; what is not refined is upsampled {self.upsampling}."
        )
