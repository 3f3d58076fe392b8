"""Pixel size of an image in a TIFF file, by its maker's words, else by its resolution."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_twostage.slides.limits import PLAUSIBLE_MPP
from napari_twostage.slides.tiff_images import philips_spacings
from napari_twostage.slides.tiff_text import number, resolution, sides, tag_text, xmp

if TYPE_CHECKING:
    import tifffile

    from napari_twostage.geometry import Scale
    from napari_twostage.slides.tiff_images import TiffImage

_INCH = 25_400.0
_UNITS = {
    "Ym": 1e30, "Zm": 1e27, "Em": 1e24, "Pm": 1e21, "Tm": 1e18, "Gm": 1e15, "Mm": 1e12,
    "km": 1e9, "hm": 1e8, "dam": 1e7, "m": 1e6, "dm": 1e5, "cm": 1e4, "mm": 1e3, "µm": 1.0,
    "nm": 1e-3, "pm": 1e-6, "fm": 1e-9, "am": 1e-12, "zm": 1e-15, "ym": 1e-18, "Å": 1e-4,
    "thou": _INCH / 1000, "li": _INCH / 12, "in": _INCH, "ft": 12 * _INCH, "yd": 36 * _INCH,
    "mi": 63_360 * _INCH, "pt": _INCH / 72, "ua": 1.495978707e17, "ly": 9.4607304725808e21,
    "pc": 3.0856775814913673e22,
}  # fmt: skip
"""Micrometres of each unit of length in OME-XML (schema 2016-06, UnitsLength); ``pixel`` and
``reference frame`` are no lengths."""
_SPELT = {
    "um": "µm", "μm": "µm", "\\u00b5m": "µm", "micron": "µm", "microns": "µm",
    "micrometer": "µm", "micrometers": "µm", "micrometre": "µm", "nanometer": "nm",
    "nanometers": "nm", "millimeter": "mm", "millimeters": "mm", "centimeter": "cm",
    "meter": "m", "inch": "in", "inches": "in", "mil": "thou", "angstrom": "Å",
}  # fmt: skip
"""Other spellings, in lower case."""
_RESOLUTION_UNITS = {2: _INCH, 3: 1e4, 4: 1e3, 5: 1.0}
"""Micrometres of TIFF's units of resolution: inch, centimetre, and two that are no standard."""
_PRINT_RESOLUTIONS = (72, 96, 100, 150, 200, 300, 600, 1200)
"""Pixels per inch that programs write by default, by mistake also as pixels per centimetre."""
_PRINT_TOLERANCE = 0.002
_SAME_SIZE = 0.02
"""Relative difference up to which two sources agree."""


@dataclass(frozen=True, slots=True)
class StatedSize:
    """Pixel size that a file states for one of its images."""

    mpp: Scale
    """Micrometres per pixel (y, x)."""
    source: str
    """Source in words."""


def stated_pixel_size(tif: tifffile.TiffFile, image: TiffImage) -> tuple[Scale, str] | None:
    """Find the pixel size of an image's finest level.

    Parameters
    ----------
    tif : tifffile.TiffFile
        Open file.
    image : TiffImage
        One of its images.

    Returns
    -------
    ((y, x) micrometres per pixel, source in words), or None if none is stated.
    """
    found = _by_maker(tif, image) or _by_resolution(tif, image)
    return None if found is None else (found.mpp, found.source)


def contradiction(tif: tifffile.TiffFile, image: TiffImage) -> str | None:
    """Notice of two sources of the pixel size that differ by more than 2 %; None if they agree."""
    maker, tags = _by_maker(tif, image), _by_resolution(tif, image)
    if maker is None or tags is None:
        return None
    if all(abs(b / a - 1) <= _SAME_SIZE for a, b in zip(maker.mpp, tags.mpp, strict=True)):
        return None
    return (
        f"the file states two pixel sizes: {_shown(maker)} is used, {_shown(tags)} is not; "
        "correct it with mpp=, or --mpp"
    )


def length_of_unit(unit: str) -> float | None:
    """Micrometres of a unit of length; None if it is none that is known.

    Examples
    --------
    >>> [length_of_unit(unit) for unit in ("nm", "in", "microns", "furlong")]
    [0.001, 25400.0, 1.0, None]
    """
    plain = unit.strip()
    return _UNITS.get(plain) or _UNITS.get(_SPELT.get(plain.lower(), ""))


def unknown_unit(image: TiffImage) -> str | None:
    """Unit of an OME pixel size that is no unit of length; None if it is one, or none is stated."""
    pixels = None if image.about is None else image.about.find("{*}Pixels")
    units = [] if pixels is None else [pixels.get(f"PhysicalSize{a}Unit", "µm") for a in "XY"]
    return next((unit for unit in units if length_of_unit(unit) is None), None)


