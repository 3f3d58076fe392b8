"""Metadata of OME-Zarr images (NGFF 0.1 to 0.5): levels, axes, pixel size and channels."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_twostage.errors import SlideError
from napari_twostage.geometry import level_factors
from napari_twostage.slides.factors import stated_factors
from napari_twostage.slides.ngff_units import micrometres

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_twostage.geometry import Scale, Shape

_AXES = 5
"""Most axes of an image: t, c, z, y and x."""
_IMPLIED_AXES = ("t", "c", "z", "y", "x")
"""Axes of the versions 0.1 and 0.2, which do not name them."""
_TYPES = {"channel": "c", "time": "t"}
"""Names of axes, by types that tell them whatever they are called."""
_LEVELS = 64
"""Most levels of an image; sixty halvings leave nothing of any slide."""
_NO_NAME = re.compile(r"[\x00-\x1f\x7f\\:]")
"""Characters that no name of a level has; the last two make a path of Windows of it."""
_LONGEST_PATH = 200


@dataclass(frozen=True, slots=True)
class Multiscale:
    """One multiscale image of an OME-Zarr group."""

    version: str
    """Version of the format: "0.4", "0.5"."""
    name: str
    """Name of the image; empty if none is stated."""
    axes: tuple[str, ...]
    """Name of each array axis, such as ("c", "y", "x")."""
    paths: tuple[str, ...]
    """Path of each level's array in the group, finest first."""
    scales: tuple[Scale, ...] | None
    """Size of each level's pixel (y, x), in `units`; None in versions before 0.4."""
    units: tuple[str | None, str | None]
    """Unit of the y and the x axis; None if none is stated."""
    channel_names: tuple[str, ...]
    """Labels of the channels; empty if none are stated."""
    channel_colours: tuple[str, ...]
    """Colours of the channels, RRGGBB in hexadecimal digits; empty if none are stated."""
    is_labels: bool
    """Whether the pixels are labels, a segmentation of another image."""

    @property
    def mpp(self) -> Scale | None:
        """Micrometres per pixel (y, x) of level 0; None if a unit is missing or unknown."""
        sizes = [micrometres(unit) for unit in self.units]
        if self.scales is None or sizes[0] is None or sizes[1] is None:
            return None
        return self.scales[0][0] * sizes[0], self.scales[0][1] * sizes[1]

    def factors(self, shapes: Sequence[Shape], chunks: Sequence[Shape]) -> tuple[Scale, ...]:
        """Level-0 pixels per pixel (y, x) of each level; see `stated_factors`.

        Parameters
        ----------
        shapes, chunks : sequence of (int, int)
            Rows and columns of each level, and of its chunks.
        """
        if self.scales is None:
            return level_factors(shapes)
        full_y, full_x = self.scales[0]
        return stated_factors([(y / full_y, x / full_x) for y, x in self.scales], shapes, chunks)


def parse_multiscales(attributes: Mapping[str, Any], name: str) -> list[Multiscale]:
    """Read the images that the attributes of a group describe, usually one.

    Parameters
    ----------
    attributes : mapping
        Attributes of the group: with "ome" for 0.5, with "multiscales" before.
    name : str
        Name of the image in error messages.

    Raises
    ------
    SlideError
        If these are not valid attributes of an OME-Zarr image.
    """
    try:
        metadata = attributes.get("ome", attributes)
        metadata["multiscales"][0]  # the format requires one at least
        return [_parse_one(metadata, one, name) for one in _items(metadata, "multiscales")]
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise SlideError(
            f"{name} has no valid OME-Zarr image metadata, versions 0.1 to 0.5 "
            f"({_reason(error)}); open the "
            "folder of one image, or pass its zarr array itself with mpp=(y, x) in micrometres"
        ) from error


