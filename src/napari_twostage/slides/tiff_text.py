"""Texts and numbers in the tags of TIFF pages."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    import tifffile

    from napari_twostage.geometry import Scale, Shape


def number(text: str | None) -> float:
    """A number in a text, with a decimal point or comma; 0 if it is none, or not finite.

    Examples
    --------
    >>> number("0,4990"), number("1e-3"), number("unknown")
    (0.499, 0.001, 0.0)
    """
    plain = (text or "").strip().strip("\"'")
    try:
        value = float(plain.replace(",", ".") if plain.count(",") == 1 else plain)
    except ValueError:
        return 0.0
    return value if math.isfinite(value) else 0.0


def parsed(text: str | None) -> ET.Element | None:
    """Root of an XML text; None if it is none."""
    try:
        return ET.fromstring(text) if text else None  # noqa: S314 - declares no entities
    except ET.ParseError:
        return None


def sides(element: ET.Element, rows: str, columns: str) -> Shape:
    """Rows and columns that two attributes state; 0 for those that do not."""
    return int(number(element.get(rows))), int(number(element.get(columns)))


def tag_text(text: str, tag: str) -> str:
    """Content of the first XML element of a name."""
    found = re.search(rf"<{tag}>\s*([^<]*?)\s*</{tag}>", text)
    return found[1] if found else ""


def xmp(page: tifffile.TiffPage) -> str:
    """Text of the tag XMP."""
    value = page.tags.valueof(700, b"")
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def resolution(page: tifffile.TiffPage) -> Scale | None:
    """Pixels per unit (y, x) by the tags YResolution and XResolution."""
    values = [page.tags.valueof(code) for code in (283, 282)]
    if not all(isinstance(value, tuple) and len(value) == 2 and all(value) for value in values):
        return None
    (y, y_part), (x, x_part) = values
    return y / y_part, x / x_part
