"""Writers of slides in every TIFF format, as faithful as tifffile or a few bytes allow."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

import numpy as np
import PIL.Image
import tifffile
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Pixels = NDArray[np.generic]
Tags = dict[int, tuple[int, int, bytes | int | list[int]]]
"""Type, count and value of each tag; a value longer than its field is stored behind the table."""

_FORMATS = {1: "B", 2: "B", 3: "H", 4: "I", 6: "b", 7: "B", 8: "h", 9: "i", 11: "f", 12: "d"}
_FORMATS |= {13: "I", 16: "Q", 17: "q", 18: "Q"}
_PLAIN = {322, 323, 324, 325}
TILE = bytes(64 * 64 * 3)
"""Pixels of every file of `tiff_bytes`, unless others are given."""
PIXELS_AT = 16
"""Position of the tile in every file of `tiff_bytes`."""


def picture(height: int, width: int, *, channels: int = 3, dtype: type = np.uint8) -> Pixels:
    """Make smooth pixels of any shape that differ in every place and channel."""
    y, x = np.mgrid[:height, :width]
    planes = [
        np.sin(y / (9 + 4 * c)) + np.cos(x / (7 + 3 * c)) + (y + x) / (height + width)
        for c in range(channels)
    ]
    full = np.iinfo(dtype).max
    return (np.stack(planes, axis=-1) * (full / 8) + full / 3).astype(dtype)


def halved(pixels: Pixels, factor: int = 2) -> Pixels:
    """The next level as scanners make it: what does not fill a pixel is dropped."""
    height, width = (length // factor for length in pixels.shape[:2])
    blocks = pixels[: height * factor, : width * factor].astype(float)
    blocks = blocks.reshape(height, factor, width, factor, -1).mean(axis=(1, 3))
    return np.rint(blocks).astype(pixels.dtype).reshape(height, width, *pixels.shape[2:])


def _pyramid(pixels: Pixels, levels: int = 3) -> Iterator[Pixels]:
    for _ in range(levels):
        yield pixels
        pixels = halved(pixels)


def write_svs(
    path: Path, pixels: Pixels, *, compression: object = "jpeg", mpp: str = "0.2520"
) -> Path:
    """Level 0, thumbnail, further levels, label, macro: an Aperio file's order of pages."""
    text = "Aperio Image Library v12.0.15\r\n%dx%d [0,0 %dx%d] (240x240) JPEG/RGB Q=70"
    size = (pixels.shape[1], pixels.shape[0]) * 2
    common = {"photometric": "rgb", "metadata": None, "tile": (240, 240)}
    common["compression"] = compression
    first, *coarser = _pyramid(pixels)
    with tifffile.TiffWriter(path) as tif:
        about = f"{text % size}|AppMag = 40|StripeWidth = 1000|MPP = {mpp}|Left = 25.6"
        tif.write(first, description=about, **common)
        plain = {"photometric": "rgb", "metadata": None, "compression": "lzw"}
        tif.write(halved(pixels, 5), description=text % size, **plain)
        for level in coarser:
            tif.write(level, description=text % size, **common)
        label = np.zeros((90, 80, 3), np.uint8)
        tif.write(label, subfiletype=1, description="Aperio label 80x90", **plain)
        tif.write(label, subfiletype=9, description="Aperio macro 80x90", **plain)
    return path


def write_scn(path: Path, pixels: Pixels, *, nanometres: float = 500) -> Path:
    """A Leica file: XML in nanometres, a macro image first, then the scan."""
    levels = list(_pyramid(pixels))
    macro = halved(pixels, 6)
    dimensions = "".join(
        f'<dimension sizeX="{one.shape[1]}" sizeY="{one.shape[0]}" r="{r}" ifd="{r + 1}" />'
        for r, one in enumerate(levels)
    )
    height, width = pixels.shape[:2]
    view = f'sizeX="{width * nanometres:.0f}" sizeY="{height * nanometres:.0f}"'
    text = (
        '<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01">'
        '<collection name="c" sizeX="26564529" sizeY="76734602">'
        f'<image name="macro"><pixels sizeX="{macro.shape[1]}" sizeY="{macro.shape[0]}">'
        f'<dimension sizeX="{macro.shape[1]}" sizeY="{macro.shape[0]}" r="0" ifd="0" />'
        '</pixels><view sizeX="26564529" sizeY="76734602" /></image>'
        f'<image name="scan"><pixels sizeX="{width}" sizeY="{height}">{dimensions}</pixels>'
        f"<view {view} /></image></collection></scn>"
    )
    with tifffile.TiffWriter(path, bigtiff=True) as tif:
        common = {"tile": (256, 256), "compression": "jpeg", "metadata": None}
        tif.write(macro, description=text, **common)
        for level in levels:
            tif.write(level, **common)
    return path


