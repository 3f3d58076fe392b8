"""Features of windows, the comparison with training images, and what follows for the Dice."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.method.domains import RULE, make_domain, make_kind

from napari_twostage.method.dice_predictor import DicePredictor
from napari_twostage.method.domain import (
    LIKE,
    DomainCheck,
    check_domain,
    quality_distance,
    trait_distances,
)
from napari_twostage.method.features import logit, window_features
from napari_twostage.method.sample_windows import pick_windows
from napari_twostage.models.training_domain import FEATURES, TRAITS

BRIGHT = np.ones(5, bool)


def disks(radius: float, side: int = 96, step: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Dark, reddish disks on a light ground, and logits that find them."""
    y, x = np.mgrid[:side, :side] % step - step / 2
    inside = y**2 + x**2 <= radius**2
    pixels = np.where(inside[..., None], (60, 40, 90), (220, 215, 225)).astype(np.uint8)
    return pixels, np.where(inside, 3.0, -5.0).astype(np.float32)[None]


def features(pixels: np.ndarray, logits: np.ndarray, mpp: float = 1.0) -> dict[str, float]:
    """Features by name."""
    found = window_features(pixels, logits, (mpp, mpp))
    assert found is not None
    return dict(zip(FEATURES, found.tolist(), strict=True))


@pytest.mark.parametrize("radius", [4, 6, 9])
def test_the_diameter_is_that_of_the_objects_in_micrometres(radius: int) -> None:
    found = features(*disks(radius), mpp=0.5)
    assert math.exp(found["object_diameter"]) == pytest.approx(2 * radius * 0.5, rel=0.1)


def test_confidence_is_that_of_the_logits() -> None:
    found = features(*disks(8))
    assert found["object_logit"] == pytest.approx(3, abs=1e-3)
    assert found["background_logit"] == pytest.approx(-5, abs=1e-2)
    p, q = 1 / (1 + math.exp(-3)), 1 / (1 + math.exp(5))
    inside = float((disks(8)[1] > 0).mean())
    expected = 2 * p * inside / (2 * p * inside + (1 - p) * inside + q * (1 - inside))
    assert found["expected_dice"] == pytest.approx(float(logit(expected)), abs=1e-3)


def test_stain_does_not_depend_on_how_bright_the_lamp_is() -> None:
    pixels, logits = disks(8)
    dim = np.rint(pixels * 0.7).astype(np.uint8)
    one, other = features(pixels, logits), features(dim, logits)
    for name in TRAITS["stain"]:
        assert one[name] == pytest.approx(other[name], abs=0.03)
    assert one["object_green"] > one["object_blue"] > 0.5


def test_a_blurred_picture_is_less_sharp() -> None:
    pixels, logits = disks(8)
    wide = (pixels.astype(float) + np.roll(pixels, 2, 0) + np.roll(pixels, 2, 1)) / 3
    assert (
        features(wide.astype(np.uint8), logits)["sharpness"] < features(pixels, logits)["sharpness"]
    )


@pytest.mark.parametrize("value", [-3.0, 3.0])
def test_windows_of_one_class_have_no_features(value: float) -> None:
    pixels = np.full((20, 20, 3), 128, np.uint8)
    assert window_features(pixels, np.full((1, 20, 20), value, np.float32), (1, 1)) is None


def test_several_classes_are_one_foreground() -> None:
    pixels, logits = disks(8)
    split = np.concatenate([np.zeros_like(logits), logits, logits - 9])
    one, other = features(pixels, logits), features(pixels, split)
    assert other["object_diameter"] == one["object_diameter"]
    assert other["object_logit"] == pytest.approx(one["object_logit"], abs=0.01)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_windows_hold_tissue_and_are_the_same_each_time(
    rows: int, columns: int, aside: int, seed: int
) -> None:
    tissue = np.random.default_rng(seed).random((rows, columns)) < 0.3
    windows = pick_windows(tissue, aside)
    assert windows == pick_windows(tissue, aside) == sorted(set(windows))
    assert len(windows) <= 5
    assert bool(windows) == bool(tissue.any())
    for row, column in windows:
        block = tissue[row * aside : (row + 1) * aside, column * aside : (column + 1) * aside]
        assert block.any()


