"""QuPath annotations: GeoJSON polygons in level-0 pixels (x, y)."""

from __future__ import annotations

import gzip
import json
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from shapely.geometry import shape

from napari_twostage.training.datasets.samples import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_twostage.geometry import Box, Grid

REGION = "region"
"""Prefix of classifications, such as QuPath's ``Region*``, that mark fully annotated areas."""
_RECTANGULAR = 0.999
"""Smallest share of its bounding box that a rectangle covers, with rounded coordinates."""


@dataclass(frozen=True)
class Feature:
    """One annotation: a polygon, or several that belong together."""

    number: int
    """Position in the file, from 1."""
    geometry: Any
    """A valid shapely polygon or multipolygon."""
    name: str | None
    """Classification, or None."""


def read_features(path: Path) -> list[Feature]:
    """Read a ``.geojson`` or ``.geojson.gz`` file.

    Raises
    ------
    DatasetError
        If the file is not GeoJSON, or a feature is not a valid polygon.
    """
    try:
        raw = path.read_bytes()
        text = gzip.decompress(raw) if path.suffix == ".gz" else raw
        document = json.loads(text)
    except (OSError, EOFError, ValueError) as error:
        raise DatasetError(f"{path} is no readable GeoJSON: {error}") from error
    if isinstance(document, dict):  # a collection, or one feature; older versions write a list
        document = document.get("features", [document])
    if not isinstance(document, list) or not all(isinstance(entry, dict) for entry in document):
        raise DatasetError(f"{path} holds no list of features; export it from QuPath as GeoJSON")
    return [_feature(path, number, entry) for number, entry in enumerate(document, start=1)]


def _feature(path: Path, number: int, entry: dict[str, Any]) -> Feature:
    where = f"{path}, feature {number}"
    try:
        geometry = shape(entry["geometry"])
    except (KeyError, TypeError, ValueError, AttributeError, shapely.errors.ShapelyError) as error:
        raise DatasetError(f"{where} has no geometry that can be read: {error!r}") from error
    if geometry.geom_type not in ("Polygon", "MultiPolygon"):
        raise DatasetError(f"{where} is a {geometry.geom_type}, not a polygon; delete it")
    if geometry.is_empty or not geometry.is_valid:
        reason = shapely.is_valid_reason(geometry) if not geometry.is_empty else "it is empty"
        raise DatasetError(f"{where} is no valid polygon ({reason}); draw it again")
    return Feature(number, geometry, _name(entry))


def _name(entry: dict[str, Any]) -> str | None:
    """Classification of a feature: a name, or in recent QuPath versions a list of names."""
    kind = (entry.get("properties") or {}).get("classification") or {}
    if isinstance(kind, str):
        return kind
    return kind.get("name") or ": ".join(kind.get("names", ())) or None


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
