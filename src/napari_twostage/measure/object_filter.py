"""Choice of objects by class, area and uncertainty; masks over columns, however many there are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.measure.pixel_means import UNCERTAINTY

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.measure.object_list import ObjectList

AREA = "area_um2"


@dataclass(frozen=True, slots=True)
class ObjectFilter:
    """Limits, both included; objects of no known uncertainty are within the widest limits alone."""

    value: int | None = None
    """Label value of the class; None takes all."""
    least_um2: float = 0.0
    most_um2: float = math.inf
    least_uncertainty: float = 0.0
    most_uncertainty: float = 1.0

    def mask(self, objects: ObjectList) -> NDArray[np.bool_]:
        """Whether each object is within the limits: (n,)."""
        area = objects.numbers[AREA]
        within = (area >= self.least_um2) & (area <= self.most_um2)
        if self.value is not None:
            within &= objects.values == self.value
        if self.least_uncertainty > 0 or self.most_uncertainty < 1:
            doubt = objects.numbers[UNCERTAINTY.name]
            within &= (doubt >= self.least_uncertainty) & (doubt <= self.most_uncertainty)
        return within


def describe_choice(objects: ObjectList, within: NDArray[np.bool_]) -> str:
    """Text: ``2,431 of 7,730 objects · 12.1 % of tissue``."""
    text = f"{np.count_nonzero(within):,} of {len(objects):,} objects"
    if not objects.tissue_mm2:
        return text
    share = float(objects.numbers[AREA][within].sum()) / 1e6 / objects.tissue_mm2
    return f"{text} · {share:.1%} of tissue".replace("%", " %")
