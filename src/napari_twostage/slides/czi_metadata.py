"""Metadata of Zeiss CZI files: pixel size, names of scenes and channels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from napari_twostage.errors import SlideError
from napari_twostage.slides.limits import TEXT_BYTES, XML_DECLARATIONS

if TYPE_CHECKING:
    from napari_twostage.geometry import Scale
    from napari_twostage.slides.channels import Colour

_MICROMETRES = 1e6
"""Micrometres per metre, the unit of the scaling."""
_DIMENSIONS = "./Metadata/Information/Image/Dimensions"


@dataclass(frozen=True, slots=True)
class CziMetadata:
    """What a CZI file's XML states of its pictures."""

    mpp: Scale | None
    """Micrometres per pixel (y, x); None if none are stated."""
    scene_names: dict[int, str]
    """Name of each scene that has one, by its number."""
    channel_names: tuple[str, ...]
    """Name of each channel; empty where none is stated."""

    channel_colours: tuple[Colour | None, ...] = ()
    """Colour in which each channel is displayed; empty if none are stated."""

    def names_of(self, count: int) -> tuple[str, ...]:
        """Name of each of `count` channels, its number where none is stated."""
        stated = self.channel_names
        return tuple(
            stated[index] if index < len(stated) and stated[index] else str(index)
            for index in range(count)
        )


def parse_czi_metadata(text: str) -> CziMetadata:
    """Read the XML of a CZI file.

    Raises
    ------
    SlideError
        If it declares entities, or is too long; the message begins with its verb.
    xml.etree.ElementTree.ParseError
        If it is no XML.
    """
    if len(text) > TEXT_BYTES or any(word.decode() in text for word in XML_DECLARATIONS):
        raise SlideError("has metadata that no microscope writes; export it again")
    root = ET.fromstring(text)  # noqa: S314 - declares no entities
    distances = {
        one.get("Id"): _metres(one) for one in root.iterfind("./Metadata/Scaling/Items/Distance")
    }
    y, x = distances.get("Y"), distances.get("X")
    scenes = root.iterfind(f"{_DIMENSIONS}/S/Scenes/Scene")
    return CziMetadata(
        mpp=(y * _MICROMETRES, x * _MICROMETRES) if y and x else None,
        scene_names={
            int(one.get("Index", "")): name
            for one in scenes
            if (name := one.get("Name")) and one.get("Index", "").isdecimal()
        },
        channel_names=tuple(
            one.get("Name") or "" for one in root.iterfind(f"{_DIMENSIONS}/Channels/Channel")
        ),
        channel_colours=tuple(
            _colour(one.findtext("Color") or "")
            for one in root.iterfind("./Metadata/DisplaySetting/Channels/Channel")
        ),
    )


def _colour(text: str) -> Colour | None:
    """Colour of #AARRGGBB or #RRGGBB; None of anything else."""
    try:
        red, green, blue = bytes.fromhex(text.removeprefix("#")[-6:])
    except ValueError:
        return None
    return red, green, blue


def _metres(distance: ET.Element) -> float | None:
    try:
        value = float(distance.findtext("Value") or "")
    except ValueError:
        return None
    return value if 0 < value < math.inf else None
