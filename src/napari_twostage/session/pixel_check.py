"""Checks of a slide's pixel size: against the model, and against the objects that were found."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from napari_twostage.engine.checks import ENLARGED
from napari_twostage.models.card import REDUCED
from napari_twostage.models.training_domain import FEATURES, TRAITS

if TYPE_CHECKING:
    from napari_twostage.models.card import ModelCard
    from napari_twostage.result.result import Result
    from napari_twostage.slides.base import Slide

_PLURALS = {"nucleus": "nuclei"}
_DIAMETER = FEATURES.index("object_diameter")
_SIZE = list(TRAITS).index("object size")


class SizeCheck(NamedTuple):
    """Objects found on a slide, compared with those that its model was trained on."""

    text: str
    """One line."""
    unlike: bool
    """Whether they are smaller or larger than in 19 of 20 training images."""


def pixel_size_warning(slide: Slide, card: ModelCard) -> str:
    """Say that pixels are far from the model's; empty if they are not.

    Smaller pixels are averaged, as in training: up to 4 times smaller does no harm.
    """
    smaller, larger = max(slide.mpp) / card.fine_mpp, card.fine_mpp / min(slide.mpp)
    if smaller <= ENLARGED and larger <= REDUCED:
        return ""
    size, how = (max(slide.mpp), "smaller") if smaller > ENLARGED else (min(slide.mpp), "larger")
    return (
        f"At {size:.3g} µm/px {_objects(card)} would appear {max(smaller, larger):.2g}× {how} "
        "than the model expects. Check the pixel size."
    )


def size_check(result: Result) -> SizeCheck | None:
    """Compare the size of objects in the first coarse windows with the model's training images.

    Returns
    -------
    SizeCheck or None
        None if the card does not state that size, or no object was looked at yet.
    """
    card, check = result.card, result.record.domain
    if card.domain is None or check is None or not check.features:
        return None
    kind = card.domain.of(bright_field=check.bright_field)
    if kind is None:
        return None
    reach = kind.limits[_SIZE] * kind.spread[_DIAMETER]
    middle, found = kind.mean[_DIAMETER], check.features[_DIAMETER]
    least, most = (math.exp(middle + side * reach) for side in (-1, 1))
    unlike = abs(found - middle) > reach
    text = (
        f"{_objects(card).capitalize()} found measure {math.exp(found):.2g} µm; "
        f"in training images {least:.2g} to {most:.2g} µm."
    )
    return SizeCheck(f"{text} Check the pixel size." if unlike else text, unlike)


def _objects(card: ModelCard) -> str:
    """Plural of what the model finds."""
    if len(card.classes) > 1:
        return "objects"
    name = card.classes[0].name
    return _PLURALS.get(name, f"{name}s")
