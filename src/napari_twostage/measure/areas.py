"""Area of each class, and the number of its objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.measure.blocks import blocks
from napari_twostage.measure.objects import iter_objects
from napari_twostage.measure.tissue_area import tissue_mm2

if TYPE_CHECKING:
    from napari_twostage.measure.blocks import ProgressCallback
    from napari_twostage.result.result import Result


@dataclass(frozen=True, slots=True)
class ClassArea:
    """Area of one class at the finest level."""

    name: str
    color: str
    """``#rrggbb``"""
    value: int
    """Label value of the class."""
    objects: int | None
    """Number of connected regions; None if they were not counted."""
    pixels: int
    area_mm2: float
    """Area in square millimetres."""
    tissue_fraction: float
    """Share of `tissue_area.tissue_mm2`; above 1 where more than tissue is labelled."""
    refined_fraction: float
    """Share of the class's pixels that come from stage 2, in [0, 1]."""


def areas(
    result: Result, *, count_objects: bool = False, progress: ProgressCallback = lambda _: None
) -> list[ClassArea]:
    """Measure the area of each class, in the order of ``result.classes``.

    The finest labels are read once, a block at a time, so memory does not grow with the slide.

    Parameters
    ----------
    result : Result
        Result to measure.
    count_objects : bool
        Count connected regions as well, which takes two to three times as long.
    progress : callable
        Called with the share done, in [0, 1], after each block.
    """
    tissue, pixel_um2 = tissue_mm2(result), result.grid.pixel_area_um2
    pixels, refined, objects = np.zeros((3, 256), np.int64)
    if count_objects:
        for found in iter_objects(result, outlines=False, progress=progress):
            pixels[found.value] += found.pixels
            refined[found.value] += found.refined_pixels
            objects[found.value] += 1
    else:
        for block in blocks(result, progress):
            pixels += np.bincount(block.labels.ravel(), minlength=256)
            refined += np.bincount(block.labels[block.refined], minlength=256)
    return [
        ClassArea(
            name=kind.name,
            color=kind.color,
            value=kind.value,
            objects=int(objects[kind.value]) if count_objects else None,
            pixels=int(pixels[kind.value]),
            area_mm2=float(pixels[kind.value] * pixel_um2 / 1e6),
            tissue_fraction=float(pixels[kind.value] * pixel_um2 / 1e6 / tissue) if tissue else 0.0,
            refined_fraction=float(refined[kind.value] / max(1, pixels[kind.value])),
        )
        for kind in result.classes
    ]
