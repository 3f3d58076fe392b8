"""Words of the command line to values; what does not fit is told as argparse tells it."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from napari_twostage.errors import LocationError
from napari_twostage.geometry import Box
from napari_twostage.io.paths import locate

if TYPE_CHECKING:
    from napari_twostage.io.paths import Location


def place(text: str) -> Location:
    """Read a path or URL."""
    if not text.strip():
        raise argparse.ArgumentTypeError("expected a path or URL, found nothing; name a file")
    try:
        return locate(text)
    except LocationError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def box(text: str) -> Box:
    """Read ``top,left,height,width`` in level-0 pixels."""
    try:
        top, left, height, width = (int(part) for part in text.split(","))
    except ValueError:
        height = width = 0
    if height < 1 or width < 1:
        raise argparse.ArgumentTypeError(
            f"expected Y,X,H,W, four whole numbers of level-0 pixels such as 1400,900,512,512 "
            f"with a height and width of at least 1; found '{text}'"
        )
    return Box.at(top, left, height, width)


def region(text: str) -> Box | Path:
    """Read ``top,left,height,width`` in level-0 pixels, or the name of a GeoJSON file."""
    if text.lower().endswith((".geojson", ".json", ".geojson.gz")):
        return Path(text)
    return box(text)


def focal_plane(text: str) -> int | Literal["max"]:
    """Read the number of a focal plane, or ``max``."""
    if text == "max":
        return "max"
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(
            f"expected the number of a focal plane, or max; found '{text}'"
        )
    return int(text)


def intensity(text: str) -> tuple[float, float]:
    """Read ``low,high`` in pixel values."""
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise argparse.ArgumentTypeError(
            f"expected two pixel values, black and white, such as 100,4095; found '{text}'"
        )
    return low, high


def pixel_size(text: str) -> tuple[float, float]:
    """Read ``0.5`` or ``0.5,0.25`` (y, x) in micrometres."""
    try:
        parts = [float(part) for part in text.split(",")]
    except ValueError:
        parts = []
    if not 1 <= len(parts) <= 2 or not all(part > 0 and math.isfinite(part) for part in parts):
        raise argparse.ArgumentTypeError(
            f"expected micrometres per pixel above 0, such as 0.5, or 0.5,0.25 for y,x; "
            f"found '{text}'"
        )
    return parts[0], parts[-1]
