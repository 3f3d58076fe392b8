"""Domain check: whether a slide looks like the images that its model was trained on.

A few coarse windows are enough. Their features are compared with those of the training images, and
say how far the expected Dice can be trusted.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from napari_twostage.models.training_domain import CONFIDENCE, FEATURES, TRAITS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from napari_twostage.models.training_domain import DiceRule, ImageKind, TrainingDomain

LIKE = "looks like the training images"
_COLUMN = {name: place for place, name in enumerate(FEATURES)}


@dataclass(frozen=True, kw_only=True, slots=True)
class DomainCheck:
    """Result of comparing a slide with the training images."""

    bright_field: bool
    windows: int
    """Coarse windows with objects that were looked at; 0 if none had any."""
    features: tuple[float, ...]
    """Mean of each of `FEATURES` over these windows; empty if there are none."""
    distance: float | None
    """Standard deviations by which the Dice that its features predict lies below that of the
    training images; negative above. None without objects, or training images of its kind."""
    unlike: tuple[str, ...]
    """Reasons why the slide is unlike the training images; empty if it is like them."""

    @property
    def text(self) -> str:
        """One line: ``unlike the training images: stain``."""
        return f"unlike the training images: {'; '.join(self.unlike)}" if self.unlike else LIKE

    def as_dict(self) -> dict[str, Any]:
        """JSON-able values by name."""
        values = asdict(self)
        return {**values, "features": list(self.features), "unlike": list(self.unlike)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read the values of `as_dict`.

        Raises
        ------
        TypeError, KeyError, ValueError
            If they are laid out otherwise, or not finite.
        """
        features = tuple(map(float, values["features"]))
        distance = None if values["distance"] is None else float(values["distance"])
        numbers = [*features, 0.0 if distance is None else distance]
        if len(features) not in (0, len(FEATURES)) or not all(map(math.isfinite, numbers)):
            raise ValueError(f"expected {len(FEATURES)} finite features, or none")
        return cls(
            bright_field=bool(values["bright_field"]),
            windows=int(values["windows"]),
            features=features,
            distance=distance,
            unlike=tuple(map(str, values["unlike"])),
        )


def check_domain(
    domain: TrainingDomain, features: NDArray[np.float64], bright: NDArray[np.bool_], name: str
) -> DomainCheck:
    """Compare a slide with the training images.

    Parameters
    ----------
    domain : TrainingDomain
        From the model's card.
    features : (n, 12) float64 array
        `FEATURES` of its windows with objects.
    bright : (m,) bool array
        Whether each of its windows is bright field.
    name : str
        Name of an object, for messages.
    """
    bright_field = 2 * int(bright.sum()) > len(bright)
    kind = domain.of(bright_field=bright_field)
    if not len(features):
        return DomainCheck(
            bright_field=bright_field,
            windows=0,
            features=(),
            distance=None,
            unlike=(f"no {name} in {len(bright)} windows",),
        )
    mean = features.mean(axis=0)
    own = tuple(round(float(value), 4) for value in mean)
    if kind is None:
        seen, known = ("bright", "dark") if bright_field else ("dark", "bright")
        unlike = [f"{seen} field, and they are {known} field"]
    else:
        unlike = [
            _described(trait, mean, kind, name, bright_field=bright_field)
            for trait, distance, limit in zip(
                TRAITS, trait_distances(mean, kind), kind.limits, strict=True
            )
            if distance > limit
        ]
    return DomainCheck(
        bright_field=bright_field,
        windows=len(features),
        features=own,
        distance=None if kind is None else round(quality_distance(domain.dice, mean, kind), 3),
        unlike=tuple(unlike),
    )


def quality_distance(rule: DiceRule, features: NDArray[np.float64], kind: ImageKind) -> float:
    """Standard deviations by which the predicted Dice lies below that of training images."""
    middle, spread = kind.quality
    return float((middle - predicted_logit(rule, features)) / spread)


def predicted_logit(rule: DiceRule, features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logit of the predicted Dice: (..., 12) features to (...)."""
    return np.asarray(rule.intercept + features[..., CONFIDENCE] @ np.array(rule.weights))


def trait_distances(features: NDArray[np.float64], kind: ImageKind) -> NDArray[np.float64]:
    """Root mean square deviation from the training images, in their standard deviations.

    Parameters
    ----------
    features : (..., 12) float64 array
    kind : ImageKind

    Returns
    -------
    (..., 4) float64 array
        One for each of `TRAITS`. Pictures sharper than the training images are at no distance.
    """
    scaled = (features - np.array(kind.mean)) / np.array(kind.spread)
    scaled[..., _COLUMN["sharpness"]] = np.minimum(scaled[..., _COLUMN["sharpness"]], 0)
    parts = []
    for names in TRAITS.values():
        columns = [_COLUMN[name] for name in names]
        parts.append(np.sqrt((scaled[..., columns] ** 2).mean(axis=-1)))
    return np.stack(parts, axis=-1)


def _described(
    trait: str, features: NDArray[np.float64], kind: ImageKind, name: str, *, bright_field: bool
) -> str:
    """Reason why a trait beyond its limit makes a slide unlike the training images."""
    match trait:
        case "confidence":
            return "confidence of the model"
        case "sharpness":
            return "blurred: check the focus and the pixel size"
        case "object size":
            place = _COLUMN["object_diameter"]
            times = math.exp(features[place] - kind.mean[place])
            return f"{name} diameter {times:.2g} times as large: check the pixel size"
        case _:
            return "stain" if bright_field else "brightness"
