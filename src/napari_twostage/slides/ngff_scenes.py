"""Images of an OME-Zarr folder: one, or the series of bioformats2raw, or the fields of a plate."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import zarr

from napari_twostage.errors import ReadError, SlideError
from napari_twostage.io.regular import read_regular
from napari_twostage.io.url import Url
from napari_twostage.slides.limits import TEXT_BYTES, XML_DECLARATIONS
from napari_twostage.slides.ngff_metadata import is_inside, parse_multiscales, shown
from napari_twostage.slides.zarr_arrays import open_node

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from napari_twostage.io.paths import Location

_IMAGES = 1 << 14
"""Most images of a folder: nine fields of each of 1,536 wells."""


@dataclass(frozen=True, slots=True)
class ImagePlace:
    """Where an image of a folder is."""

    name: str
    """Name for users: the file's own, a well's and field's, else its number."""
    path: str = ""
    """Path of its group below the folder; empty for the folder itself."""
    number: int = 0
    """Number among the images that the group describes."""


def find_images(place: Location, attributes: Mapping[str, Any]) -> list[ImagePlace]:
    """List the images of an OME-Zarr folder.

    Parameters
    ----------
    place : Path or Url
        Folder of an image, of a well, of a plate, or one written by bioformats2raw.
    attributes : mapping
        Attributes of its group.

    Returns
    -------
    list of ImagePlace
        At least one.

    Raises
    ------
    SlideError
        If the folder holds none; one line with where there are some.
    TransferError
        If a URL cannot be reached.
    """
    metadata = ome_part(attributes)
    if "plate" in metadata:
        found = list(_plate_images(place, metadata["plate"]))
    elif "well" in metadata:
        found = [ImagePlace(path, path) for path in _paths(metadata["well"], "images")]
    elif "bioformats2raw.layout" in metadata:
        found = _series(place)
    elif "multiscales" in metadata:
        images = parse_multiscales(attributes, place.name)
        names = [image.name or str(number) for number, image in enumerate(images)]
        found = [ImagePlace(name, number=number) for number, name in enumerate(names)]
    else:
        raise _no_image(place, metadata)
    if not found:
        kind, inside = ("plate", "A/1/0") if "plate" in metadata else ("collection of images", "0")
        raise SlideError(
            f"{place.name} is a {kind}, but none of the images that it lists is there; copy it "
            f"again, or open the folder of one image: {place.name}/{inside}, say"
        )
    if len(found) > _IMAGES:
        raise SlideError(
            f"{place.name} lists {len(found):,} images, at most {_IMAGES:,} were expected; "
            "open the folder of one of them"
        )
    return found


def group_attributes(place: Location) -> dict[str, Any]:
    """Attributes of a zarr group; see `open_group`."""
    return dict(open_group(place).attrs.asdict())


def open_group(place: Location) -> zarr.Group:
    """Open a zarr group.

    Raises
    ------
    SlideError
        If there is none.
    """
    if not isinstance(place, Url) and not place.exists():
        raise SlideError(f"{place} does not exist; check the path")
    node = open_node(place)
    if isinstance(node, zarr.Group):
        return node
    raise SlideError(
        f"{place.name} is a plain zarr array without OME metadata; open the folder of the image "
        "that it is a level of, or pass the array itself, with mpp=(y, x) in micrometres"
    )


def ome_part(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of the attributes that OME-Zarr defines, in any version."""
    part = attributes.get("ome", attributes)
    return part if isinstance(part, dict) else {}


def _paths(part: object, key: str) -> list[str]:
    """Paths of the items of a list in the metadata, of those below the folder."""
    items = part.get(key) if isinstance(part, dict) else None
    paths = [one.get("path") for one in items or () if isinstance(one, dict)]
    return [str(path) for path in paths if is_inside(path)]


def _plate_images(place: Location, plate: object) -> Iterator[ImagePlace]:
    for well in _paths(plate, "wells")[:_IMAGES]:
        try:
            fields = _paths(ome_part(group_attributes(place / well)).get("well"), "images")
        except SlideError:
            continue  # a well that was not imaged, or not copied
        for field in fields:
            yield ImagePlace(f"{well}/{field}", f"{well}/{field}")


def _series(place: Location) -> list[ImagePlace]:
    """Images of bioformats2raw's layout, in their order, by the names that its OME-XML states."""
    names = _series_names(place)
    stated: Sequence[object] = ()
    with suppress(SlideError):
        stated = ome_part(group_attributes(place / "OME")).get("series") or ()
    paths = [str(path) for path in stated if is_inside(path)]
    if not paths:
        paths = [str(number) for number in range(len(names))] or list(_numbered(place))
    named = names if len(names) == len(paths) else paths
    return [ImagePlace(name or path, path) for name, path in zip(named, paths, strict=True)]


def _numbered(place: Location) -> Iterator[str]:
    for number in range(_IMAGES):
        try:
            group_attributes(place / str(number))
        except SlideError:
            return
        yield str(number)


def _series_names(place: Location) -> list[str]:
    """Names of the images in OME/METADATA.ome.xml; empty without a readable one."""
    file = place / "OME" / "METADATA.ome.xml"
    try:
        if isinstance(file, Path):
            text = read_regular(file, 0, None, TEXT_BYTES)
        else:
            text = file.read_range(0, TEXT_BYTES)
        if any(word in text for word in XML_DECLARATIONS):
            return []
        root = ET.fromstring(text)  # noqa: S314 - declares no entities
    except (OSError, ValueError, ET.ParseError, ReadError):
        return []
    return [shown(one.get("Name") or "") for one in root if one.tag.rpartition("}")[2] == "Image"]


def _no_image(place: Location, metadata: Mapping[str, Any]) -> SlideError:
    if "labels" in metadata:
        return SlideError(
            f"{place.name} is the folder of an image's labels, no picture; "
            f"open the image: {place.parent}"
        )
    inside = ", ".join(_images_inside(place))
    if inside:
        return SlideError(
            f"{place.name} is no OME-Zarr image, but there are some in it; open one of {inside} "
            "below it"
        )
    return SlideError(
        f"{place.name} has no valid OME-Zarr image metadata ('multiscales' is missing); open the "
        "folder of one image, or pass its zarr array itself with mpp=(y, x) in micrometres"
    )


_LOOKED_AT, _LISTED = 64, 5
"""Folders that are looked into for images, and how many of these a message lists."""


def _images_inside(place: Location) -> list[str]:
    """Paths of images in a folder of this machine, up to two folders down."""
    if isinstance(place, Url):
        return []
    folders = [one for one in sorted(place.iterdir())[:_LOOKED_AT] if one.is_dir()]
    folders += [
        two for one in folders for two in sorted(one.iterdir())[:_LOOKED_AT] if two.is_dir()
    ]
    found = []
    for folder in folders[: 2 * _LOOKED_AT]:
        try:
            if "multiscales" in ome_part(group_attributes(folder)):
                found.append(folder.relative_to(place).as_posix())
        except SlideError:
            continue
        if len(found) == _LISTED:
            break
    return found
