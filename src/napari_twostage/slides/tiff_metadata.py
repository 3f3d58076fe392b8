"""Pixel sizes and channel names in the metadata of the TIFF family."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from napari_twostage.slides.limits import PLAUSIBLE_MPP

if TYPE_CHECKING:
    import tifffile

    from napari_twostage.geometry import Scale, Shape

_MICROMETRES = {"m": 1e6, "cm": 1e4, "mm": 1e3, "µm": 1.0, "um": 1.0, "nm": 1e-3, "Å": 1e-4}
_MICROMETRES |= {"μm": 1.0, "micron": 1.0, "microns": 1.0, "micrometer": 1.0, "inch": 25400.0}
_RESOLUTION_UNITS = {2: 25400.0, 3: 1e4, 4: 1e3, 5: 1.0}
_PRINT_RESOLUTIONS = {72, 96, 100, 150, 200, 300, 600, 1200}
"""Pixels per inch or centimetre that programs write by default."""


def stated_pixel_size(
    tif: tifffile.TiffFile, series: tifffile.TiffPageSeries
) -> tuple[Scale, str] | None:
    """Find the pixel size of level 0 in the format's own metadata.

    Parameters
    ----------
    tif : tifffile.TiffFile
        Open file.
    series : tifffile.TiffPageSeries
        Image whose first level counts.

    Returns
    -------
    ((y, x) micrometres per pixel, source in words), or None if none is stated.
    """
    page = series.keyframe
    shape = (page.imagelength, page.imagewidth)
    vendor = {"svs": _aperio, "scn": _leica, "bif": _ventana, "ome": _ome}.get(series.kind)
    stated = vendor(tif, series, shape) if vendor else None
    if stated is None and tif.is_imagej:
        stated = _imagej(tif, page)
    if stated is None:
        stated = _resolution_tags(page, "NDPI resolution" if tif.is_ndpi else "TIFF resolution")
    return stated


def channel_names(tif: tifffile.TiffFile, shape: Shape, count: int) -> list[str]:
    """Names of the channels of the image of `shape`, from OME-XML; else their numbers."""
    pixels = _ome_pixels(tif, shape) if tif.is_ome else None
    found = [] if pixels is None else [c.get("Name", "") for c in pixels.findall("{*}Channel")]
    return [
        found[channel] if len(found) == count and found[channel] else str(channel)
        for channel in range(count)
    ]


def tiles_overlap(page: tifffile.TiffPage) -> bool:
    """Whether a Ventana scanner states that neighbouring tiles share pixels."""
    overlaps = re.findall(r"""\bOverlap[XY]\s*=\s*["'](-?\d+)["']""", _xmp(page))
    return any(int(overlap) for overlap in overlaps)


def _checked(y: float, x: float, source: str) -> tuple[Scale, str] | None:
    """The size and its source; None unless both sides are finite and above 0."""
    return ((y, x), source) if min(y, x) > 0 and math.isfinite(y * x) else None


def _aperio(
    _: tifffile.TiffFile, series: tifffile.TiffPageSeries, __: Shape
) -> tuple[Scale, str] | None:
    found = re.search(r"\bMPP\s*=\s*([0-9.]+(?:[eE][-+]?\d+)?)", series.keyframe.description)
    size = _number(found[1]) if found else 0.0
    return _checked(size, size, "Aperio MPP")


def _leica(
    tif: tifffile.TiffFile, _: tifffile.TiffPageSeries, shape: Shape
) -> tuple[Scale, str] | None:
    root = _parsed(tif.scn_metadata)
    for image in () if root is None else root.iterfind(".//{*}image"):
        pixels, view = image.find("{*}pixels"), image.find("{*}view")
        if pixels is None or view is None:
            continue
        # the view is in nanometres; the size of level 0 tells which image it is
        if any(_pixels(part, "sizeY", "sizeX") == shape for part in (pixels, *pixels)):
            nanometres = _pixels(view, "sizeY", "sizeX")
            return _checked(
                nanometres[0] / shape[0] / 1000, nanometres[1] / shape[1] / 1000, "Leica SCN view"
            )
    return None


def _ventana(
    tif: tifffile.TiffFile, _: tifffile.TiffPageSeries, __: Shape
) -> tuple[Scale, str] | None:
    for page in tif.pages:
        found = re.search(
            r"""<iScan\b[^<>]*\bScanRes\s*=\s*["']([0-9.]+)["']""", _xmp(page.aspage())
        )
        if found:
            size = _number(found[1])
            return _checked(size, size, "Ventana ScanRes")
    return None


def _ome(
    tif: tifffile.TiffFile, _: tifffile.TiffPageSeries, shape: Shape
) -> tuple[Scale, str] | None:
    pixels = _ome_pixels(tif, shape)
    if pixels is None:
        return None
    y, x = (
        _number(pixels.get(f"PhysicalSize{axis}", "0"))
        * _MICROMETRES.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"), 0.0)
        for axis in "YX"
    )
    return _checked(y, x, "OME PhysicalSize")


def _imagej(tif: tifffile.TiffFile, page: tifffile.TiffPage) -> tuple[Scale, str] | None:
    unit = str((tif.imagej_metadata or {}).get("unit", "")).replace("\\u00B5", "µ")
    per_unit = _resolution(page)
    if per_unit is None:
        return None
    length = _MICROMETRES.get(unit, 0.0)
    return _checked(length / per_unit[0], length / per_unit[1], "ImageJ unit and TIFF resolution")


def _resolution_tags(page: tifffile.TiffPage, source: str) -> tuple[Scale, str] | None:
    """Size by XResolution if it can be a microscope's: most programs write 72 or 300 by default."""
    per_unit = _resolution(page)
    length = _RESOLUTION_UNITS.get(int(page.tags.valueof(296, 2)))
    if per_unit is None or length is None:
        return None
    size = (length / per_unit[0], length / per_unit[1])
    low, high = PLAUSIBLE_MPP  # screens and printers are coarser
    if not all(low <= part <= high for part in size) or per_unit[0] in _PRINT_RESOLUTIONS:
        return None
    return _checked(*size, source)


def _resolution(page: tifffile.TiffPage) -> Scale | None:
    """Pixels per unit (y, x)."""
    values = [page.tags.valueof(code) for code in (283, 282)]
    if not all(isinstance(value, tuple) and len(value) == 2 and all(value) for value in values):
        return None
    (y, y_part), (x, x_part) = values
    return y / y_part, x / x_part


def _ome_pixels(tif: tifffile.TiffFile, shape: Shape) -> ET.Element | None:
    root = _parsed(tif.ome_metadata)
    for pixels in () if root is None else root.iterfind("{*}Image/{*}Pixels"):
        if _pixels(pixels, "SizeY", "SizeX") == shape:
            return pixels
    return None


def _pixels(element: ET.Element, rows: str, columns: str) -> Shape:
    return int(_number(element.get(rows, "0"))), int(_number(element.get(columns, "0")))


def _xmp(page: tifffile.TiffPage) -> str:
    value = page.tags.valueof(700, b"")
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        return 0.0
    return number if math.isfinite(number) else 0.0


def _parsed(text: str | None) -> ET.Element | None:
    try:
        return ET.fromstring(text) if text else None  # noqa: S314 - declares no entities
    except ET.ParseError:
        return None
