"""Limits of what is taken from a slide's file; what lies beyond is refused before memory is taken.

Each is several times what scanners and converters write.
"""

from __future__ import annotations

from napari_twostage.errors import SlideError

SIDE_PX = 1 << 21
"""Rows or columns of an image: half a metre at 0.25 µm."""
CHANNELS = 1 << 10
"""Values per pixel, or planes that are channels of one image."""
DECODING_BYTES = 900 << 20
"""Memory that decoding one tile, strip or plain image may take."""

TIFF_TABLES = 1 << 12
"""Tables of images in a TIFF file, with those of SubIFDs."""
TIFF_KINDS = 256
"""Different sizes and layouts of images in a TIFF file; levels of a pyramid differ in these."""
TIFF_ENTRIES = 1 << 17
"""Entries of all tables of a TIFF file."""
TIFF_VALUES = 1 << 21
"""Numbers in one entry, such as a tile's positions: 370,000 × 370,000 pixels in tiles of 256."""
TIFF_VALUES_IN_ALL = 1 << 24
TIFF_BLOB_BYTES = 64 << 20
"""Bytes of one entry that is no number, such as a colour profile."""
TIFF_BLOB_BYTES_IN_ALL = 256 << 20
TEXT_BYTES = 8 << 20
"""Bytes of one text, such as OME-XML; read as XML it takes some twenty times as much."""
TEXT_BYTES_IN_ALL = 64 << 20
XML_DECLARATIONS = (b"<!DOCTYPE", b"<!ENTITY")
"""Declarations by which a short text unfolds to a long one, or names another file."""

PLAUSIBLE_MPP = (0.02, 20.0)
"""Micrometres per pixel that a file may state: beyond are units mistaken for others."""
POSSIBLE_MPP = (0.001, 1000.0)
"""Micrometres per pixel that a user may state."""


def check_sides(height: int, width: int) -> None:
    """Refuse an image without pixels, or one too long; the message begins with its verb."""
    if height < 1 or width < 1:
        raise SlideError(f"has no pixels ({height:,} x {width:,}, zero-sized); export it again")
    if max(height, width) > SIDE_PX:
        raise SlideError(
            f"states {height:,} x {width:,} pixels, at most {SIDE_PX:,} a side can be read; "
            "if it is whole, cut it into parts"
        )
