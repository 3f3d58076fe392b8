"""Domain check: whether a slide looks like the images that its model was trained on.

A few coarse windows are enough. Their features are compared with those of the training images, and
say how far the expected Dice can be trusted.
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from napari_twostage.errors import ReadError
from napari_twostage.method.features import is_bright_field, logit, window_features
from napari_twostage.models.training_domain import CONFIDENCE, FEATURES, TRAITS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_twostage.geometry import Box, Scale
    from napari_twostage.method.pipeline import Predictor, Reader
    from napari_twostage.models.training_domain import DiceRule, ImageKind, TrainingDomain

WINDOWS = 5
"""Coarse windows that are looked at."""
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


@dataclass(frozen=True, slots=True)
class DicePredictor:
    """Prediction of a slide's true Dice from the one that stage 1's probabilities give.

    Its logit is ``offset + slope * logit(expected)``; errors are added to it.
    """

    offset: float
    slope: float
    errors: tuple[float, float]

    @classmethod
    def of(cls, rule: DiceRule, features: Sequence[float]) -> Self:
        """Predictor for a slide of these `FEATURES`."""
        others = zip(rule.weights[1:], features[CONFIDENCE][1:], strict=True)
        offset = rule.intercept + sum(weight * value for weight, value in others)
        return cls(offset, rule.weights[0], rule.errors)

    def predict(self, expected: NDArray[np.floating] | float) -> NDArray[np.float64]:
        """Dice in (0, 1) that follows from expected ones; the shape is kept."""
        return _share(self.offset + self.slope * logit(expected))

    def interval(self, predicted: float) -> tuple[float, float]:
        """Lower and upper end of a Dice that `predict` gave, with the rule's coverage."""
        middle = float(logit(predicted))
        low, high = (float(_share(middle + error)) for error in self.errors)
        return low, high


def _share(odds: NDArray[np.float64] | float) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-np.clip(odds, -30, 30))))


def pick_windows(
    tissue: NDArray[np.bool_], tiles_aside: int, count: int = WINDOWS
) -> list[tuple[int, int]]:
    """Choose windows that are full of tissue, spread over the slide.

    Parameters
    ----------
    tissue : (rows, columns) bool array
        Tiles with tissue.
    tiles_aside : int
        Tiles along the side of a window.
    count : int
        Most windows to choose.

    Returns
    -------
    list of (row, column)
        Windows, row by row.
    """
    rows, columns = (-(-length // tiles_aside) for length in tissue.shape)
    padding = [
        (0, n * tiles_aside - length)
        for n, length in zip((rows, columns), tissue.shape, strict=True)
    ]
    blocks = np.pad(tissue, padding).reshape(rows, tiles_aside, columns, tiles_aside)
    filled = blocks.sum(axis=(1, 3)).ravel()
    full = np.flatnonzero((filled > 0) & (2 * filled >= filled.max()))
    if not full.size:
        return []
    middles = (np.arange(count) + 0.5) / count * len(full)
    chosen = np.unique(full[middles.astype(int)]).tolist()
    return [divmod(index, columns) for index in chosen]


class LookedAt(NamedTuple):
    """Coarse window with the output of stage 1."""

    box: Box
    """Pixels of the window's core inside the slide, on the coarse grid."""
    pixels: NDArray[np.uint8]
    """(height, width, 3) of the box."""
    logits: NDArray[np.float32]
    """(K, height, width) calibrated logits of the box."""


def look_at(model: Predictor, reader: Reader, cores: Sequence[Box]) -> Iterator[LookedAt]:
    """Run stage 1 over coarse windows.

    Parameters
    ----------
    model : Predictor
    reader : Reader
        Slide at the pixel size of stage 1.
    cores : sequence of Box
        Cores of windows, before clipping to the slide. Those that cannot be read are left out.
    """
    halo = model.card.coarse_halo_px
    readable = []
    for core in cores:
        with suppress(ReadError):  # the coarse pass reports it
            readable.append((core, reader.read(core.grow(halo))))
    for start in range(0, len(readable), model.coarse_batch):
        batch = readable[start : start + model.coarse_batch]
        logits = model.coarse([pixels for _, pixels in batch])
        for (core, pixels), own in zip(batch, logits, strict=True):
            box = core.clip(reader.grid.shape)
            place = box.shift(-core.top, -core.left)
            yield LookedAt(box, pixels[place.shift(halo, halo).slices], own[:, *place.slices])


def features_of(
    windows: Iterable[LookedAt], mpp: Scale
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Features of windows.

    Parameters
    ----------
    windows : iterable of LookedAt
    mpp : (float, float)
        Micrometres per coarse pixel (y, x).

    Returns
    -------
    (n, 12) float64 array
        `FEATURES` of the windows with objects.
    (m,) bool array
        Whether each window is bright field.
    """
    found, bright = [], []
    for window in windows:
        bright.append(is_bright_field(window.pixels))
        features = window_features(window.pixels, window.logits, mpp)
        if features is not None and np.isfinite(features).all():  # the coarse pass refuses others
            found.append(features)
    return np.array(found).reshape(-1, len(FEATURES)), np.array(bright, bool)


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
