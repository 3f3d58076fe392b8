"""Samplers draw with the stated frequencies."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chisquare

from napari_twostage.training.loop.tiles import choose_tiles

SCORES = np.array([0.1, 0.0, 0.4, 0.2, 0.3])
ROUNDS = 6000


def counts(selection: str, count: int = 1, seed: int = 0) -> np.ndarray:
    scores = np.tile(SCORES, (ROUNDS, 1))
    drawn = choose_tiles(scores, selection, count, np.random.default_rng(seed))
    assert drawn.shape == (ROUNDS, count)
    return np.bincount(drawn[:, -1], minlength=len(SCORES))


def test_random_tiles_are_all_drawn_alike() -> None:
    assert chisquare(counts("random")).pvalue > 0.01


def test_weighted_tiles_are_drawn_in_proportion_to_their_score() -> None:
    found, sure = counts("weighted"), SCORES == 0
    assert found[sure] == 0
    assert chisquare(found[~sure], ROUNDS * SCORES[~sure] / SCORES.sum()).pvalue > 0.01
    assert chisquare(found).pvalue < 1e-6, "told from drawing all alike"


def test_the_second_of_two_weighted_tiles_is_drawn_among_those_left() -> None:
    share = SCORES / SCORES.sum()
    expected = np.array(
        [
            sum(share[j] * share[i] / (1 - share[j]) for j in range(5) if j != i and share[j])
            for i in range(5)
        ]
    )
    assert expected.sum() == pytest.approx(1)
    some = SCORES > 0
    assert chisquare(counts("weighted", 2)[some], ROUNDS * expected[some]).pvalue > 0.01


def test_highest_takes_the_highest_each_time() -> None:
    assert counts("highest")[2] == ROUNDS
    drawn = choose_tiles(SCORES[None], "highest", 3, np.random.default_rng(0))
    assert drawn.tolist() == [[2, 4, 3]]


@pytest.mark.parametrize("selection", ["random", "weighted", "highest"])
def test_the_tiles_of_an_image_differ_even_where_nothing_is_unsure(selection: str) -> None:
    drawn = choose_tiles(np.zeros((50, 16)), selection, 16, np.random.default_rng(0))
    assert (np.sort(drawn, axis=1) == np.arange(16)).all()


def test_where_nothing_is_unsure_weighted_tiles_are_all_drawn_alike() -> None:
    drawn = choose_tiles(np.zeros((ROUNDS, 4)), "weighted", 1, np.random.default_rng(0))
    assert chisquare(np.bincount(drawn[:, 0], minlength=4)).pvalue > 0.01
