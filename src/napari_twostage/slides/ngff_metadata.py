"""Metadata of an OME-Zarr image: its levels, axes, pixel size and channels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_twostage.errors import SlideError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_twostage.geometry import Scale

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
    metadata = attributes.get("ome", attributes)
    try:
        image = metadata["multiscales"][0]
        axes = image["axes"]
        datasets = image["datasets"]
        shared = image.get("coordinateTransformations", [])
        names = tuple(str(axis["name"]) for axis in axes)
        y, x = names.index("y"), names.index("x")
        return Multiscale(
            version=str(metadata.get("version") or image.get("version") or "of unknown version"),
            axes=names,
            paths=tuple(str(dataset["path"]) for dataset in datasets),
            scales=tuple(
                _scale([*dataset["coordinateTransformations"], *shared], y, x)
                for dataset in datasets
            ),
            units=(axes[y].get("unit"), axes[x].get("unit")),
            channel_names=_channel_names(metadata.get("omero", {})),
        )
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise SlideError(
            f"{name} has no valid OME-Zarr 0.4 or 0.5 image metadata ({_reason(error)}); open the "
            "folder of one image, or pass its zarr array itself with mpp=(y, x) in micrometres"
        ) from error


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
    return tuple(str(channel.get("label", "")) for channel in omero.get("channels", []))


def _reason(error: Exception) -> str:
    """Reason why the metadata are not valid, in words."""
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)
