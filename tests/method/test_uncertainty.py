"""Probabilities, uncertainty and statistics of tiles, computed from logits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_twostage.method.uncertainty import (
    MEASURES,
    TileStatistics,
    entropy,
    expected_wrong_px,
    labels,
    neg_plogp,
    pixel_statistics,
    probabilities,
    tent,
    tile_statistics,
)

NAMES = ("score", "true_positives", "false_positives", "false_negatives")


def pixel(*probability: float) -> np.ndarray:
    return np.array(probability)[:, None, None]


def random_logits(channels: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(scale=3, size=(channels, height, width)).astype(np.float16)


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_probabilities_sum_to_one_and_agree_with_the_labels(channels: int) -> None:
    logits = random_logits(channels, 20, 30)
    probability = probabilities(logits)
    assert probability.shape == (max(2, channels), 20, 30)
    assert probability.dtype == np.float32
    np.testing.assert_allclose(probability.sum(axis=0), 1, atol=1e-6)
    np.testing.assert_array_equal(probability.argmax(axis=0), labels(logits))


def test_one_logit_means_the_same_as_a_background_of_zero() -> None:
    one = random_logits(1, 9, 9)
    two = np.concatenate([np.zeros_like(one), one])
    np.testing.assert_allclose(probabilities(one), probabilities(two), atol=1e-6)
    np.testing.assert_array_equal(labels(one), labels(two))


def test_every_half_has_the_label_of_the_same_single() -> None:
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)[None, None]
    found = labels(halves)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, labels(halves.astype(np.float32)))
    assert found.sum() == int(np.array(np.inf, np.float16).view(np.int16))


def test_extreme_logits_neither_overflow_nor_become_nan() -> None:
    for logits in (np.array([[[-500.0, 500.0]]]), np.array([[[-500.0]], [[500.0]], [[0.0]]])):
        probability = probabilities(logits)
        for measure in MEASURES.values():
            assert (measure(probability) == 0).all()


@pytest.mark.parametrize(("p", "expected"), [(0, 0), (0.25, 0.5), (0.5, 1), (0.9, 0.2), (1, 0)])
def test_tent_of_two_classes(p: float, expected: float) -> None:
    assert tent(pixel(1 - p, p)) == pytest.approx(expected, abs=1e-6)
    assert expected == pytest.approx(1 - 2 * abs(p - 0.5))


@pytest.mark.parametrize(
    ("p", "bits"), [(0, 0), (0.25, 0.811278), (0.5, 1), (0.9, 0.468996), (1, 0)]
)
def test_entropy_of_two_classes(p: float, bits: float) -> None:
    assert entropy(pixel(1 - p, p)) == pytest.approx(bits, abs=1e-5)


@pytest.mark.parametrize(
    ("p", "expected"), [(0, 0), (0.25, 0.5), (1 / np.e, 0.530738), (0.5, 0.5), (1, 0)]
)
def test_neg_plogp_is_the_papers(p: float, expected: float) -> None:
    assert neg_plogp(pixel(1 - p, p)) == pytest.approx(expected, abs=1e-5)


def test_measures_of_three_classes() -> None:
    even, two_of_three = pixel(1 / 3, 1 / 3, 1 / 3), pixel(0.5, 0.5, 0)
    assert entropy(even) == pytest.approx(1, abs=1e-6)
    assert entropy(two_of_three) == pytest.approx(1 / np.log2(3), abs=1e-6)
    assert tent(even) == pytest.approx(4 / 3, abs=1e-6)
    assert tent(two_of_three) == pytest.approx(1, abs=1e-6)
    # all that is not background counts as the foreground
    assert neg_plogp(pixel(0.5, 0.3, 0.2)) == pytest.approx(0.5, abs=1e-6)


@given(
    channels=st.sampled_from([1, 2, 3]),
    height=st.integers(1, 23),
    width=st.integers(1, 23),
    tile=st.integers(2, 9),
    name=st.sampled_from(sorted(MEASURES)),
)
def test_statistics_are_those_of_each_tile_alone(
    channels: int, height: int, width: int, tile: int, name: str
) -> None:
    logits = random_logits(channels, height, width)
    found = tile_statistics(logits, tile, name)
    for row in range(-(-height // tile)):
        for column in range(-(-width // tile)):
            rows = slice(row * tile, (row + 1) * tile)
            part = logits[:, rows, column * tile : (column + 1) * tile]
            expected = by_hand(part, name)
            for key, value in zip(NAMES, expected, strict=True):
                assert getattr(found, key)[row, column] == pytest.approx(value, abs=1e-3)


def by_hand(logits: np.ndarray, name: str) -> tuple[float, float, float, float]:
    """Score, true positives, false positives and false negatives, pixel by pixel."""
    probability = probabilities(logits).astype(np.float64)
    true_positives = false_positives = false_negatives = 0.0
    predicted = labels(logits)
    for place in np.ndindex(predicted.shape):
        p, label = probability[:, *place], predicted[place]
        if label:
            true_positives += p[label]
            false_positives += 1 - p[label]
        false_negatives += p[1:].sum() - (p[label] if label else 0)
    score = MEASURES[name](probability).mean()
    return float(score), true_positives, false_positives, false_negatives


@pytest.mark.parametrize("name", sorted(MEASURES))
def test_float16_logits_are_looked_up_to_the_computed_values(name: str) -> None:
    logits = random_logits(1, 40, 30)
    logits[0, :3] = np.array([[np.nan], [0.0], [-16.0]])
    np.testing.assert_array_equal(
        pixel_statistics(logits[:, ::2], name),
        pixel_statistics(logits[:, ::2].astype(np.float32), name),
    )


def test_a_tile_without_logits_has_no_statistics() -> None:
    logits = random_logits(2, 8, 12)
    logits[:, 4:, 4:8] = np.nan
    found = tile_statistics(logits, 4, "tent")
    for name in NAMES:
        unknown = np.isnan(getattr(found, name))
        assert unknown.tolist() == [[False, False, False], [False, True, False]], name


def test_statistics_of_parts_make_those_of_the_whole() -> None:
    logits = random_logits(1, 16, 24)
    whole = tile_statistics(logits, 4, "entropy")
    pieced = TileStatistics.empty(whole.score.shape)
    assert np.isnan(pieced.score).all()
    for row in range(0, 16, 8):
        for column in range(0, 24, 8):
            part = logits[:, row : row + 8, column : column + 8]
            pieced.put(tile_statistics(part, 4, "entropy"), row // 4, column // 4)
    for name in NAMES:
        np.testing.assert_array_equal(getattr(pieced, name), getattr(whole, name))


def test_the_gain_is_the_score_where_stage_1_gives_it() -> None:
    logits, gain = random_logits(3, 8, 12), random_logits(1, 8, 12, seed=1)[0]
    logits[:, 4:, 4:8] = np.nan
    by_gain, by_tent = (tile_statistics(logits, 4, name, gain) for name in ("gain", "tent"))
    expected = 1 / (1 + np.exp(-gain.astype(np.float64)))
    for row, column in np.ndindex(2, 3):
        part = expected[4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
        score = by_gain.score[row, column]
        assert np.isnan(score) if (row, column) == (1, 1) else score == pytest.approx(part.mean())
    for name in NAMES[1:]:
        np.testing.assert_array_equal(getattr(by_gain, name), getattr(by_tent, name))
    assert expected_wrong_px("gain", 0.01, 100) == pytest.approx(100)
    with pytest.raises(ValueError, match="none is given"):
        tile_statistics(logits, 4, "gain")


def test_a_mean_tent_states_the_pixels_expected_wrong() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (1, 32, 32))
    found = tile_statistics(logits, 32, "tent")
    wrong = float(found.false_negatives[0, 0] + found.false_positives[0, 0])
    assert expected_wrong_px("tent", float(found.score[0, 0]), 32) == pytest.approx(wrong, rel=1e-5)
    # with true probabilities, the expectation is what happens
    truth = rng.random((32, 32)) < 1 / (1 + np.exp(-logits[0]))
    assert (truth != (logits[0] > 0)).sum() == pytest.approx(wrong, abs=4 * np.sqrt(wrong))
    assert expected_wrong_px("entropy", 0.5, 32) is None