def write_bif(path: Path, pixels: Pixels, *, overlap: int = 0) -> Path:
    """A Ventana file: XML in the XMP tag, label first, levels named in the descriptions."""
    scan = b"<Metadata><iScan Magnification='20' ScanRes='0.4650'/></Metadata>"
    joints = f'<EncodeInfo><TileJointInfo OverlapX="{overlap}" OverlapY="0"/></EncodeInfo>'
    common = {"software": "ScanOutputManager 1.1.0.15854", "metadata": None}
    with tifffile.TiffWriter(path, bigtiff=True) as tif:
        label = np.zeros((90, 80, 3), np.uint8)
        xmp = [(700, 1, len(scan), scan, True)]
        tif.write(label, description="Label_Image", extratags=xmp, **common)
        for number, level in enumerate(_pyramid(pixels)):
            text = f"level={number} mag={20 / 2**number:g} quality=90"
            about = joints.encode() if not number else b"<x/>"
            xmp = [(700, 1, len(about), about, True)]
            tif.write(
                level,
                description=text,
                extratags=xmp,
                tile=(256, 256),
                compression="jpeg",
                **common,
            )
    return path


def write_philips(path: Path, pixels: Pixels, *, spacing: str, levels: int = 3) -> Path:
    """A Philips file: levels padded to whole tiles, spacings in XML, macro and label at the end."""
    first = [float(part.strip('"').replace(",", ".")) for part in spacing.split()]
    texts = [spacing] + [
        " ".join(f'"{part * 2**number:.9f}"' for part in first) for number in range(1, levels)
    ]
    parts = "".join(
        '<DataObject ObjectType="PixelDataRepresentation">'
        f'<Attribute Name="DICOM_PIXEL_SPACING">{text}</Attribute></DataObject>'
        for text in texts
    )
    about = (
        '<?xml version="1.0" encoding="UTF-8" ?><DataObject ObjectType="DPUfsImport">'
        f'<Attribute Name="PIM_DP_SCANNED_IMAGES"><Array>{parts}</Array></Attribute></DataObject>'
    )
    common = {"software": "Philips DP v1.0", "metadata": None, "photometric": "rgb"}
    with tifffile.TiffWriter(path, bigtiff=True) as tif:
        for number, level in enumerate(_pyramid(pixels, levels)):
            rows, columns = (-side % 64 for side in level.shape[:2])
            padded = np.pad(level, ((0, rows), (0, columns), (0, 0)), constant_values=255)
            text = about if not number else f"level={number}"
            tif.write(padded, description=text, tile=(64, 64), compression="zlib", **common)
        for name in ("Macro", "Label"):
            tif.write(np.zeros((60, 50, 3), np.uint8), description=name, **common)
    return path


def write_ome(
    path: Path, pixels: Pixels, *, axes: str, levels: int = 3, **metadata: object
) -> Path:
    """An OME-TIFF whose coarser levels are SubIFDs."""
    planes = [pixels]
    while len(planes) < levels:
        last = planes[-1]
        channels_first = axes[0] == "C"
        last = np.moveaxis(last, 0, -1) if channels_first else last
        planes.append(np.moveaxis(halved(last), -1, 0) if channels_first else halved(last))
    common = {"tile": (128, 128), "compression": "zlib", "predictor": True}
    common["photometric"] = "rgb" if axes.endswith("S") else "minisblack"
    with tifffile.TiffWriter(path, ome=True) as tif:
        tif.write(planes[0], subifds=levels - 1, metadata={"axes": axes, **metadata}, **common)
        for plane in planes[1:]:
            tif.write(plane, subfiletype=1, **common)
    return path


