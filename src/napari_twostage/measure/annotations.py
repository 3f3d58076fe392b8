"""Measurements of annotations: the areas and counts of each, as they are kept with it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.errors import UnfinishedError
from napari_twostage.geometry import Box
from napari_twostage.io.annotations import bounds_of, even_odd
from napari_twostage.measure.areas import areas
from napari_twostage.measure.tissue_area import tissue_mm2

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from napari_twostage.geometry import Polygons, Scale
    from napari_twostage.io.annotations import Annotation
    from napari_twostage.measure.areas import ClassArea
    from napari_twostage.measure.blocks import ProgressCallback
    from napari_twostage.result.result import Result

AREA, TISSUE = "Area mm^2", "Tissue mm^2"
OBJECTS, CLASS_AREA, SHARE, DENSITY = "objects", "area mm^2", "% of tissue", "objects per mm^2"
"""What is measured of a class; its name comes before, with a colon."""


def area_mm2(rings: Polygons, mpp: Scale) -> float:
    """Area of a region, in square millimetres.

    Parameters
    ----------
    rings : Polygons
        Outlines (y, x) in pixels of level 0.
    mpp : (float, float)
        Micrometres per pixel (y, x).
    """
    return float(even_odd(rings).area) * mpp[0] * mpp[1] / 1e6


def measured(
    result: Result, annotation: Annotation, progress: ProgressCallback = lambda _: None
) -> Annotation:
    """Measure an annotation: its area, and the objects and area of each class in it.

    Objects are cut at its outline, as they are at the region that a result is bound to.

    Raises
    ------
    UnfinishedError
        If some of its tissue was not segmented yet.
    """
    if not result.is_segmented(annotation.rings):
        raise UnfinishedError(f"{annotation.name} is not segmented yet; segment it first")
    stamp = stamp_of(result, annotation)
    rings, size = annotation.rings, area_mm2(annotation.rings, result.slide_mpp)
    found = areas(result, region=rings, progress=progress)
    numbers = {AREA: size, TISSUE: tissue_mm2(result, rings) or 0.0}
    for one in found:
        numbers |= _numbers(one, size)
    return replace(annotation, measurements=numbers, stamp=stamp)


def _numbers(one: ClassArea, size_mm2: float) -> dict[str, float]:
    density = one.objects / size_mm2 if size_mm2 else 0.0
    values = {
        OBJECTS: float(one.objects),
        CLASS_AREA: one.area_mm2,
        SHARE: 100 * one.tissue_fraction,
        DENSITY: density,
    }
    return {f"{one.name}: {name}": value for name, value in values.items()}


def stamp_of(
    result: Result, annotation: Annotation, states: NDArray[np.uint8] | None = None
) -> str:
    """Digest of all that the measurements of an annotation follow from, but for its outline.

    Parameters
    ----------
    result : Result
    annotation : Annotation
    states : (rows, columns) uint8 array, optional
        `Result.states`, if they are known already.
    """
    top, left, bottom, right = bounds_of(annotation.rings)
    around = Box(*(int(edge) for edge in np.floor([top, left, bottom + 1, right + 1])))
    states = result.states if states is None else states
    digest = result.tallies.stamp(result.box_to_fine(around), states)
    return f"{digest.hex()} {result.least_object_um2:g} {result.record.model.sha256[:12]}"


def without_outdated(result: Result, annotations: Iterable[Annotation]) -> list[Annotation]:
    """Annotations, without measurements of ours that are not of the labels as they are now."""
    known, states = list(annotations), None
    for index, one in enumerate(known):
        if one.stamp:
            states = result.states if states is None else states
            if one.stamp != stamp_of(result, one, states):
                known[index] = replace(one, measurements={}, stamp="")
    return known
