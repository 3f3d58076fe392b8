"""Area of each class, and the number of its objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.measure.merge import LABELS
from napari_twostage.measure.objects import ObjectScan
from napari_twostage.measure.tissue_area import tissue_mm2
from napari_twostage.measure.within import Within

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_twostage.geometry import Polygons
    from napari_twostage.measure.blocks import ProgressCallback
    from napari_twostage.measure.merge import Objects
    from napari_twostage.result.result import Result


@dataclass(frozen=True, slots=True)
class ClassArea:
    """Area of one class at the finest level: that of its objects, see `measure.objects`."""

    name: str
    color: str
    """``#rrggbb``"""
    value: int
    """Label value of the class."""
    objects: int
    """Number of objects."""
    left_out: int
    """Number of connected regions that are no objects."""
    least_object_um2: float
    """Area from which on a region is an object, in square micrometres; 0 if all are."""
    pixels: int
    """Pixels of all objects, filled holes included."""
    area_mm2: float
    """Area of all objects in square millimetres."""
    left_out_mm2: float
    """Area of the regions that are no objects, in square millimetres."""
    tissue_fraction: float
    """Share of `tissue_mm2`; above 1 where more than tissue is labelled."""
    refined_fraction: float
    """Share of the class's pixels that come from stage 2, in [0, 1]."""
    tissue_mm2: float
    """Tissue that was measured, in square millimetres; see `tissue_area.tissue_mm2`."""

    def describe_area(self) -> str:
        """Text: ``8.5 % of tissue (0.0785 mm²)``."""
        return f"{100 * self.tissue_fraction:.1f} % of tissue ({self.area_mm2:.3g} mm²)"

    def describe_left_out(self) -> str:
        """Text: ``6,059 specks below 8 µm² left out``; empty if none were."""
        if not self.left_out:
            return ""
        specks = f"{self.left_out:,} speck{'s' if self.left_out > 1 else ''}"
        return f"{specks} below {self.least_object_um2:g} µm² left out"


def areas(
    result: Result,
    *,
    least_object_um2: float | None = None,
    progress: ProgressCallback = lambda _: None,
    region: Polygons = (),
) -> list[ClassArea]:
    """Measure the area and count the objects of each class, in the order of ``result.classes``.

    Blocks that a run has measured are not read again. Memory does not grow with the slide.

    Parameters
    ----------
    result : Result
        Result to measure.
    least_object_um2 : float, optional
        Least area of objects in square micrometres, instead of the result's own; 0 keeps all.
    progress : callable
        Called with the share done, in [0, 1], after each block.
    region : Polygons
        Outlines (y, x) in pixels of level 0. If there are any, only what an odd number of them
        surround is measured: objects are cut there, and the tissue is that inside.

    Raises
    ------
    SelectionError
        If `least_object_um2` is no possible area.
    """
    within = Within(result.layout.polygons_to_fine(region), result.grid.shape) if region else None
    scan = ObjectScan(result, least_object_um2, within=within)
    return class_areas(scan, scan.objects(progress), tissue_mm2(result, region) or 0.0)


def class_areas(
    scan: ObjectScan, objects: Iterable[Objects], measured_mm2: float
) -> list[ClassArea]:
    """Add up the objects that a search finds, by class.

    Parameters
    ----------
    scan : ObjectScan
        The search.
    objects : iterable of Objects
        All objects that it finds.
    measured_mm2 : float
        Tissue that they lie in, in square millimetres.
    """
    result = scan.result
    pixels, refined, counts = np.zeros((3, LABELS), np.int64)
    for found in objects:
        value = found.regions.value
        pixels += np.bincount(value, found.regions.pixels, LABELS).astype(np.int64)
        refined += np.bincount(value, found.regions.refined, LABELS).astype(np.int64)
        counts += np.bincount(value, minlength=LABELS)
    pixel_um2 = result.grid.pixel_area_um2
    areas_mm2 = pixels * pixel_um2 / 1e6
    return [
        ClassArea(
            name=kind.name,
            color=kind.color,
            value=kind.value,
            objects=int(counts[kind.value]),
            left_out=int(scan.left_out[kind.value]),
            least_object_um2=scan.least_object_um2,
            pixels=int(pixels[kind.value]),
            area_mm2=float(areas_mm2[kind.value]),
            left_out_mm2=float(scan.left_out_pixels[kind.value] * pixel_um2 / 1e6),
            tissue_fraction=float(areas_mm2[kind.value] / (measured_mm2 or np.inf)),
            refined_fraction=float(refined[kind.value] / max(1, pixels[kind.value])),
            tissue_mm2=measured_mm2,
        )
        for kind in result.classes
    ]
