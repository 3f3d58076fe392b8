"""Sizes that compressed images state in their own headers, read without decoding them."""

from __future__ import annotations

import re
import struct
from typing import NamedTuple


class Header(NamedTuple):
    """What an image's header promises."""

    height: int
    width: int
    bytes_per_pixel: int
    """Memory that a decoder takes for each pixel, the decoded one included."""


_BMP_OF_PIXELS = {0, 3, 6}
"""Kinds of BMP that hold plain pixels, not another image."""


def read_header(data: bytes) -> Header | None:
    """Read the header of a PNG, JPEG, JPEG 2000, BMP, WebP, JPEG XL or JPEG XR image.

    Parameters
    ----------
    data : bytes
        The whole image, or its beginning.

    Returns
    -------
    Header, or None if the image is of another format or ends within its header.

    Examples
    --------
    >>> read_header(b"BM" + bytes(16) + struct.pack("<iiHH", 640, -480, 1, 24))
    Header(height=480, width=640, bytes_per_pixel=3)
    """
    for magic, read in _READERS:
        if magic.match(data):
            try:
                return read(data)
            except (struct.error, IndexError, ValueError):
                return None
    return None


def is_whole_bmp(data: bytes) -> bool:
    """Whether palette and pixels of a BMP lie in the file, which its decoder does not check."""
    try:
        pixels_at, table_bytes, width, height, _, bits, kind = struct.unpack_from(
            "<IIiiHHI", data, 10
        )
        (colours,) = struct.unpack_from("<I", data, 46)
    except struct.error:
        return False
    palette = 4 * (colours or 1 << bits) if bits <= 8 else 0
    row_bytes = (width * bits + 31) // 32 * 4  # rows begin at multiples of four bytes
    return (
        width > 0
        and kind in _BMP_OF_PIXELS
        and 14 + table_bytes + palette <= pixels_at
        and pixels_at + row_bytes * abs(height) <= len(data)
    )


def _png(data: bytes) -> Header:
    width, height, depth, kind = struct.unpack_from(">IIBB", data, 16)
    samples = {0: 1, 2: 3, 3: 4, 4: 2, 6: 4}.get(kind, 4)
    return Header(height, width, samples * (2 if depth == 16 else 1))


def _bmp(data: bytes) -> Header:
    width, height, _, bits = struct.unpack_from("<iiHH", data, 18)
    return Header(abs(height), width, max(3, bits // 8))


def _jpeg(data: bytes) -> Header:
    at = 2
    while True:
        at = data.index(b"\xff", at)
        marker = data[at + 1]
        if marker == 0xFF or marker in {0x00, 0x01} or 0xD0 <= marker <= 0xD8:
            at += 1 if marker == 0xFF else 2  # fill bytes, and markers without a length
        elif 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:
            bits, height, width, samples = struct.unpack_from(">BHHB", data, at + 4)
            size = 2 if bits > 8 else 1
            # a progressive image's coefficients, of two bytes, are all held until the end
            return Header(height, width, samples * (size + (marker not in {0xC0, 0xC1, 0xC3}) * 2))
        else:
            at += 2 + struct.unpack_from(">H", data, at + 2)[0]


def _jpeg2000(data: bytes) -> Header:
    at = data.index(b"\xff\x4f\xff\x51")  # in a file behind the boxes that describe it
    right, bottom, left, top = struct.unpack_from(">IIII", data, at + 8)
    (samples,) = struct.unpack_from(">H", data, at + 40)
    depth = data[at + 42] & 0x7F
    # decoded to 32 bits first
    return Header(max(0, bottom - top), max(0, right - left), samples * (6 if depth > 7 else 5))


def _webp(data: bytes) -> Header:
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
    elif kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    return Header(height, width, 8)


def _jpeg_xl(data: bytes) -> Header:
    at = 0 if data[:2] == b"\xff\x0a" else data.index(b"\xff\x0a")
    bits = int.from_bytes(data[at + 2 : at + 18], "little")

    def take(count: int) -> int:
        nonlocal bits
        value, bits = bits & (1 << count) - 1, bits >> count
        return value

    is_small = take(1)

    def side() -> int:
        return (take(5) + 1) * 8 if is_small else take((9, 13, 18, 30)[take(2)]) + 1

    height = side()
    ratio = ((0, 1), (1, 1), (6, 5), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))[take(3)]
    width = height * ratio[0] // ratio[1] if ratio[0] else side()
    return Header(height, width, 16)  # decoded to 32-bit floats


def _jpeg_xr(data: bytes) -> Header:
    (at,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    sides = {}
    for code, kind, _, value in struct.iter_unpack("<HHII", data[at + 2 : at + 2 + 12 * count]):
        sides[code] = value & (0xFF if kind == 1 else 0xFFFF if kind == 3 else 0xFFFFFFFF)
    if not {0xBC80, 0xBC81} <= sides.keys():
        raise ValueError("no sides")
    return Header(sides[0xBC81], sides[0xBC80], 16)


_READERS = tuple(
    (re.compile(pattern, re.DOTALL), read)
    for pattern, read in (
        (rb"\xff\xd8", _jpeg),
        (rb"\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51", _jpeg2000),
        (rb"\x89PNG\r\n\x1a\n", _png),
        (rb"BM", _bmp),
        (rb"RIFF....WEBP", _webp),
        (rb"\xff\x0a|\x00\x00\x00\x0cJXL ", _jpeg_xl),
        (rb"II\xbc", _jpeg_xr),
    )
)
