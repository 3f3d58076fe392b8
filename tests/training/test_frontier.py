"""The frontier's arithmetic: tallies, oracles and curves against brute force."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from training.frontier.curves import cheapest, efficiency, oracle_at, trace, trace_all
from training.frontier.selectors import (
    CHANGE_ORACLE,
    best_sets,
    label_oracle,
    rank_by,
    rank_randomly,
)
from training.frontier.tallies import ImageTally, sum_tiles, tally
from training.metrics import dice

TILE = 8


def planes(seed: int, shape: tuple[int, int] = (20, 24)) -> tuple[np.ndarray, ...]:
    """Truth, a poor segmentation of it and a better one."""
    rng = np.random.default_rng(seed)
    truth = (rng.random(shape) < 0.4).astype(np.uint8)
    poor = np.where(rng.random(shape) < 0.3, 1 - truth, truth).astype(np.uint8)
    better = np.where(rng.random(shape) < 0.1, 1 - truth, truth).astype(np.uint8)
    return truth, poor, better


def make_tally(seed: int) -> ImageTally:
    truth, poor, better = planes(seed)
    coarse, refined, changed = tally(poor, better, truth, TILE)
    rng = np.random.default_rng(seed)
    scores = {"noisy": changed + rng.normal(0, 2, len(changed))}
    return ImageTally(
        name=str(seed),
        group=str(seed),
        shape=(3, 3),
        pixels=truth.size,
        truth=int(truth.sum()),
        coarse=coarse,
        refined=refined,
        changed=changed,
        scores=scores,
    )


def test_dice_of_a_selection_is_that_of_the_labels_it_makes() -> None:
    truth, poor, better = planes(3)
    image = make_tally(3)
    chosen = np.array([1, 0, 0, 1, 1, 0, 0, 0, 1], bool)
    where = np.kron(chosen.reshape(3, 3), np.ones((TILE, TILE), bool))[:20, :24]
    assert image.dice(chosen) == pytest.approx(dice(np.where(where, better, poor), truth))


def test_tiles_of_the_edge_are_summed_too() -> None:
    ones = np.ones((20, 24), np.uint8)
    assert sum_tiles(ones, TILE).tolist() == [64] * 6 + [32] * 3


@pytest.mark.parametrize("seed", range(6))
def test_best_sets_are_the_best_of_all_sets(seed: int) -> None:
    image = make_tally(seed)
    found = best_sets(image)
    for count in range(len(image.changed) + 1):
        sets = (s for k in range(count + 1) for s in combinations(range(9), k))
        best = max(image.dice(np.isin(np.arange(9), chosen)) for chosen in sets)
        assert found[count] == pytest.approx(best)


def test_no_selector_is_above_the_label_oracle() -> None:
    images = [make_tally(seed) for seed in range(12)]
    oracle, total = label_oracle(images), 12 * 9
    for ranking in (
        rank_by(images, CHANGE_ORACLE),
        rank_by(images, "noisy"),
        *(rank_randomly(images, seed) for seed in range(5)),
    ):
        curve = trace(images, ranking)
        # between its corners the oracle is drawn as the straight line that mixing them reaches
        bounds = [oracle_at(oracle, total, fraction) for fraction in curve.fractions]
        assert np.all(curve.mean <= np.array(bounds) + 1e-12)


def test_curves_run_from_stage_1_to_everything_refined() -> None:
    images = [make_tally(seed) for seed in range(5)]
    nothing, everything = np.zeros(9, bool), np.ones(9, bool)
    for curve in trace_all(images, ["noisy"]).values():
        assert curve.mean[0] == pytest.approx(np.mean([i.dice(nothing) for i in images]))
        assert curve.mean[-1] == pytest.approx(np.mean([i.dice(everything) for i in images]))
        assert np.allclose(curve.refined[-1], 1)
        assert np.allclose(curve.refined.mean(axis=1), curve.fractions, atol=0.5 / 45 + 1e-9)


def test_efficiency_is_one_for_the_oracle_and_lower_for_noise() -> None:
    images = [make_tally(seed) for seed in range(30)]
    curves = trace_all(images, ["noisy"])
    best, chance = curves[CHANGE_ORACLE], curves["random"]
    assert efficiency(best, chance, best) == pytest.approx(1)
    assert efficiency(chance, chance, best) == pytest.approx(0)
    assert 0.2 < efficiency(curves["noisy"], chance, best) < 1


def test_the_cheapest_point_lies_between_the_points_measured() -> None:
    cost, values = np.array([0.1, 0.2, 0.4]), np.array([0.80, 0.86, 0.90])
    assert cheapest(cost, values, 0.88) == pytest.approx(0.3)
    assert cheapest(cost, values, 0.5) == pytest.approx(0.1)
    assert np.isnan(cheapest(cost, values, 0.95))
