"""Areas and objects as CSV tables."""

from __future__ import annotations

import csv
import math
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.export.geojson import object_id
from napari_twostage.measure.areas import areas
from napari_twostage.measure.objects import iter_objects
from napari_twostage.method.tiling import TileState

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_twostage.geometry import Scale
    from napari_twostage.measure.blocks import Progress
    from napari_twostage.measure.regions import LabelObject
    from napari_twostage.result.result import Result

AREA_COLUMNS = (
    "class",
    "pixels",
    "area_mm2",
    "percent_of_tissue",
    "objects",
    "percent_refined",
)
OBJECT_COLUMNS = (
    "id",
    "class",
    "centroid_x_px",
    "centroid_y_px",
    "centroid_x_um",
    "centroid_y_um",
    "area_um2",
    "perimeter_um",
    "left_px",
    "top_px",
    "right_px",
    "bottom_px",
    "touches_slide_edge",
    "refined_fraction",
    "tile_state",
)
"""Columns in ``_px`` count pixels of level 0 from the slide's top left corner."""


def write_areas(result: Result, path: Path, progress: Progress) -> None:
    """Write one row per class."""
    counts = Counter(
        item.value
        for item in iter_objects(result, outlines=False, progress=lambda done: progress(done / 2))
    )
    measured = areas(result, progress=lambda done: progress(0.5 + done / 2))
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(AREA_COLUMNS)
        for kind in measured:
            table.writerow(
                (
                    kind.name,
                    kind.pixels,
                    f"{kind.area_mm2:.6f}",
                    f"{100 * kind.tissue_fraction:.4f}",
                    counts[kind.value],
                    f"{100 * kind.refined_fraction:.2f}",
                )
            )


def write_objects(result: Result, path: Path, progress: Progress) -> None:
    """Write one row per object, while blocks are read."""
    states = result.states
    names = {kind.value: kind.name for kind in result.classes}
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(OBJECT_COLUMNS)
        for item in iter_objects(result, outlines=True, progress=progress):
            table.writerow(_row(result, item, names[item.value], states))


def _row(
    result: Result, item: LabelObject, name: str, states: NDArray[np.uint8]
) -> tuple[object, ...]:
    """Describe one object; the order is that of `OBJECT_COLUMNS`."""
    y, x = item.centroid
    down, across = result.grid.downsample
    mpp_y, mpp_x = result.grid.mpp
    tile_px = result.tiles.tile_px
    state = TileState(int(states[int(y) // tile_px, int(x) // tile_px]))
    return (
        object_id(result, item),
        name,
        f"{x * across:.2f}",
        f"{y * down:.2f}",
        f"{x * mpp_x:.3f}",
        f"{y * mpp_y:.3f}",
        f"{item.pixels * result.grid.pixel_area_um2:.3f}",
        f"{_perimeter_um(item, result.grid.mpp):.3f}",
        f"{item.box.left * across:.6g}",
        f"{item.box.top * down:.6g}",
        f"{item.box.right * across:.6g}",
        f"{item.box.bottom * down:.6g}",
        "yes" if item.at_edge else "no",
        f"{item.refined_pixels / item.pixels:.4f}",
        state.name.lower(),
    )


def _perimeter_um(item: LabelObject, mpp: Scale) -> float:
    """Estimate the length of an object's border, holes included, in micrometres.

    Pixel edges overstate a slope's length by up to 41 %. So each corner is cut from middle to
    middle of its two edges, and what that overstates on average over all directions (pi / 8 x
    (1 + sqrt 2), Kulpa 1977) is taken off. A disc comes out within 1 %.
    """
    outline = item.outline(0)
    steps = np.zeros(2)
    corners = 0
    for ring in (outline.exterior, *outline.interiors):
        points = np.asarray(ring.coords) * (mpp[1], mpp[0])
        steps += np.abs(np.diff(points, axis=0)).sum(0)
        corners += len(points) - 1
    cut = (mpp[0] + mpp[1] - math.hypot(*mpp)) / 2
    return float((steps.sum() - corners * cut) * math.pi / 8 * (1 + math.sqrt(2)))