def write_ndpi(path: Path, pixels: Pixels, *, per_cm: int = 44000) -> tuple[Path, list[Pixels]]:
    """A Hamamatsu file, byte by byte: one strip a level, cut by restart markers alone.

    The lower halves of the 64-bit values stand in the tags, the upper ones behind them.
    """
    content = bytearray(b"II*\0" + bytes(8))
    link, decoded = 4, []
    for number, level in enumerate(_pyramid(pixels)):
        stream = io.BytesIO()
        PIL.Image.fromarray(level).save(
            stream, "jpeg", quality=90, subsampling=0, restart_marker_blocks=16
        )
        jpeg = stream.getvalue()
        decoded.append(np.asarray(PIL.Image.open(io.BytesIO(jpeg))))
        starts = _restart_positions(jpeg)
        data_at = len(content)
        content += jpeg + bytes(-len(jpeg) % 4)
        starts_at = len(content)
        content += struct.pack(f"<{len(starts)}I", *starts)
        ratio_at = len(content)
        content += struct.pack("<II", per_cm >> number, 1)
        make_at = len(content)
        content += b"Hamamatsu\0\0\0"
        bits_at = len(content)
        content += struct.pack("<HHHH", 8, 8, 8, 0)
        height, width = level.shape[:2]
        tags = [
            (256, 4, 1, width), (257, 4, 1, height), (258, 3, 3, bits_at), (259, 3, 1, 7),
            (262, 3, 1, 6), (271, 2, 10, make_at), (273, 4, 1, data_at), (277, 3, 1, 3),
            (278, 4, 1, height), (279, 4, 1, len(jpeg)), (282, 5, 1, ratio_at),
            (283, 5, 1, ratio_at), (296, 3, 1, 3), (65420, 4, 1, 1),
            (65421, 11, 1, struct.unpack("<I", struct.pack("<f", 20 / 2**number))[0]),
            (65426, 4, len(starts), starts_at),
        ]  # fmt: skip
        struct.pack_into("<Q", content, link, len(content))
        content += struct.pack("<H", len(tags))
        content += b"".join(struct.pack("<HHII", *tag) for tag in tags)
        link = len(content)
        content += bytes(8 + 4 * len(tags))
    path.write_bytes(content)
    return path, decoded


def _restart_positions(jpeg: bytes) -> list[int]:
    """Starts of the entropy-coded pieces of a JPEG stream."""
    at = 2
    while jpeg[at + 1] != 0xDA:  # start of scan
        at += 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    at += 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    markers = range(at, len(jpeg) - 1)
    return [at, *(n + 2 for n in markers if jpeg[n] == 0xFF and 0xD0 <= jpeg[n + 1] <= 0xD7)]


def tiff_bytes(tags: Tags, *, data: bytes = TILE, link: int = 0, big: bool = False) -> bytes:
    """Write a TIFF of one RGB tile of 64 × 64 pixels, with other tags as given.

    A tag's count may differ from its values. `link` is the position of the next table.
    """
    whole: Tags = {
        256: (4, 1, 64), 257: (4, 1, 64), 258: (3, 3, [8, 8, 8]), 259: (3, 1, 1), 262: (3, 1, 2),
        277: (3, 1, 3), 322: (4, 1, 64), 323: (4, 1, 64),
        324: (4, 1, PIXELS_AT), 325: (4, 1, len(data)), **tags,
    }  # fmt: skip
    if 278 in tags:
        whole = {code: tag for code, tag in whole.items() if code not in _PLAIN or code in tags}
    field, entry, number = (8, "<HHQ", "Q") if big else (4, "<HHI", "I")
    at = PIXELS_AT + len(data) + len(data) % 2
    header = struct.pack("<2sHHHQ", b"II", 43, 8, 0, at) if big else struct.pack(
        "<2sHI8x", b"II", 42, at)  # fmt: skip
    count = struct.pack("<Q" if big else "<H", len(whole))
    behind = at + len(count) + len(whole) * (8 + field + 4 * big) + field
    table, values = count, b""
    for code in sorted(whole):
        kind, length, value = whole[code]
        if isinstance(value, int | list):
            numbers = [value] if isinstance(value, int) else value
            value = struct.pack(f"<{len(numbers)}{_FORMATS[kind]}", *numbers)
        table += struct.pack(entry, code, kind, length)
        if len(value) <= field:
            table += value.ljust(field, b"\0")
        else:
            table += struct.pack("<" + number, behind + len(values))
            values += value + bytes(len(value) % 2)
    return header + data + bytes(len(data) % 2) + table + struct.pack("<" + number, link) + values
