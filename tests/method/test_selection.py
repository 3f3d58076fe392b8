"""Selections are nested and ordered, and forecast their cost and benefit."""

from __future__ import annotations

import itertools
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_twostage.errors import SelectionError
from napari_twostage.geometry import Box
from napari_twostage.method.ranking import Ranking
from napari_twostage.method.selection import EVERYTHING, NOTHING, Forecast, Plan, Selection
from napari_twostage.method.uncertainty import TileStatistics, tile_statistics

SECONDS = 0.25


def ranking(scores: np.ndarray, gain: float = 0.5) -> Ranking:
    scores = np.asarray(scores, np.float32)
    counts = np.where(np.isnan(scores), np.nan, np.abs(scores)).astype(np.float32)
    return Ranking(TileStatistics(scores, counts + 1, counts, counts), gain)


def planned(
    tiles: Ranking, selection: Selection, refined: np.ndarray, seconds: float | None = SECONDS
) -> Plan:
    return tiles.plan(selection, tiles.select(selection, SECONDS), refined, seconds)


@st.composite
def rankings(draw: st.DrawFn) -> Ranking:
    """Draw scores with ties and unscored tiles."""
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    scores = rng.random((draw(st.integers(1, 8)), draw(st.integers(1, 8)))).round(1)
    scores[rng.random(scores.shape) < draw(st.sampled_from([0, 0.3, 1]))] = np.nan
    return ranking(scores)


CRITERIA = {
    "threshold": (st.floats(0, 2), lambda stricter, looser: stricter >= looser),
    "fraction": (st.floats(0, 1), lambda stricter, looser: stricter <= looser),
    "budget_s": (st.floats(0, 20), lambda stricter, looser: stricter <= looser),
}


@pytest.mark.parametrize("name", CRITERIA)
@given(data=st.data())
def test_selections_nest(name: str, data: st.DataObject) -> None:
    values, is_stricter = CRITERIA[name]
    tiles = data.draw(rankings())
    one, other = data.draw(values), data.draw(values)
    stricter, looser = (one, other) if is_stricter(one, other) else (other, one)
    few = tiles.select(Selection(**{name: stricter}), SECONDS)
    many = tiles.select(Selection(**{name: looser}), SECONDS)
    assert many[: len(few)].tolist() == few.tolist()


@given(rankings(), st.sampled_from([*CRITERIA, None]), st.floats(0, 1), st.integers(0, 99))
def test_a_region_nests_in_a_larger_one(
    tiles: Ranking, name: str | None, value: float, seed: int
) -> None:
    """Holds with a threshold or without criterion; a share or a budget counts within its region."""
    shape = tiles.statistics.score.shape
    larger = np.random.default_rng(seed).random(shape) < 0.7
    smaller = larger & (np.random.default_rng(seed + 1).random(shape) < 0.7)
    selection = Selection(**({name: value} if name else {}))
    inside = tiles.select(selection, SECONDS, smaller)
    assert smaller.ravel()[inside].all()
    if name in ("threshold", None):
        around = tiles.select(selection, SECONDS, larger)
        assert [tile for tile in around if smaller.ravel()[tile]] == inside.tolist()


@given(rankings(), st.floats(0, 2))
def test_a_threshold_selects_exactly_what_scores_above_it(tiles: Ranking, threshold: float) -> None:
    flat = tiles.statistics.score.ravel().astype(np.float64)
    selected = tiles.select(Selection(threshold=threshold), SECONDS)
    assert sorted(selected) == np.flatnonzero(flat > threshold).tolist()


@given(rankings(), st.floats(0, 1), st.floats(0, 20))
def test_shares_and_budgets_are_kept(tiles: Ranking, fraction: float, budget: float) -> None:
    scored = int((~np.isnan(tiles.statistics.score)).sum())
    share = tiles.select(Selection(fraction=fraction), SECONDS)
    assert abs(len(share) - fraction * scored) <= 0.5
    afforded = tiles.select(Selection(budget_s=budget), SECONDS)
    assert len(afforded) * SECONDS <= budget
    assert len(afforded) == scored or (len(afforded) + 1) * SECONDS > budget


@given(rankings())
def test_the_highest_score_comes_first_and_ties_in_reading_order(tiles: Ranking) -> None:
    flat = tiles.statistics.score.ravel()
    for before, after in itertools.pairwise(tiles.order):
        assert (-flat[before], before) < (-flat[after], after)


def test_everything_and_nothing() -> None:
    tiles = ranking([[0.1, np.nan], [0.0, 0.3]])
    assert tiles.select(EVERYTHING, SECONDS).tolist() == [3, 0, 2]
    assert tiles.select(NOTHING, SECONDS).tolist() == []
    assert tiles.select(Selection(), SECONDS).tolist() == [3, 0, 2]


@pytest.mark.parametrize(
    "criteria",
    [
        {"threshold": 0.1, "fraction": 0.1},
        {"fraction": 0.1, "budget_s": 9},
        {"threshold": -0.1},
        {"threshold": 2.5},
        {"fraction": 1.01},
        {"budget_s": -1},
        {"fraction": float("nan")},
    ],
)
def test_contradictions_and_impossible_values_are_one_line(criteria: dict[str, float]) -> None:
    with pytest.raises(SelectionError, match=r"\A[^\n]*found[^\n]*\Z"):
        Selection(region=Box(0, 0, 4, 4), **criteria)


