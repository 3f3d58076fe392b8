"""Part of a model card: features of the training images, and the Dice that follows from them.

`method.features` computes the features of a window, `method.domain` compares those of a slide
with this part.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

from napari_twostage.errors import ModelError
from napari_twostage.utils.values import fits, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

TRAITS: dict[str, tuple[str, ...]] = {
    "confidence": ("expected_dice", "background_logit", "object_logit", "outline_share"),
    "stain": (
        "object_red",
        "object_green",
        "object_blue",
        "background_red",
        "background_green",
        "background_blue",
    ),
    "sharpness": ("sharpness",),
    "object size": ("object_diameter",),
}
"""Features that are judged together, by trait; `FEATURES` are all of them, in this order."""
FEATURES: tuple[str, ...] = tuple(name for names in TRAITS.values() for name in names)
CONFIDENCE = slice(0, len(TRAITS["confidence"]))
"""Features that the Dice is predicted from."""
LARGEST = 1e3
"""Largest absolute value of a mean, a limit, a weight or an error."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageKind:
    """Training images of one kind: bright field, or dark field."""

    images: int
    groups: int
    """Slides, patients or sources that the images come from."""
    mean: tuple[float, ...]
    """Mean of each of `FEATURES`."""
    spread: tuple[float, ...]
    """Standard deviation of each of `FEATURES`, above 0."""
    limits: tuple[float, ...]
    """Distance of each of `TRAITS` that 19 of 20 training images do not exceed."""
    quality: tuple[float, float]
    """Mean and standard deviation of the predicted Dice's logit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DiceRule:
    """Prediction of the Dice from the confidence of stage 1, fitted on images with a truth.

    The Dice's logit is the sum of `intercept` and the confidence features times `weights`.
    """

    intercept: float
    weights: tuple[float, ...]
    errors: tuple[float, float]
    """Smallest and largest error of the logit on slides left out of the fit, but for a share of
    1 - `coverage`."""
    coverage: float
    """Share of the slides left out whose Dice lies in the interval, in (0, 1)."""
    groups: int
    """Slides left out in turn."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingDomain:
    """Features of the training images, and the Dice that follows from them.

    Raises
    ------
    ModelError
        If a value is of another type, there are too few or too many, or one is out of range.
    """

    features: tuple[str, ...] = FEATURES
    """Names of the features, for readers of the file."""
    bright_field: ImageKind | None = None
    """None if no training image is bright field."""
    dark_field: ImageKind | None = None
    dice: DiceRule

    def __post_init__(self) -> None:
        if self.features != FEATURES:
            raise ModelError(
                f"its features are {shown(self.features)}, expected {shown(FEATURES)}; update "
                "napari-twostage, or run 'napari-twostage calibrate' again"
            )
        for kind in (self.bright_field, self.dark_field):
            if kind is not None:
                _check_kind(kind)
        _check_dice(self.dice)

    def of(self, *, bright_field: bool) -> ImageKind | None:
        """Training images of a kind; None if there are none."""
        return self.bright_field if bright_field else self.dark_field

    def as_dict(self) -> dict[str, Any]:
        """JSON-able values by name, without kinds that there are not."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read the values of `as_dict`.

        Raises
        ------
        ModelError
            If one breaks a rule.
        TypeError, KeyError, AttributeError
            If they are laid out otherwise.
        """
        known = dict(values)
        known["features"] = tuple(known["features"])
        known["dice"] = DiceRule(**_with_tuples(known["dice"]))
        for name in ("bright_field", "dark_field"):
            if known.get(name) is not None:
                known[name] = ImageKind(**_with_tuples(known[name]))
        return cls(**known)


def _with_tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }


def _check_kind(kind: ImageKind) -> None:
    _require(_are_counts(kind.images, kind.groups), "images and groups are whole, 1 or more", kind)
    _require(_are_numbers(kind.mean, len(FEATURES)), f"there are {len(FEATURES)} means", kind.mean)
    spread = _are_numbers(kind.spread, len(FEATURES)) and min(kind.spread) > 0
    _require(spread, f"there are {len(FEATURES)} spreads above 0", kind.spread)
    limits = _are_numbers(kind.limits, len(TRAITS)) and min(kind.limits) > 0
    _require(limits, f"there are {len(TRAITS)} limits above 0", kind.limits)
    quality = _are_numbers(kind.quality, 2) and kind.quality[1] > 0
    _require(quality, "quality is a mean and a deviation above 0", kind.quality)


def _check_dice(rule: DiceRule) -> None:
    weights = _are_numbers((rule.intercept, *rule.weights), 1 + len(TRAITS["confidence"]))
    _require(weights, "dice has an intercept, and a weight for each confidence feature", rule)
    _require(rule.weights[0] >= 0, "predicted Dice does not fall as the expected one rises", rule)
    errors = _are_numbers(rule.errors, 2) and rule.errors[0] <= rule.errors[1]
    _require(errors, "errors are two numbers, the smaller one first", rule.errors)
    coverage = _are_numbers((rule.coverage,), 1) and 0 < rule.coverage < 1
    _require(coverage, "coverage is between 0 and 1", rule.coverage)
    _require(_are_counts(rule.groups), "groups are whole, 1 or more", rule.groups)


def _are_numbers(values: object, count: int) -> bool:
    """Whether these are so many finite numbers of at most `LARGEST`."""
    if not fits(values, tuple[float, ...]) or len(values) != count:  # type: ignore[arg-type]
        return False
    return all(abs(one) <= LARGEST for one in values)  # type: ignore[attr-defined]


def _are_counts(*values: object) -> bool:
    return all(type(one) is int and 1 <= one <= 1 << 40 for one in values)


def _require(holds: bool, rule: str, found: object) -> None:
    if not holds:
        raise ModelError(f"domain: {rule}; found {shown(found)}; get the model again")
