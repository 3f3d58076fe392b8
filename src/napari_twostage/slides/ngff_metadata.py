"""Metadata of an OME-Zarr image: its levels, axes, pixel size and channels."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_twostage.errors import SlideError
from napari_twostage.geometry import level_factors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_twostage.geometry import Scale, Shape

_MICROMETRES = {
    "angstrom": 1e-4,
    "picometer": 1e-6,
    "nanometer": 1e-3,
    "nm": 1e-3,
    "micrometer": 1.0,
    "micron": 1.0,
    "um": 1.0,
    "µm": 1.0,  # micro sign
    "\u03bcm": 1.0,  # Greek mu
    "millimeter": 1e3,
    "mm": 1e3,
    "centimeter": 1e4,
    "decimeter": 1e5,
    "meter": 1e6,
    "inch": 25.4e3,
    "foot": 304.8e3,
}
"""Micrometres per unit: the UDUNITS names that the format requires, and others in use."""


_AXES = 5
"""Most axes of an image: t, c, z, y and x."""
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
    axes: tuple[str, ...]
    """Name of each array axis, such as ("c", "y", "x")."""
    paths: tuple[str, ...]
    """Path of each level's array in the group, finest first."""
    scales: tuple[Scale, ...]
    """Size of each level's pixel (y, x), in `units`."""
    units: tuple[str | None, str | None]
    """Unit of the y and the x axis; None if none is stated."""
    channel_names: tuple[str, ...]
    """Labels of the channels; empty if none are stated."""

    @property
    def mpp(self) -> Scale | None:
        """Micrometres per pixel (y, x) of level 0; None if a unit is missing or unknown."""
        factors = [_MICROMETRES.get((unit or "").lower()) for unit in self.units]
        if factors[0] is None or factors[1] is None:
            return None
        return self.scales[0][0] * factors[0], self.scales[0][1] * factors[1]

    def factors(self, shapes: Sequence[Shape]) -> tuple[Scale, ...]:
        """Downsample factors from the scales if they fit the levels' shapes, else from the shapes.

        Some writers repeat the scale of level 0 on every level.
        """
        full_y, full_x = self.scales[0]
        stated = tuple((y / full_y, x / full_x) for y, x in self.scales)
        fits = all(
            part > 0 and abs(full / part - length) <= 1
            for factor, shape in zip(stated, shapes, strict=True)
            for full, part, length in zip(shapes[0], factor, shape, strict=True)
        )
        return stated if fits else level_factors(shapes)


def parse_multiscale(attributes: Mapping[str, Any], name: str) -> Multiscale:
    """Read the attributes of a group.

    Parameters
    ----------
    attributes : mapping
        Attributes of the group: with "ome" for 0.5, with "multiscales" for 0.4.
    name : str
        Name of the image in error messages.

    Raises
    ------
    SlideError
        If these are not valid attributes of an OME-Zarr image.
    """
    try:
        metadata = attributes.get("ome", attributes)
        image = metadata["multiscales"][0]
        axes = image["axes"]
        shared = _items(image, "coordinateTransformations")
        names = _axis_names(axes)
        y, x = names.index("y"), names.index("x")
        levels = _levels(image)
        return Multiscale(
            version=_shown(metadata.get("version") or image.get("version") or "of unknown version"),
            axes=names,
            paths=tuple(_inside(level["path"]) for level in levels),
            scales=tuple(
                _scale([*level["coordinateTransformations"], *shared], y, x) for level in levels
            ),
            units=(_unit(axes[y]), _unit(axes[x])),
            channel_names=_channel_names(metadata.get("omero") or {}),
        )
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise SlideError(
            f"{name} has no valid OME-Zarr 0.4 or 0.5 image metadata ({_reason(error)}); open the "
            "folder of one image, or pass its zarr array itself with mpp=(y, x) in micrometres"
        ) from error


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


def _axis_names(axes: list[Any]) -> tuple[str, ...]:
    names = tuple(_shown(axis["name"]) for axis in axes[: _AXES + 1])
    if len(set(names)) < len(names) or len(names) > _AXES:
        raise ValueError(f"{len(axes)} axes, up to {_AXES} of different names were expected")
    if not {"y", "x"} <= set(names):
        raise ValueError("axes y and x are missing")
    return names


def _inside(path: object) -> str:
    """Path of a level, which must not lead out of the image's folder."""
    parts = path.split("/") if isinstance(path, str) and len(path) <= _LONGEST_PATH else [""]
    if any(part in {"", ".", ".."} or _NO_NAME.search(part) for part in parts):
        raise ValueError(f"a level's path {_shown(path)!r}, which is none inside the image")
    return "/".join(parts)


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


def _channel_names(omero: Mapping[str, Any]) -> tuple[str, ...]:
    """Take the channel labels of the optional "omero" part."""
    return tuple(_shown(channel.get("label") or "") for channel in _items(omero, "channels"))


def _shown(text: object, most: int = 40) -> str:
    """Words of a file, fit for one line."""
    line = "".join(letter if letter.isprintable() else " " for letter in str(text)[:most])
    return " ".join(line.split())


def _reason(error: Exception) -> str:
    """Reason why the metadata are not valid, in words."""
    text = _shown(error, 160)
    return f"{text} is missing" if isinstance(error, KeyError) else text
