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

_NAMESPACE = uuid.UUID("0f6c1b5e-8d52-5a6b-9d0e-5f3f0c8f2f10")
"""Namespace of the object ids, so that they differ from those of other programs."""


def object_id(result: Result, item: LabelObject) -> uuid.UUID:
    """Identifier of an object; equal between exports while its first pixel and class are equal."""
    row, column = item.first
    return uuid.uuid5(_NAMESPACE, f"{printable(result.name)}/{item.value}/{row}/{column}")


def write_geojson(result: Result, path: Path, progress: ProgressCallback) -> None:
    """Write every object as one feature, in level-0 pixels (x, y).

    Parameters
    ----------
    result : Result
        Result to export.
    path : Path
        File to write.
    progress : callable
        Called with the share done, in [0, 1].
    """
    with path.open("w", encoding="utf-8") as file:
        _write(result, file, progress)


def write_geojson_gz(result: Result, path: Path, progress: ProgressCallback) -> None:
    """Write the same as `write_geojson`, compressed; equal objects give equal bytes."""
    with (
        path.open("wb") as raw,
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=6, mtime=0) as packed,
        io.TextIOWrapper(packed, encoding="utf-8") as file,
    ):
        _write(result, file, progress)


def _write(result: Result, file: TextIO, progress: ProgressCallback) -> None:
    """Write features while blocks are read; the collection is never in memory.

    What a stopped run left out follows as a member of its own, which GeoJSON permits.
    """
    classes = {
        kind.value: {"name": kind.name, "color": _rgb(kind.color)} for kind in result.classes
    }
    file.write('{"type":"FeatureCollection","features":[')
    separator = "\n"
    for item in iter_objects(result, outlines=True, progress=progress):
        file.write(separator)
        file.write(json.dumps(_feature(result, item, classes), separators=(",", ":")))
        separator = ",\n"
    file.write("\n]")
    if note := unfinished_note(result):
        file.write(f',"napari-twostage":{json.dumps(note)}')
    file.write("}\n")


def _feature(
    result: Result, item: LabelObject, classes: dict[int, dict[str, Any]]
) -> dict[str, Any]:
    area_um2 = item.pixels * result.grid.pixel_area_um2
    return {
        "type": "Feature",
        "id": str(object_id(result, item)),
        "geometry": _geometry(item.outline(), result.grid.downsample),
        "properties": {
            "objectType": "annotation" if area_um2 >= REGION_UM2 else "detection",
            "classification": classes[item.value],
            "measurements": {
                "Area um^2": round(area_um2, 3),
                "Refined fraction": round(item.refined_pixels / item.pixels, 4),
            },
        },
    }


def _geometry(outline: Polygon, downsample: Scale) -> dict[str, Any]:
    """Convert a polygon on the fine grid to GeoJSON at level 0."""
    return {
        "type": "Polygon",
        "coordinates": [_ring(ring, downsample) for ring in (outline.exterior, *outline.interiors)],
    }


def _ring(ring: LinearRing, downsample: Scale) -> list[list[float]]:
    """Convert a ring to level-0 pixels, rounded to 1e-4 pixel."""
    points = np.asarray(ring.coords) * (downsample[1], downsample[0])
    whole = np.rint(points)
    # Write whole numbers, the usual case, without ".0".
    listed = whole.astype(np.int64) if np.array_equal(points, whole) else points.round(4)
    numbers: list[list[float]] = listed.tolist()
    return numbers


def _rgb(color: str) -> list[int]:
    """Convert ``#rrggbb`` to three integers in [0, 255]."""
    return list(bytes.fromhex(color.removeprefix("#")))
