"""Objects as GeoJSON for QuPath (File > Import objects from file)."""

from __future__ import annotations

import gzip
import io
import json
import uuid
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from napari_twostage.measure.completeness import unfinished_note
from napari_twostage.measure.objects import iter_objects
from napari_twostage.utils.text import printable

if TYPE_CHECKING:
    from pathlib import Path

    from shapely import LinearRing, Polygon

    from napari_twostage.geometry import Scale
    from napari_twostage.measure.blocks import ProgressCallback
    from napari_twostage.measure.regions import LabelObject
    from napari_twostage.result.result import Result

REGION_UM2 = 10_000.0
"""Smallest area of an annotation, in square micrometres; smaller objects are detections.

QuPath stores cells and nuclei as detections, which stay fast by the million, and tissue regions as
annotations, which can be edited. 100 µm × 100 µm separates clumps of nuclei from regions.
"""

MEMBER, ORIGIN = "napari-twostage", "origin_px"
"""Member of the collection with notes of ours, and its entry (x, y): the pixel of level 0 that
positions are counted from, in files of slides that state a scanned area."""

_NAMESPACE = uuid.UUID("0f6c1b5e-8d52-5a6b-9d0e-5f3f0c8f2f10")
"""Namespace of the object ids, so that they differ from those of other programs."""


def object_id(result: Result, item: LabelObject) -> uuid.UUID:
    """Identifier of an object; equal between exports while its first pixel and class are equal."""
    row, column = item.first
    return uuid.uuid5(_NAMESPACE, f"{printable(result.name)}/{item.value}/{row}/{column}")


def write_geojson(
    result: Result, path: Path, progress: ProgressCallback, *, crop: bool = True
) -> None:
    """Write every object as one feature, in level-0 pixels (x, y).

    Parameters
    ----------
    result : Result
        Result to export.
    path : Path
        File to write.
    progress : callable
        Called with the share done, in [0, 1].
    crop : bool
        Count pixels from the corner of the scanned area, if the slide states one: QuPath crops
        such slides to it. The file names the corner.
    """
    with path.open("w", encoding="utf-8") as file:
        _write(result, file, progress, crop=crop)


def write_geojson_gz(
    result: Result, path: Path, progress: ProgressCallback, *, crop: bool = True
) -> None:
    """Write the same as `write_geojson`, compressed; equal objects give equal bytes."""
    with (
        path.open("wb") as raw,
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=6, mtime=0) as packed,
        io.TextIOWrapper(packed, encoding="utf-8") as file,
    ):
        _write(result, file, progress, crop=crop)


def _write(result: Result, file: TextIO, progress: ProgressCallback, *, crop: bool) -> None:
    """Write features while blocks are read; the collection is never in memory.

    Where pixels are counted from, and what a stopped run left out, follow as a member of their own,
    which GeoJSON permits.
    """
    bounds = result.record.slide.bounds
    origin = (bounds.left, bounds.top) if crop and bounds is not None else (0, 0)
    classes = {
        kind.value: {"name": kind.name, "color": _rgb(kind.color)} for kind in result.classes
    }
    file.write('{"type":"FeatureCollection","features":[')
    separator = "\n"
    for item in iter_objects(result, outlines=True, progress=progress):
        file.write(separator)
        file.write(json.dumps(_feature(result, item, classes, origin), separators=(",", ":")))
        separator = ",\n"
    file.write("\n]")
    note = unfinished_note(result)
    if bounds is not None:
        note = {ORIGIN: list(origin), **note}
    if note:
        file.write(f',"{MEMBER}":{json.dumps(note)}')
    file.write("}\n")


def _feature(
    result: Result,
    item: LabelObject,
    classes: dict[int, dict[str, Any]],
    origin: tuple[int, int],
) -> dict[str, Any]:
    area_um2 = item.pixels * result.grid.pixel_area_um2
    return {
        "type": "Feature",
        "id": str(object_id(result, item)),
        "geometry": _geometry(item.outline(), result.grid.downsample, origin),
        "properties": {
            "objectType": "annotation" if area_um2 >= REGION_UM2 else "detection",
            "classification": classes[item.value],
            "measurements": {
                "Area um^2": round(area_um2, 3),
                "Refined fraction": round(item.refined_pixels / item.pixels, 4),
            },
        },
    }


def _geometry(outline: Polygon, downsample: Scale, origin: tuple[int, int]) -> dict[str, Any]:
    """Convert a polygon on the fine grid to GeoJSON at level 0, counted from `origin` (x, y)."""
    return {
        "type": "Polygon",
        "coordinates": [
            _ring(ring, downsample, origin) for ring in (outline.exterior, *outline.interiors)
        ],
    }


def _ring(ring: LinearRing, downsample: Scale, origin: tuple[int, int]) -> list[list[float]]:
    """Convert a ring to level-0 pixels, rounded to 1e-4 pixel."""
    points = np.asarray(ring.coords) * (downsample[1], downsample[0]) - origin
    whole = np.rint(points)
    # Write whole numbers, the usual case, without ".0".
    listed = whole.astype(np.int64) if np.array_equal(points, whole) else points.round(4)
    numbers: list[list[float]] = listed.tolist()
    return numbers


def _rgb(color: str) -> list[int]:
    """Convert ``#rrggbb`` to three integers in [0, 255]."""
    return list(bytes.fromhex(color.removeprefix("#")))
