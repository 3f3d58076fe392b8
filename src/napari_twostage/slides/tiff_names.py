"""Names and colours of the channels of an image in a TIFF file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_twostage.slides.tiff_text import number, tag_text

if TYPE_CHECKING:
    from xml.etree import ElementTree as ET

    import tifffile

    from napari_twostage.slides.channels import Colour
    from napari_twostage.slides.tiff_images import TiffImage
    from napari_twostage.slides.tiff_planes import Stack


def channel_names(
    tif: tifffile.TiffFile, image: TiffImage, stack: Stack, count: int
) -> tuple[str, ...]:
    """Names of the channels of an image; their numbers where it has none.

    Parameters
    ----------
    tif : tifffile.TiffFile
        Open file.
    image : TiffImage
        One of its images.
    stack : Stack
        Planes of its finest level.
    count : int
        Number of channels.
    """
    found = [one.get("Name", one.get("name", "")) for one in _elements(image)]
    if not found and tif.is_qpi:
        found = [tag_text(page.description, "Name") for page in _of_channels(stack)]
    if not found and tif.is_imagej:
        found = _imagej_labels(tif, stack)
    if len(found) != count:
        found = [""] * count
    return tuple(name.strip() or str(n) for n, name in enumerate(found))


def channel_colours(
    tif: tifffile.TiffFile, image: TiffImage, stack: Stack, count: int
) -> tuple[Colour | None, ...]:
    """Colours in which the channels of an image are shown; none if the file states none.

    Parameters
    ----------
    tif, image, stack, count
        As for `channel_names`.
    """
    colours = [_colour(one.get("Color")) for one in _elements(image)]
    if not colours and tif.is_qpi:
        colours = [_listed_colour(tag_text(page.description, "Color"))
                   for page in _of_channels(stack)]  # fmt: skip
    return tuple(colours) if len(colours) == count and any(colours) else ()


def _colour(text: str | None) -> Colour | None:
    """Colour of OME-XML: a signed number of red, green, blue and alpha, 8 bits each."""
    if text is None:
        return None
    value = int(number(text)) & 0xFFFFFFFF
    return value >> 24, value >> 16 & 255, value >> 8 & 255


def _listed_colour(text: str) -> Colour | None:
    """Colour of PerkinElmer's XML, such as ``0,128,255``."""
    parts = text.split(",")
    if len(parts) != 3 or not all(part.strip().isdecimal() for part in parts):
        return None
    red, green, blue = (min(255, int(part)) for part in parts)
    return red, green, blue


def _elements(image: TiffImage) -> list[ET.Element]:
    """Channels of an OME or SCN image."""
    if image.about is None:
        return []
    return image.about.findall("{*}Pixels/{*}Channel") or image.about.findall(
        ".//{*}channelSettings/{*}channel"
    )


def _of_channels(stack: Stack) -> list[tifffile.TiffPage]:
    """First page of each channel."""
    pages = (stack.plane(C=channel)[0] for channel in range(stack.size("C")))
    return [page.aspage() for page in pages]


def _imagej_labels(tif: tifffile.TiffFile, stack: Stack) -> list[str]:
    """Labels of the slices that are the first of each channel; ImageJ labels all or none."""
    labels = (tif.imagej_metadata or {}).get("Labels") or []
    if not isinstance(labels, list | tuple) or len(labels) != stack.count:
        return []
    numbers = (stack.number(C=channel) for channel in range(stack.size("C")))
    return [str(labels[n]).splitlines()[0] if str(labels[n]) else "" for n in numbers]
