"""Annotations that QuPath exports as GeoJSON, in pixels (x, y) of level 0."""

from __future__ import annotations

import gzip
import json
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from shapely.geometry import shape

from napari_twostage.training.datasets.sample import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_twostage.geometry import Box, Grid

REGION = "region"
"""Classifications that begin so, such as QuPath's ``Region*``, say where all is annotated."""
_RECTANGULAR = 0.999
"""Share of its bounding box that a rectangle covers, however its corners were rounded."""


@dataclass(frozen=True)
class Feature:
    """One polygon, or several that belong together."""

    number: int
    """Its place in the file, from 1."""
    geometry: Any
    """A valid shapely polygon or multipolygon."""
    name: str | None
    """The classification; None where there is none."""


def read_features(path: Path) -> list[Feature]:
    """Read a ``.geojson`` or ``.geojson.gz`` file.

    Raises
    ------
    DatasetError
        If it is no GeoJSON, or a feature is no valid polygon.
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
    """Find the classification: a name, or as recent versions write it a list of names."""
    kind = (entry.get("properties") or {}).get("classification") or {}
    if isinstance(kind, str):
        return kind
    return kind.get("name") or ": ".join(kind.get("names", ())) or None


def is_region(feature: Feature, names: Iterable[str]) -> bool:
    """Whether it says where all is annotated, unless a class of that name was asked for."""
    name = feature.name or ""
    return name.lower().startswith(REGION) and name not in names


class Drawing:
    """Polygons that can be drawn on any part of a grid.

    Where they overlap the smaller one is on top, as a gland within a tumour is meant to be.

    Parameters
    ----------
    geometries : list of shapely polygons
        In pixels (x, y) of level 0.
    values : list of int
        The class of each.
    """

    def __init__(self, geometries: list[Any], values: list[int]) -> None:
        order = np.argsort(-shapely.area(geometries), kind="stable")
        self._geometries = [geometries[index] for index in order]
        self._values = [values[index] for index in order]
        self._tree = shapely.STRtree(self._geometries)

    def bounds(self) -> tuple[float, float, float, float]:
        """(x, y) of the first and of the last corner."""
        left, top, right, bottom = shapely.total_bounds(self._geometries).tolist()
        return left, top, right, bottom

    def draw(self, box: Box, grid: Grid) -> NDArray[np.uint8]:
        """Draw a box of a grid: a pixel has the class of the polygon that holds its centre."""
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
            # pixels lie on a slide, not on the Earth: the first ones of level 0 are the identity
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
    """Corners (x, y) of a region, which must be an upright rectangle."""
    left, top, right, bottom = feature.geometry.bounds
    if feature.geometry.area < _RECTANGULAR * (right - left) * (bottom - top):
        raise DatasetError(
            f"{path}, feature {feature.number} ({feature.name}) is no upright rectangle; draw "
            "areas that are annotated everywhere as rectangles"
        )
    return left, top, right, bottom
