"""Annotations: named regions of a slide, as GeoJSON that QuPath writes and reads."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from functools import reduce
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from napari_twostage.errors import AnnotationError, one_line, reason_of
from napari_twostage.io.limited import gunzip_limited, read_limited
from napari_twostage.utils.values import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from shapely import Geometry

    from napari_twostage.geometry import Box, Point, Polygons, Shape

MEMBER, ORIGIN = "napari-twostage", "origin_px"
"""Member of a collection or feature with notes of ours, which GeoJSON permits, and the entry (x, y)
of a collection: the pixel of level 0 that positions are counted from."""
LONGEST = 1 << 28
"""Bytes of a file: some 100 for each point of an outline."""
MOST = 2000
"""Regions that are taken from one file; a file with more is one of cells."""
_FARTHEST = 1e9
"""Largest coordinate, in pixels."""
_LABELS = 120
"""Characters of a name."""
_NO_REGIONS = {"detection", "cell", "tile", "tmaCore"}
"""Kinds of objects in QuPath that are no annotations."""


@dataclass(frozen=True, slots=True)
class Annotation:
    """A named region of a slide."""

    name: str
    rings: Polygons
    """Outlines (y, x) in pixels of level 0; the region is what an odd number of them surround, so
    that holes and separate parts are rings of their own."""
    color: str = ""
    """``#rrggbb``; empty if the file that it is from states none."""
    kind: str = ""
    """Classification in QuPath; empty if there is none."""
    measurements: Mapping[str, float] = field(default_factory=dict)
    """Numbers by QuPath's name for them."""
    stamp: str = ""
    """Digest of what the measurements were made of; empty if they are not ours."""
    id: str = field(default_factory=lambda: str(uuid4()))
    """Tells regions apart, whatever their names."""


def even_odd(rings: Polygons) -> Geometry:
    """Valid shape (x, y) of what an odd number of rings surround."""
    import shapely

    shapes = [shapely.make_valid(shapely.Polygon([(x, y) for y, x in ring])) for ring in rings]
    return reduce(shapely.symmetric_difference, shapes)


def bounds_of(rings: Polygons) -> tuple[float, float, float, float]:
    """Top, left, bottom and right of rings."""
    rows, columns = zip(*(point for ring in rings for point in ring), strict=True)
    return min(rows), min(columns), max(rows), max(columns)


def clean_name(text: str) -> str:
    """One line without what commands a terminal, of at most `_LABELS` characters."""
    printable = "".join(one if one.isprintable() else " " for one in text)
    return " ".join(printable.split())[:_LABELS]


def unique_name(wanted: str, taken: Iterable[str]) -> str:
    """A name that is not taken: the one that is wanted, or that with the next number.

    Examples
    --------
    >>> unique_name("Tumour", ["Stroma"]), unique_name("Region 1", ["Region 1", "Region 2"])
    ('Tumour', 'Region 3')
    """
    known = set(taken)
    stem = re.sub(r"\s+\d+$", "", wanted)
    name, number = wanted, 1
    while name in known:
        number += 1
        name = f"{stem} {number}"
    return name


# -- reading -----------------------------------------------------------------------------------


def load_annotations(
    path: Path, *, bounds: Box | None, shape: Shape | None = None
) -> tuple[list[Annotation], int]:
    """Read a ``.geojson`` or ``.geojson.gz`` file; see `read_annotations`.

    Raises
    ------
    AnnotationError
        If it cannot be read, or holds no region.
    """
    try:
        content = read_limited(path, LONGEST)
        if path.suffix == ".gz":
            content = gunzip_limited(content, LONGEST)
    except (OSError, ValueError) as error:
        raise AnnotationError(
            f"{path.name} cannot be read: {reason_of(error)}; choose another file"
        ) from error
    return read_annotations(content, path.name, bounds=bounds, shape=shape)


