"""Results of a study: all candidates on one axis of cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from training.frontier.curves import DiceCurve, efficiency, trace_all
from training.frontier.selectors import CHANGE_ORACLE, RANDOM, OracleCurve, label_oracle
from training.frontier.single_models import Point
from training.frontier.trial_results import (
    SELECTORS,
    Single,
    count_costs,
    measure_single,
    measure_two_stages,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from training.frontier.study import Study, Trial
    from training.frontier.tallies import ImageTally


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
    """Efficiency of each selector; see `curves.efficiency`."""
    oracle: OracleCurve
    """Label oracle of the first seed; its costs are in `oracle_cost`."""
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
    singles: list[Point] = field(default_factory=list)
    two_stages: list[TwoStages] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    """Candidates with unfinished runs."""
    trials: dict[str, Trial] = field(default_factory=dict)
    """First trial of each candidate, which is timed."""

    @property
    def dense(self) -> Point:
        """The dense run, whose Dice is the goal."""
        return next(point for point in self.singles if point.name == self.study.dense)


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
    for name, trials in finished.items():
        if trials[0].single:
            point, results.groups = _single(name, study, trials, full)
            results.singles.append(point)
        else:
            results.two_stages.append(_two_stages(name, study, trials, full))
    return results


def _single(name: str, study: Study, trials: list[Trial], full: float) -> tuple[Point, list[str]]:
    seeds = [
        [row for trial in trials if trial.seed == seed for row in measure_single(trial)]
        for seed in range(study.seeds)
    ]
    dice = np.mean([[row.dice for row in rows] for rows in seeds], axis=0)
    pooled = float(np.mean([_pool(rows) for rows in seeds]))
    cost = count_costs(trials[0]).per_px / full
    return Point(name, cost, dice, pooled), [row.group for row in seeds[0]]


def _pool(rows: Sequence[Single]) -> float:
    shared = sum(row.true_positives for row in rows)
    return 2 * shared / max(1, sum(row.predicted + row.truth for row in rows))


def _two_stages(name: str, study: Study, trials: list[Trial], full: float) -> TwoStages:
    costs = count_costs(trials[0])
    seeds: list[list[ImageTally]] = [
        [image for trial in trials if trial.seed == seed for image in measure_two_stages(trial)]
        for seed in range(study.seeds)
    ]
    traced = [trace_all(images, SELECTORS) for images in seeds]
    curves = {
        selector: DiceCurve(
            traced[0][selector].fractions,
            np.mean([curves[selector].dice for curves in traced], axis=0),
            np.mean([curves[selector].refined for curves in traced], axis=0),
            np.mean([curves[selector].pooled for curves in traced], axis=0),
        )
        for selector in traced[0]
    }
    tiles = np.array([len(image.changed) for image in seeds[0]])
    pixels = sum(image.pixels for image in seeds[0])
    per_tile = costs.tile / (pixels * full)
    base = costs.per_px / full
    oracle = label_oracle(seeds[0])
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
            key: efficiency(curves[key], curves[RANDOM], curves[CHANGE_ORACLE]) for key in SELECTORS
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
