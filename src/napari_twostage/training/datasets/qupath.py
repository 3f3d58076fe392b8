"""QuPath annotations: GeoJSON polygons in level-0 pixels (x, y)."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from shapely import affinity
from shapely.geometry import shape

from napari_twostage.errors import one_line, reason_of
from napari_twostage.io.annotations import MEMBER, ORIGIN
from napari_twostage.io.limited import gunzip_limited, read_limited
from napari_twostage.training.datasets.samples import DatasetError
from napari_twostage.utils.values import shown

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_twostage.geometry import Box, Grid

LONGEST = 1 << 28
"""Bytes of a file, unpacked: some 100 bytes for each point of an outline."""
FARTHEST = 1e9
"""Largest coordinate, in pixels of level 0."""
REGION = "region"
"""Prefix of classifications, such as QuPath's ``Region*``, that mark fully annotated areas."""
_RECTANGULAR = 0.999
"""Smallest share of its bounding box that a rectangle covers, with rounded coordinates."""


UNREADABLE = (
    LookupError,
    TypeError,
    ValueError,
    ArithmeticError,
    AttributeError,
    RecursionError,
    shapely.errors.ShapelyError,
)
"""Errors of shapely about what is no geometry."""


@dataclass(frozen=True)
class Feature:
    """One annotation: a polygon, or several that belong together."""

    number: int
    """Position in the file, from 1."""
    geometry: Any
    """A valid shapely polygon or multipolygon."""
    name: str | None
    """Classification, or None."""


@dataclass(frozen=True)
class Annotations:
    """Features of one file."""

    features: list[Feature]
    origin: tuple[float, float] | None
    """Pixel (x, y) of level 0 that positions are counted from, if the file states it."""

    def on_slide(self, bounds: Box | None) -> list[Feature]:
        """Features in pixels of the whole level 0.

        Parameters
        ----------
        bounds : Box or None
            `Slide.bounds`: QuPath crops such slides, so positions are counted from its corner,
            unless the file states another.
        """
        x, y = self.origin or ((bounds.left, bounds.top) if bounds is not None else (0, 0))
        if not x and not y:
            return self.features
        return [
            replace(feature, geometry=affinity.translate(feature.geometry, x, y))
            for feature in self.features
        ]


def read_annotations(path: Path) -> Annotations:
    """Read a ``.geojson`` or ``.geojson.gz`` file.

    Raises
    ------
    DatasetError
        If the file is not GeoJSON, or a feature is not a valid polygon.
    """
    try:
        raw = read_limited(path, LONGEST)
        text = gunzip_limited(raw, LONGEST) if path.suffix == ".gz" else raw
        document = json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(f"{path} is no readable GeoJSON: {reason_of(error)[:150]}") from error
    origin = _stated_origin(path, document)
    if isinstance(document, dict):  # a collection, or one feature; older versions write a list
        document = document.get("features", [document])
    if not isinstance(document, list) or not all(isinstance(entry, dict) for entry in document):
        raise DatasetError(f"{path} holds no list of features; export it from QuPath as GeoJSON")
    features = [_feature(path, number, entry) for number, entry in enumerate(document, start=1)]
    return Annotations(features, origin)


def _stated_origin(path: Path, document: object) -> tuple[float, float] | None:
    """Pixel (x, y) that an export of ours is counted from; None in files of others."""
    member = document.get(MEMBER) if isinstance(document, dict) else None
    found = member.get(ORIGIN) if isinstance(member, dict) else None
    if found is None:
        return None
    numbers = isinstance(found, list) and [type(value) in (int, float) for value in found]
    if numbers != [True, True] or not all(abs(value) <= FARTHEST for value in found):
        raise DatasetError(f"{path}: {ORIGIN} is {shown(found)}, expected two pixels; export again")
    return found[0], found[1]