def read_annotations(
    content: bytes, source: str, *, bounds: Box | None, shape: Shape | None = None
) -> tuple[list[Annotation], int]:
    """Read GeoJSON: one geometry or feature, a collection of them, or a list.

    Parameters
    ----------
    content : bytes
        The file.
    source : str
        Its name, for errors.
    bounds : Box, optional
        Scanned area of the slide, if it states one. QuPath counts positions from its corner,
        unless the file says otherwise.
    shape : (int, int), optional
        Rows and columns of level 0, on which a region must lie at least in part.

    Returns
    -------
    annotations : list of Annotation
        In the order of the file; names may repeat.
    left_out : int
        Features that are no areas, such as points, or no annotations, such as cells.

    Raises
    ------
    AnnotationError
        If it is no GeoJSON, or holds no area on the slide, or more than `MOST`.
    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise AnnotationError(
            f"{source} is no GeoJSON ({one_line(error)[:80]}); in QuPath: File > Export objects "
            "as GeoJSON"
        ) from error
    down, across = _origin(document, source, bounds)
    entries = list(_entries(document, source))
    found = [
        _annotation(number, entry, source, (down, across))
        for number, entry in enumerate(entries, 1)
        if _is_area(entry)
    ]
    if len(found) > MOST:
        raise AnnotationError(
            f"{source} holds {len(found):,} areas, expected at most {MOST:,}; export annotations "
            "only, without cells"
        )
    on_slide = [one for one in found if shape is None or _is_on(one.rings, shape)]
    if not on_slide:
        where = "" if not found else " on this slide"
        raise AnnotationError(f"{source} holds no area{where}; choose a file with its annotations")
    return on_slide, len(entries) - len(on_slide)


def _origin(document: object, source: str, bounds: Box | None) -> Point:
    """Pixel (y, x) of level 0 that positions are counted from."""
    note = document.get(MEMBER) if isinstance(document, dict) else None
    stated = note.get(ORIGIN) if isinstance(note, dict) else None
    if stated is None:
        return (0.0, 0.0) if bounds is None else (float(bounds.top), float(bounds.left))
    x, y = _point(stated, source)
    return y, x


def _entries(document: object, source: str) -> Iterator[dict[str, Any]]:
    """Features and geometries of a document, however deep they are."""
    if isinstance(document, list):
        for entry in document:
            yield from _entries(entry, source)
        return
    if not isinstance(document, dict) or "type" not in document:
        raise AnnotationError(
            f"{source} is no GeoJSON: found {shown(document)}, expected a feature or geometry; "
            "in QuPath: File > Export objects as GeoJSON"
        )
    inner = {"FeatureCollection": "features", "GeometryCollection": "geometries"}
    members = inner.get(str(document["type"]))
    if members is None:
        yield document
    else:
        yield from _entries(document.get(members) or [], source)


def _is_area(entry: Mapping[str, Any]) -> bool:
    """Whether a feature or geometry is an area, and no cell."""
    kind = _properties(entry).get("objectType", _properties(entry).get("object_type"))
    return kind not in _NO_REGIONS and _geometry(entry).get("type") in ("Polygon", "MultiPolygon")


def _geometry(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    found = entry.get("geometry") if entry["type"] == "Feature" else entry
    return found if isinstance(found, dict) else {}


def _properties(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    found = entry.get("properties")
    return found if isinstance(found, dict) else {}


def _annotation(number: int, entry: Mapping[str, Any], source: str, origin: Point) -> Annotation:
    where = f"{source}, feature {number}"
    geometry, properties = _geometry(entry), _properties(entry)
    coordinates = geometry.get("coordinates")
    polygons = [coordinates] if geometry["type"] == "Polygon" else coordinates
    if not isinstance(polygons, list) or not all(isinstance(one, list) for one in polygons):
        raise AnnotationError(f"{where} has no coordinates; draw it again")
    rings = tuple(_ring(ring, where, origin) for polygon in polygons for ring in polygon)
    if not rings:
        raise AnnotationError(f"{where} is empty; draw it again")
    kind = properties.get("classification")
    kind = kind if isinstance(kind, dict) else {"name": kind}
    kind_name = kind.get("name") or ": ".join(map(str, kind.get("names") or []))
    name = properties.get("name") or kind_name or "Region"
    note = properties.get(MEMBER)
    ours = note if isinstance(note, dict) else {}
    given = {"id": str(entry["id"])} if entry.get("id") else {}
    return Annotation(
        name=clean_name(str(name)) or "Region",
        rings=rings,
        color=_color(properties) or _color(kind),
        kind=clean_name(str(kind_name or "")),
        measurements=_measurements(properties.get("measurements")),
        stamp=str(ours.get("stamp", "")),
        **given,
    )


def _ring(ring: object, where: str, origin: Point) -> tuple[Point, ...]:
    """Vertices (y, x) of a ring, without the last one, which repeats the first."""
    if not isinstance(ring, list):
        raise AnnotationError(f"{where}: {shown(ring)} is no outline; draw it again")
    down, across = origin
    points = [(y + down, x + across) for x, y in (_point(point, where) for point in ring)]
    if len(points) > 1 and points[0] == points[-1]:
        points.pop()
    if len(points) < 3:
        raise AnnotationError(f"{where} has {len(points)} corners, expected 3; draw it again")
    return tuple(points)


def _point(point: object, where: str) -> Point:
    """The two numbers (x, y) of a position; a third, the height, is left out."""
    numbers = point[:2] if isinstance(point, list) else []
    good = [type(value) in (int, float) and abs(value) <= _FARTHEST for value in numbers]
    if good != [True, True]:
        raise AnnotationError(f"{where}: {shown(point)} is no position (x, y) in pixels")
    return float(numbers[0]), float(numbers[1])


def _color(values: Mapping[str, Any]) -> str:
    """Colour of a feature or class: three numbers, or QuPath's older signed integer."""
    rgb, packed = values.get("color"), values.get("colorRGB")
    if isinstance(packed, int) and rgb is None:
        rgb = [packed >> 16 & 255, packed >> 8 & 255, packed & 255]
    if isinstance(rgb, list) and len(rgb) == 3 and all(type(one) is int for one in rgb):
        return "#" + "".join(f"{min(255, max(0, one)):02x}" for one in rgb)
    return ""


