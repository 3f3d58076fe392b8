"""Check of the OME-XML of a TIFF file, before a library makes lists as long as it says."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from napari_twostage.errors import SlideError
from napari_twostage.slides import limits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_twostage.geometry import Shape
    from napari_twostage.slides.tiff_tables import Tables

_NAMED_PER_TABLE = 16
"""Planes that all parts of the XML together may name, for each table that a file may have."""


def check_ome(tables: Tables, name: str) -> None:
    """Refuse OME-XML that states absurdly many planes, or places them in other files.

    Parameters
    ----------
    tables : Tables
        The file's tables; nothing is checked unless the first description is OME-XML.
    name : str
        Name of the file.

    Raises
    ------
    SlideError
        The message begins with its verb, to follow the file's name.
    ValueError
        If a number is none.
    """
    text = tables.description.rstrip(b"\0 \t\r\n")
    if not text.endswith(b"OME>"):
        return
    try:
        root = ET.fromstring(text.decode("utf-8", "replace"))  # noqa: S314 - declares no entities
    except ET.ParseError:
        return  # then no reader takes anything from it
    images = [pixels for image in _parts(root, "Image") for pixels in _parts(image, "Pixels")]
    _check_one_file(root, images, name)
    _refuse_above(
        sum(_check_planes(pixels, tables.shapes) for pixels in images),
        _NAMED_PER_TABLE * limits.TIFF_TABLES,
    )
    for notes in _parts(root, "StructuredAnnotations"):
        for along in notes.iterfind(".//*[@Start]"):
            if along.tag[:-1].endswith("Along"):
                _check_steps(along)


def _parts(element: ET.Element, name: str) -> list[ET.Element]:
    """Children of any name that ends so, as the library takes them."""
    return [part for part in element if part.tag.endswith(name)]


def _check_one_file(root: ET.Element, images: Sequence[ET.Element], name: str) -> None:
    """Refuse planes in other files, whose names may be those of anything on this machine."""
    known = root.get("UUID")
    places = {
        (uuid.text, uuid.get("FileName", ""))
        for pixels in images
        for part in _parts(pixels, "TiffData")
        for uuid in _parts(part, "UUID")
    }
    others = {text for text, file in places if text != known and file.lower() != name.lower()}
    # without an identifier of the whole, the one of its parts may be a renamed file's own
    if len(others) > (known is None):
        raise SlideError("is spread over several files; export it as one OME-TIFF")


def _check_planes(pixels: ET.Element, shapes: Sequence[Shape]) -> int:
    """Refuse sizes beyond the limits; return how many planes the parts name."""
    sizes = [_whole(pixels, f"Size{axis}", 1) for axis in "ZCT"]
    for size in (*sizes, prod(sizes)):
        _refuse_above(size, limits.TIFF_TABLES)
    named, tables = 0, set[int]()
    for part in _parts(pixels, "TiffData"):
        first = _whole(part, "IFD", 0)
        count = _whole(part, "NumPlanes", 1 if "IFD" in part.attrib else 0)
        count = _whole(part, "PlaneCount", count) or len(shapes)
        for number in (first, count, *(_whole(part, f"First{axis}", 0) for axis in "ZCT")):
            _refuse_above(number, limits.TIFF_TABLES)
        named += count
        _refuse_above(named, _NAMED_PER_TABLE * limits.TIFF_TABLES)
        tables.update(range(first, min(first + count, len(shapes))))
    if tables:
        # readers count as many planes as the pixels of one table go into all
        area = prod(shapes[0]) if 0 in tables else min(prod(shapes[one]) for one in tables)
        samples = max(
            1, 1, *(_whole(one, "SamplesPerPixel", 1) for one in _parts(pixels, "Channel"))
        )
        plane = _whole(pixels, "SizeY", 1) * _whole(pixels, "SizeX", 1)
        _refuse_above(prod(sizes) * plane * samples // max(1, area), limits.TIFF_TABLES)
    return named


def _check_steps(along: ET.Element) -> None:
    """Refuse an axis of very many steps."""
    start, end, step = (
        float(along.get(key, default)) for key, default in (("Start", 0), ("End", 0), ("Step", 1))
    )
    if not abs(end - start) <= abs(step) * limits.TIFF_TABLES:
        raise SlideError("has an axis without end in its OME-XML; export one plane")


def _whole(element: ET.Element, key: str, default: int) -> int:
    return int(element.get(key, default))


def _refuse_above(number: int, limit: int) -> None:
    if not 0 <= number <= limit:
        raise SlideError(
            f"states {number:,} planes in its OME-XML, at most {limit:,} can be read; "
            "export one plane or a projection"
        )