def _parse_one(metadata: Mapping[str, Any], image: Mapping[str, Any], name: str) -> Multiscale:
    version = shown(metadata.get("version") or image.get("version") or "of unknown version")
    if "coordinateSystems" in image or "coordinateSystems" in metadata:
        raise SlideError(
            f"{name} is OME-Zarr {version}, with coordinate systems; versions up to 0.5 are read: "
            "convert it to 0.5"
        )
    axes, units = _axes(image)
    levels = _levels(image)
    shared = _items(image, "coordinateTransformations")
    y, x = axes.index("y"), axes.index("x")
    channels = _items(metadata.get("omero") or {}, "channels")
    return Multiscale(
        version=version,
        name=shown(image.get("name") or ""),
        axes=axes,
        paths=tuple(_inside(level["path"]) for level in levels),
        scales=None
        if units is None
        else tuple(
            _scale([*level["coordinateTransformations"], *shared], y, x) for level in levels
        ),
        units=(units[y], units[x]) if units else (None, None),
        channel_names=tuple(shown(channel.get("label") or "") for channel in channels),
        channel_colours=tuple(shown(channel.get("color") or "") for channel in channels),
        is_labels="image-label" in metadata,
    )


def _items(image: Mapping[str, Any], key: str) -> list[Any]:
    """A list of the metadata; empty if it is left out."""
    items = image.get(key) or []
    if not isinstance(items, list):
        raise TypeError(f"{key} is no list")
    return items


def _levels(image: Mapping[str, Any]) -> list[Any]:
    levels = _items(image, "datasets")
    if not 0 < len(levels) <= _LEVELS:
        raise ValueError(f"{len(levels)} levels, 1 to {_LEVELS} were expected")
    return levels


def _axes(image: Mapping[str, Any]) -> tuple[tuple[str, ...], list[str | None] | None]:
    """Names of the axes and their units; None for units before 0.4, which has no scales."""
    axes = image.get("axes")
    if axes is None and not any("coordinateTransformations" in one for one in _levels(image)):
        return _IMPLIED_AXES, None
    if not isinstance(axes, list) or len(axes) > _AXES:
        raise ValueError(f"a list of up to {_AXES} axes was expected")
    bare = all(isinstance(axis, str) for axis in axes)
    names = tuple(_axis_name({"name": axis} if bare else axis) for axis in axes)
    if len(set(names)) < len(names):
        raise ValueError(f"{len(axes)} axes, up to {_AXES} of different names were expected")
    if not {"y", "x"} <= set(names):
        raise ValueError("axes y and x are missing")
    return names, None if bare else [_unit(axis) for axis in axes]


def _axis_name(axis: Mapping[str, Any]) -> str:
    return _TYPES.get(str(axis.get("type")), shown(axis["name"]).lower())


def _inside(path: object) -> str:
    """Path of a level, which must not lead out of the image's folder."""
    if not is_inside(path):
        raise ValueError(f"a level's path {shown(path)!r}, which is none inside the image")
    return "/".join(str(path).split("/"))


def is_inside(path: object) -> bool:
    """Whether a path of the metadata is one below the folder that states it."""
    parts = path.split("/") if isinstance(path, str) and len(path) <= _LONGEST_PATH else [""]
    return not any(part in {"", ".", ".."} or _NO_NAME.search(part) for part in parts)


def _unit(axis: Mapping[str, Any]) -> str | None:
    unit = axis.get("unit")
    return unit if isinstance(unit, str) else None


def _scale(transformations: list[dict[str, Any]], y: int, x: int) -> Scale:
    """Multiply all scalings that apply to one level."""
    scale = (1.0, 1.0)
    for step in transformations:
        if step["type"] == "scale":
            scale = (scale[0] * float(step["scale"][y]), scale[1] * float(step["scale"][x]))
    if not all(0 < part < math.inf for part in scale):
        raise ValueError(f"a scale of {scale}")
    return scale


def shown(text: object, most: int = 40) -> str:
    """Words of a file, fit for one line."""
    line = "".join(letter if letter.isprintable() else " " for letter in str(text)[:most])
    return " ".join(line.split())


def _reason(error: Exception) -> str:
    """Reason why the metadata are not valid, in words."""
    text = shown(error, 160)
    return f"{text} is missing" if isinstance(error, KeyError) else text