def _feature(path: Path, number: int, entry: dict[str, Any]) -> Feature:
    where = f"{path}, feature {number}"
    try:
        with np.errstate(all="ignore"):
            geometry = shape(entry["geometry"])
    except UNREADABLE as error:
        raise DatasetError(
            f"{where} has no geometry that can be read: {one_line(error)[:150]}; draw it again"
        ) from error
    if geometry.geom_type not in ("Polygon", "MultiPolygon"):
        raise DatasetError(f"{where} is a {geometry.geom_type}, not a polygon; delete it")
    if not geometry.is_empty and not max(map(abs, geometry.bounds)) <= FARTHEST:
        raise DatasetError(f"{where} lies beyond {FARTHEST:g} pixels; draw it again")
    if geometry.is_empty or not geometry.is_valid:
        reason = shapely.is_valid_reason(geometry) if not geometry.is_empty else "it is empty"
        raise DatasetError(f"{where} is no valid polygon ({reason}); draw it again")
    return Feature(number, geometry, _name(entry, where))


def _name(entry: dict[str, Any], where: str) -> str | None:
    """Classification of a feature: a name, or in recent QuPath versions a list of names."""
    properties = entry.get("properties") or {}
    kind = (properties.get("classification") if isinstance(properties, dict) else properties) or {}
    if isinstance(kind, dict):
        names = [kind["name"]] if kind.get("name") else kind.get("names") or []
    else:
        names = [kind]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DatasetError(f"{where} has no readable class, found {shown(kind)}; set it again")
    return ": ".join(names) or None


def is_region(feature: Feature, names: Iterable[str]) -> bool:
    """Whether a feature marks a fully annotated area; False if a class in `names` is called so."""
    name = feature.name or ""
    return name.lower().startswith(REGION) and name not in names


class Drawing:
    """Polygons that can be rasterised on any part of a grid.

    Where polygons overlap, the smaller one is on top: a gland inside a tumour stays visible.

    Parameters
    ----------
    geometries : list of shapely polygons
        In pixels (x, y) of level 0.
    values : list of int
        Class value of each polygon.
    """

    def __init__(self, geometries: list[Any], values: list[int]) -> None:
        order = np.argsort(-shapely.area(geometries), kind="stable")
        self._geometries = [geometries[index] for index in order]
        self._values = [values[index] for index in order]
        self._tree = shapely.STRtree(self._geometries)

    def bounds(self) -> tuple[float, float, float, float]:
        """Bounding box of all polygons: (left, top, right, bottom) in level-0 pixels."""
        left, top, right, bottom = shapely.total_bounds(self._geometries).tolist()
        return left, top, right, bottom

    def draw(self, box: Box, grid: Grid) -> NDArray[np.uint8]:
        """Class values of a box of a grid: each pixel takes the polygon at its centre."""
        from rasterio.errors import NotGeoreferencedWarning
        from rasterio.features import rasterize
        from rasterio.transform import Affine

        down, across = grid.downsample
        place = shapely.box(
            box.left * across, box.top * down, box.right * across, box.bottom * down
        )
        near = np.sort(self._tree.query(place)).tolist()
        if not near:
            return np.zeros(box.shape, np.uint8)
        with warnings.catch_warnings():
            # rasterio warns about an identity transform, which is correct at the origin of level 0
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            return np.asarray(
                rasterize(
                    [(self._geometries[index], self._values[index]) for index in near],
                    out_shape=box.shape,
                    transform=Affine(across, 0, box.left * across, 0, down, box.top * down),
                    dtype="uint8",
                )
            )


def region_bounds(path: Path, feature: Feature) -> tuple[float, float, float, float]:
    """Bounds (left, top, right, bottom) of a region, which must be an upright rectangle."""
    left, top, right, bottom = feature.geometry.bounds
    if feature.geometry.area < _RECTANGULAR * (right - left) * (bottom - top):
        raise DatasetError(
            f"{path}, feature {feature.number} ({feature.name}) is no upright rectangle; draw "
            "areas that are annotated everywhere as rectangles"
        )
    return left, top, right, bottom