def _by_maker(tif: tifffile.TiffFile, image: TiffImage) -> StatedSize | None:
    if image.about is not None:
        return _leica(image) if image.about.find("{*}view") is not None else _ome(image)
    if not image.scan:
        return None
    if tif.is_svs:
        return _aperio(image)
    if tif.is_bif:
        return _ventana(tif)
    if tif.is_philips:
        return _philips(tif)
    if tif.is_imagej:
        return _imagej(tif, image)
    if tif.is_qpi:
        return _perkin_elmer(image)
    return None


def _checked(y: float, x: float, source: str) -> StatedSize | None:
    """The size and its source; None unless both sides are finite and above 0."""
    return StatedSize((y, x), source) if min(y, x) > 0 and math.isfinite(y * x) else None


def _aperio(image: TiffImage) -> StatedSize | None:
    found = re.search(r"\bMPP\s*=\s*([0-9.,]+(?:[eE][-+]?\d+)?)", image.keyframe.description)
    size = number(found[1].rstrip(",.")) if found else 0.0
    return _checked(size, size, "Aperio MPP")


def _leica(image: TiffImage) -> StatedSize | None:
    view = None if image.about is None else image.about.find("{*}view")
    if view is None:
        return None
    (height, width), (rows, columns) = sides(view, "sizeY", "sizeX"), image.shape
    return _checked(height / rows / 1000, width / columns / 1000, "Leica SCN view")  # of nm


def _ventana(tif: tifffile.TiffFile) -> StatedSize | None:
    for page in tif.pages:
        found = re.search(
            r"""<iScan\b[^<>]*\bScanRes\s*=\s*["']([0-9.,]+)["']""", xmp(page.aspage())
        )
        if found:
            size = number(found[1])
            return _checked(size, size, "Ventana ScanRes")
    return None


def _philips(tif: tifffile.TiffFile) -> StatedSize | None:
    spacings = philips_spacings(tif)
    if not spacings:
        return None
    return _checked(spacings[0][0] * 1000, spacings[0][1] * 1000, "Philips DICOM_PIXEL_SPACING")


def _perkin_elmer(image: TiffImage) -> StatedSize | None:
    size = number(tag_text(image.keyframe.description, "PixelSizeMicrons"))
    return _checked(size, size, "QPTIFF PixelSizeMicrons")


def _ome(image: TiffImage) -> StatedSize | None:
    pixels = None if image.about is None else image.about.find("{*}Pixels")
    if pixels is None:
        return None
    stated = [
        number(pixels.get(f"PhysicalSize{axis}"))
        * (length_of_unit(pixels.get(f"PhysicalSize{axis}Unit", "µm")) or 0.0)
        for axis in "YX"
    ]
    y, x = stated
    return _checked(y or x, x or y, "OME PhysicalSize")


def _imagej(tif: tifffile.TiffFile, image: TiffImage) -> StatedSize | None:
    """Size by ImageJ's own unit; its resolutions are pixels per that unit."""
    facts = tif.imagej_metadata or {}
    per_unit = resolution(image.keyframe)
    if per_unit is None:
        return None
    x_unit = str(facts.get("unit", ""))
    y_unit = str(facts.get("yunit", "")) or x_unit
    y, x = ((length_of_unit(unit) or 0.0) for unit in (y_unit, x_unit))
    size = _checked(y / per_unit[0], x / per_unit[1], "ImageJ unit and TIFF resolution")
    return None if size is None or _is_print(_INCH / size.mpp[1]) else size


def _by_resolution(tif: tifffile.TiffFile, image: TiffImage) -> StatedSize | None:
    """Size by XResolution if it can be a microscope's: programs write those of print."""
    page = image.keyframe
    per_unit = resolution(page)
    length = _RESOLUTION_UNITS.get(int(page.tags.valueof(296, 2)))
    if per_unit is None or length is None:
        return None
    mpp = (length / per_unit[0], length / per_unit[1])
    low, high = PLAUSIBLE_MPP
    # per centimetre, some programs write the number that is meant per inch
    is_print = _is_print(_INCH / mpp[1]) or _is_print(per_unit[1])
    if not all(low <= part <= high for part in mpp) or is_print:
        return None
    maker = "NDPI" if tif.is_ndpi else "QPTIFF" if tif.is_qpi else "TIFF"
    return _checked(*mpp, f"{maker} resolution")


def _is_print(per_inch: float) -> bool:
    """Whether a resolution is one of print."""
    return any(abs(per_inch / usual - 1) <= _PRINT_TOLERANCE for usual in _PRINT_RESOLUTIONS)


def _shown(size: StatedSize) -> str:
    y, x = size.mpp
    return f"{y:.4g} × {x:.4g} µm ({size.source})"