def test_a_plan_counts_only_what_is_left() -> None:
    tiles = ranking([[0.5, 0.4, np.nan], [0.3, 0.2, 0.1]])
    refined = np.array([[True, False, False], [False, False, True]])
    plan = planned(tiles, Selection(threshold=0.25), refined)
    assert plan.tiles == ((0, 1), (1, 0))
    assert plan.n_tiles == 2
    assert plan.selected == 3
    assert plan.fraction == pytest.approx(3 / 5)
    assert plan.estimated_seconds == pytest.approx(2 * SECONDS)
    after = refined | [[False, True, False], [True, False, False]]
    assert plan.expected_dice == tiles.expected_dice(after)
    assert plan.expected_dice_before == tiles.expected_dice(refined) < plan.expected_dice
    assert refined.sum() == 2, "planning changes nothing"


@given(rankings(), st.floats(0, 1), st.floats(0, 1))
def test_more_refinement_never_lowers_the_forecast(
    tiles: Ranking, one: float, other: float
) -> None:
    none = np.zeros(tiles.statistics.score.shape, bool)
    few, many = (planned(tiles, Selection(fraction=share), none) for share in sorted((one, other)))
    assert 0 <= few.expected_dice_before <= few.expected_dice <= many.expected_dice <= 1


@pytest.mark.parametrize("gain", [0.0, 0.4, 1.0])
def test_expected_dice_is_the_mean_over_possible_truths(gain: float) -> None:
    """Draw truths from the probabilities, correct wrong pixels at random, measure Dice."""
    rng = np.random.default_rng(5)
    logits = rng.normal(-0.5, 2, size=(1, 48, 48)).astype(np.float32)
    tiles = Ranking(tile_statistics(logits, 8, "tent"), gain)
    refined = rng.random((6, 6)) < 0.4
    in_refined = np.kron(refined, np.ones((8, 8), bool))
    p, predicted = 1 / (1 + np.exp(-logits[0])), logits[0] > 0

    dice = []
    for _ in range(400):
        truth = rng.random(p.shape) < p
        corrected = in_refined & (rng.random(p.shape) < gain)
        result = np.where(corrected, truth, predicted)
        dice.append(2 * (result & truth).sum() / (result.sum() + truth.sum()))

    assert tiles.expected_dice(refined) == pytest.approx(np.mean(dice), abs=0.003)


def test_where_no_foreground_is_expected_the_result_is_right() -> None:
    statistics = TileStatistics(*(np.zeros((2, 2), np.float32) for _ in range(4)))
    assert Ranking(statistics, 0.5).expected_dice(np.zeros((2, 2), bool)) == 1


# -- the curve ---------------------------------------------------------------------------------

NUMBERS = [field.name for field in fields(Forecast)]


@given(rankings(), st.integers(0, 99), st.sampled_from([None, SECONDS]), st.data())
def test_the_curve_forecasts_what_a_plan_says(
    tiles: Ranking, seed: int, seconds: float | None, data: st.DataObject
) -> None:
    refined = np.random.default_rng(seed).random(tiles.statistics.score.shape) < 0.4
    curve = tiles.curve(refined, seconds)
    known = [float(score) for score in curve.scores]  # a score does not exceed itself
    threshold = data.draw(st.one_of(st.floats(0, 2), st.sampled_from([*known, 0.0])))
    forecast = curve.at(threshold)
    plan = planned(tiles, Selection(threshold=threshold), refined, seconds)
    for name in NUMBERS:
        assert getattr(forecast, name) == pytest.approx(getattr(plan, name), abs=1e-9), name


@given(rankings(), st.integers(0, 99))
def test_the_curve_counts_tile_by_tile(tiles: Ranking, seed: int) -> None:
    refined = np.random.default_rng(seed).random(tiles.statistics.score.shape) < 0.4
    curve = tiles.curve(refined, SECONDS)
    for count in range(len(tiles.order) + 1):
        first = tiles.order[:count]
        after = refined.copy()
        after.ravel()[first] = True
        assert curve.left[count] == after.sum() - refined.sum()
        assert curve.dice[count] == pytest.approx(tiles.expected_dice(after), abs=1e-9)
        assert curve.seconds[count] == pytest.approx(curve.left[count] * SECONDS)
    assert len(curve.left) == len(curve.dice) == len(curve.scores) + 1
    assert tiles.curve(refined, None).seconds is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(40.2, " · about 40 s"), (190, " · about 3 min"), (5400, " · about 1.5 h"), (None, "")],
)
def test_a_forecast_as_text(seconds: float | None, text: str) -> None:
    forecast = Forecast(1240, 1300, 0.031, seconds, 0.94, 0.912)
    expected = f"1,240 tiles · 3.1 % of tissue{text} · expected Dice 0.91 → 0.94"
    assert forecast.describe() == expected


@given(rankings(), st.integers(0, 70), st.integers(0, 99))
def test_a_number_of_tiles_counts_only_unrefined_ones(
    tiles: Ranking, count: int, seed: int
) -> None:
    refined = np.random.default_rng(seed).random(tiles.statistics.score.shape) < 0.4
    left = [tile for tile in tiles.order if not refined.ravel()[tile]]
    chosen = tiles.select(Selection(n_tiles=count), refined=refined)
    assert chosen.tolist() == left[:count]


def test_a_time_budget_needs_a_speed() -> None:
    with pytest.raises(SelectionError, match="measure"):
        ranking([[0.5]]).select(Selection(budget_s=3))
