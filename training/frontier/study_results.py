"""Results of a study: all candidates on one axis of cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_twostage.training.evaluation.metrics import resample_weights
from training.frontier.curves import DiceCurve, average_seeds, efficiency, trace_all
from training.frontier.scores import ImageCounts, stack_seeds
from training.frontier.selectors import CHANGE_ORACLE, RANDOM, OracleCurve, label_oracle
from training.frontier.single_models import Point
from training.frontier.tallies import sum_tiles
from training.frontier.trial_results import (
    SELECTORS,
    count_costs,
    measure_single,
    measure_two_stages,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from training.frontier.study import Study, Trial
    from training.frontier.tallies import ImageTally

SPARSITY_PX = 128
"""Side of the tiles that tell how sparse a set is."""


@dataclass(frozen=True)
class TwoStages:
    """A two-stage candidate under every selector, averaged over seeds."""

    name: str
    cost: dict[str, NDArray[np.floating]]
    """Selector to (p,) share of the dense run's cost along its curve."""
    curves: dict[str, DiceCurve]
    thresholds: NDArray[np.floating]
    """(p,) thresholds of the study's selector at these shares of the first seed's tiles."""
    efficiency: dict[str, float]
    """Efficiency of each selector by the study's average; see `curves.efficiency`."""
    oracle: OracleCurve
    """Label oracle of the first seed, by the study's average; its costs are in `oracle_cost`."""
    oracle_cost: NDArray[np.floating]
    predicted: Predicted


class Predicted(NamedTuple):
    """Error of the engine's expected Dice, for stage 1 alone."""

    error: float
    """Mean absolute difference over images."""
    bias: float
    """Mean of expected − true Dice."""


@dataclass
class StudyResults:
    """Measured candidates of a study."""

    study: Study
    groups: list[str] = field(default_factory=list)
    """Group of each test image."""
    tiles_with_foreground: float = 0.0
    """Share of the test images' tiles of `SPARSITY_PX` that hold foreground."""
    singles: list[Point] = field(default_factory=list)
    two_stages: list[TwoStages] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    """Candidates with unfinished runs."""
    trials: dict[str, Trial] = field(default_factory=dict)
    """First trial of each candidate, which is timed."""

    @property
    def dense(self) -> Point:
        """The dense run, whose Dice is the goal."""
        return self._named(self.study.dense)

    @property
    def half(self) -> Point | None:
        """The single model at half the resolution, if the study names one that is trained."""
        trained = self.study.half in {point.name for point in self.singles}
        return self._named(self.study.half) if trained else None

    @cached_property
    def weights(self) -> NDArray[np.float64]:
        """(rounds, images) how often each image counts in each round of the bootstrap."""
        return resample_weights(self.groups, 0)

    def _named(self, name: str) -> Point:
        return next(point for point in self.singles if point.name == name)


def collect(study: Study, data: Path, runs: Path) -> StudyResults:
    """Measure all candidates whose runs are finished, or read cached measurements."""
    results = StudyResults(study)
    finished: dict[str, list[Trial]] = {}
    for candidate in study.candidates:
        trials = list(study.trials(candidate, data, runs))
        if all(trial.finished for trial in trials):
            finished[candidate.name] = trials
            results.trials[candidate.name] = trials[0]
        else:
            results.missing.append(candidate.name)
    if study.dense not in finished:
        return results
    full = count_costs(finished[study.dense][0]).per_px
    results.tiles_with_foreground = _sparsity(finished[study.dense])
    for name, trials in finished.items():
        if trials[0].single:
            point, results.groups = _single(name, study, trials, full)
            results.singles.append(point)
        else:
            results.two_stages.append(_two_stages(name, study, trials, full))
    return results


def _sparsity(trials: list[Trial]) -> float:
    """Share of tiles with foreground in the test images of one seed."""
    held = [
        sum_tiles(sample.mask > 0, SPARSITY_PX) > 0
        for trial in trials
        if trial.seed == 0
        for sample in trial.open_test()[0]
    ]
    return float(np.concatenate(held).mean())


def _single(name: str, study: Study, trials: list[Trial], full: float) -> tuple[Point, list[str]]:
    seeds = [
        [row for trial in trials if trial.seed == seed for row in measure_single(trial)]
        for seed in range(study.seeds)
    ]
    counted = [
        ImageCounts(
            *(
                np.array([getattr(row, part) for row in rows], float)
                for part in ("true_positives", "predicted", "truth", "pixels")
            )
        )
        for rows in seeds
    ]
    cost = count_costs(trials[0]).per_px / full
    return Point(name, cost, stack_seeds(counted)), [row.group for row in seeds[0]]


def _two_stages(name: str, study: Study, trials: list[Trial], full: float) -> TwoStages:
    costs = count_costs(trials[0])
    seeds: list[list[ImageTally]] = [
        [image for trial in trials if trial.seed == seed for image in measure_two_stages(trial)]
        for seed in range(study.seeds)
    ]
    selectors = [name for name in SELECTORS if name in seeds[0][0].scores]
    traced = [trace_all(images, selectors) for images in seeds]
    curves = {
        selector: average_seeds([each[selector] for each in traced]) for selector in traced[0]
    }
    tiles = np.array([len(image.changed) for image in seeds[0]])
    pixels = sum(image.pixels for image in seeds[0])
    per_tile = costs.tile / (pixels * full)
    base = costs.per_px / full
    oracle = label_oracle(seeds[0], study.average)
    errors = np.array(
        [
            image.expected[0] - image.dice(np.zeros(len(image.changed), bool))
            for images in seeds
            for image in images
        ]
    )
    return TwoStages(
        name=name,
        cost={key: base + per_tile * (curve.refined @ tiles) for key, curve in curves.items()},
        curves=curves,
        thresholds=_thresholds(seeds[0], study.selector, curves[study.selector].fractions),
        efficiency={
            key: efficiency(curves[key], curves[RANDOM], curves[CHANGE_ORACLE], study.average)
            for key in selectors
        },
        oracle=oracle,
        oracle_cost=base + per_tile * oracle.tiles,
        predicted=Predicted(float(np.abs(errors).mean()), float(errors.mean())),
    )


def _thresholds(
    images: list[ImageTally], selector: str, fractions: NDArray[np.floating]
) -> NDArray[np.floating]:
    """Thresholds between sorted scores: no tile exceeds the first, all exceed the last."""
    falling = -np.sort(-np.concatenate([image.scores[selector] for image in images]))
    edges = np.concatenate([[falling[0] + 1], (falling[:-1] + falling[1:]) / 2, [falling[-1] - 1]])
    return np.asarray(edges[np.rint(fractions * len(falling)).astype(int)])