def test_a_slide_at_the_mean_is_like_the_training_images() -> None:
    check = check_domain(make_domain(), np.zeros((5, 12)), BRIGHT, "nucleus")
    assert check.text == LIKE
    assert not check.unlike
    assert check.windows == 5
    assert check.distance == pytest.approx((1.0 - 0.5) / 0.5)  # quality less intercept


@pytest.mark.parametrize(
    ("trait", "shift", "bright", "reason"),
    [
        ("stain", 2.5, True, "stain"),
        ("stain", 2.5, False, "brightness"),
        ("sharpness", -2.5, True, "blurred"),
        ("object size", -2.5, True, "nucleus diameter 0.082 times as large: check the pixel size"),
        ("object size", 2.5, True, "nucleus diameter 12 times as large: check the pixel size"),
        ("confidence", 2.5, True, "confidence"),
    ],
)
def test_a_trait_beyond_its_limit_is_named(
    trait: str, shift: float, bright: bool, reason: str
) -> None:
    mean = np.zeros(12)
    mean[[FEATURES.index(name) for name in TRAITS[trait]]] = shift
    check = check_domain(make_domain(), np.tile(mean, (3, 1)), np.full(3, bright), "nucleus")
    assert len(check.unlike) == 1
    assert reason in check.text
    within = check_domain(make_domain(limit=2.6), mean[None], np.full(3, bright), "nucleus")
    assert not within.unlike


def test_sharper_pictures_are_no_worse() -> None:
    sharp = np.zeros(12)
    sharp[FEATURES.index("sharpness")] = 9
    assert not trait_distances(sharp, make_kind()).any()
    assert sharp[FEATURES.index("sharpness")] == 9, "the features are left as they are"


def test_a_kind_that_was_not_trained_on_is_unlike() -> None:
    check = check_domain(make_domain(dark=False), np.zeros((2, 12)), ~BRIGHT, "nucleus")
    assert check.unlike == ("dark field, and they are bright field",)
    assert check.distance is None


def test_a_slide_without_objects_is_not_compared() -> None:
    check = check_domain(make_domain(), np.zeros((0, 12)), BRIGHT, "nucleus")
    assert check.unlike == ("no nucleus in 5 windows",)
    assert check.windows == 0


def test_a_check_is_read_as_it_was_written() -> None:
    for count in (0, 2):
        check = check_domain(make_domain(), np.full((count, 12), 3.0), BRIGHT, "nucleus")
        assert DomainCheck.from_dict(check.as_dict()) == check


@pytest.mark.parametrize(
    ("name", "value"),
    [("features", [1.0]), ("features", [math.nan] * 12), ("distance", math.inf)],
)
def test_a_check_of_other_numbers_is_refused(name: str, value: object) -> None:
    values = check_domain(make_domain(), np.zeros((1, 12)), BRIGHT, "nucleus").as_dict()
    with pytest.raises(ValueError, match="12 finite features"):
        DomainCheck.from_dict({**values, name: value})


def test_the_distance_grows_as_the_predicted_dice_falls() -> None:
    worse, better = np.zeros(12), np.zeros(12)
    worse[0], better[0] = -1, 1
    kind = make_kind()
    assert quality_distance(RULE, worse, kind) > quality_distance(RULE, better, kind)


@given(st.floats(0, 1), st.floats(0, 1))
def test_predictions_rise_with_what_is_expected_and_lie_in_their_interval(
    one: float, other: float
) -> None:
    predictor = DicePredictor.of(RULE, [0.0, -6, 2, -1, *[0.0] * 8])
    low, high = sorted((one, other))
    assert predictor.predict(low) <= predictor.predict(high)
    predicted = float(predictor.predict(one))
    bottom, top = predictor.interval(predicted)
    assert 0 < bottom < predicted + 1e-9
    assert top < 1
    assert bottom < top


def test_the_expected_dice_of_the_slide_takes_the_place_of_that_of_its_windows() -> None:
    features = [float(logit(0.7)), -6.0, 2.0, -1.0, *[0.0] * 8]
    predictor = DicePredictor.of(RULE, features)
    odds = 0.5 + 0.8 * float(logit(0.9)) + 0.1 * 2.0
    assert float(predictor.predict(0.9)) == pytest.approx(1 / (1 + math.exp(-odds)))
    many = predictor.predict(np.array([0.7, 0.9]))
    assert many.shape == (2,)
    assert many[1] == predictor.predict(0.9)