def _measurements(found: object) -> dict[str, float]:
    """Measurements by name; older versions of QuPath list them."""
    if isinstance(found, list):
        found = {one["name"]: one.get("value") for one in found if _is_named(one)}
    if not isinstance(found, dict):
        return {}
    return {
        str(name): float(value)
        for name, value in found.items()
        if type(value) in (int, float) and math.isfinite(value)
    }


def _is_named(one: object) -> bool:
    return isinstance(one, dict) and isinstance(one.get("name"), str)


def _is_on(rings: Polygons, shape: Shape) -> bool:
    top, left, bottom, right = bounds_of(rings)
    return bottom > 0 and right > 0 and top < shape[0] and left < shape[1]


# -- writing -----------------------------------------------------------------------------------


def written_annotations(annotations: Sequence[Annotation], bounds: Box | None) -> bytes:
    """Annotations as a GeoJSON file for QuPath; `read_annotations` reads it.

    Parameters
    ----------
    annotations : sequence of Annotation
    bounds : Box, optional
        Scanned area of the slide, from whose corner QuPath counts.
    """
    down, across = (0, 0) if bounds is None else (bounds.top, bounds.left)
    document: dict[str, Any] = {
        "type": "FeatureCollection",
        "features": [_feature(one, (down, across)) for one in annotations],
    }
    if bounds is not None:
        document[MEMBER] = {ORIGIN: [across, down]}
    return json.dumps(document, indent=1).encode() + b"\n"


def _feature(one: Annotation, origin: Point) -> dict[str, Any]:
    properties: dict[str, Any] = {"objectType": "annotation", "name": one.name}
    if one.color:
        properties["color"] = list(bytes.fromhex(one.color.removeprefix("#")))
    if one.kind:
        properties["classification"] = {"name": one.kind}
    if one.measurements:
        properties["measurements"] = dict(one.measurements)
    if one.stamp:
        properties[MEMBER] = {"stamp": one.stamp}
    return {
        "type": "Feature",
        "id": one.id,
        "geometry": _written_geometry(one.rings, origin),
        "properties": properties,
    }


def _written_geometry(rings: Polygons, origin: Point) -> dict[str, Any]:
    """GeoJSON of rings, in pixels counted from `origin` (y, x)."""
    import shapely
    from shapely.affinity import translate

    if len(rings) == 1:  # as it was drawn, vertex by vertex
        points = [[x - origin[1], y - origin[0]] for y, x in rings[0]]
        return {"type": "Polygon", "coordinates": [[*points, points[0]]]}
    shape = translate(even_odd(rings), -origin[1], -origin[0])
    parts = [part for part in shapely.get_parts(shape) if part.geom_type == "Polygon"]
    written: dict[str, Any] = json.loads(
        shapely.to_geojson(parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts))
    )
    return written
