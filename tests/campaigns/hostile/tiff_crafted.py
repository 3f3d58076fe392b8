"""TIFF files that lie on purpose: loops, endless chains, bombs, absurd numbers."""

from __future__ import annotations

import json
import struct
import zlib
from functools import partial
from itertools import zip_longest
from typing import TYPE_CHECKING

import imagecodecs
import numpy as np
from tests.campaigns.hostile import Case
from tests.campaigns.hostile.mutations import deflated_zeros
from tests.campaigns.hostile.slide_use import use_slide
from tests.slide_files import PIXELS_AT, TILE, Tags, tiff_bytes

from napari_twostage.samples import sample_slide

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator
    from pathlib import Path


def cases(_: random.Random, folder: Path) -> Iterator[Case]:
    """Yield each file once, of all kinds by turns."""
    use_slide(sample_slide())
    kinds = [maker() for maker in (_numbers, _texts, _tables, _tiles, _sparse)]
    by_turns = (one for turn in zip_longest(*kinds) for one in turn if one is not None)
    for name, ending, data, size in by_turns:
        path = folder / f"{name}{ending}"
        with path.open("wb") as file:
            file.write(data)
            if size:  # a hole of zeros, which takes no space on the disk
                file.truncate(size)
        yield Case(name=name, use=partial(use_slide, path, mpp=0.5), file=path)
        if ending != ".tif":
            copy = folder / f"{name}-own-size{ending}"
            copy.write_bytes(data)
            yield Case(name=f"{name}-own-size", use=partial(use_slide, copy), file=copy)


Made = tuple[str, str, bytes, int]


_SIDES = {
    "tile": (322, 323), "tile-width": (322,), "tile-length": (323,), "image": (256, 257),
    "image-width": (256,), "image-length": (257,), "rows": (278,), "samples": (277,),
    "depth": (32997,),
}  # fmt: skip


def _numbers() -> Iterator[Made]:
    """Sides, samples and positions that are zero, huge or negative."""
    sides = (0, 1, 2**16, 2**21, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
    for value in sides:
        for names, codes in _SIDES.items():
            tags: Tags = dict.fromkeys(codes, (4, 1, value))
            yield f"{names}-{value}", ".tif", tiff_bytes(tags), 0
            tags[259] = (3, 1, 8)
            yield f"{names}-{value}-deflate", ".tif", tiff_bytes(tags, data=zlib.compress(TILE)), 0
    for value in (0, 1, 7, 15, 2**31, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1):
        for name, code in (("offset", 324), ("count", 325)):
            yield f"{name}-{value}", ".tif", tiff_bytes({code: (16, 1, value)}, big=True), 0
    for value in (-1, -(2**31), -(2**63)):
        for name, code in (("offset", 324), ("count", 325), ("width", 256)):
            yield f"{name}-{value}", ".tif", tiff_bytes({code: (17, 1, value)}, big=True), 0
    for kind in (*range(20), 129, 65535):
        for code in (256, 258, 259, 262, 277, 284, 317, 322, 324, 325, 339):
            yield f"type-{kind}-of-{code}", ".tif", tiff_bytes({code: (kind, 1, b"\1\0\0\0")}), 0


def _texts() -> Iterator[Made]:
    """Descriptions whose numbers or structure are absurd."""
    for name, text in _ome_texts().items():
        yield f"ome-{name}", ".ome.tif", _with_text(text), 0
    shapes = {name: [size, 64, 64, 3] for name, size in (("huge", 2**31), ("zero", 0), ("-1", -1))}
    for name, shape in {**shapes, "none": None, "text": "abc", "deep": "DEEP"}.items():
        text = json.dumps({"shape": shape}).replace('"DEEP"', "[" * 50_000)
        yield f"shaped-{name}", ".tif", _with_text(text), 0
    yield "shaped-digits", ".tif", _with_text('{"shape": [%s]}' % ("9" * 5000)), 0
    for line in ("images", "frames", "slices"):
        text = f"ImageJ=1.53\nimages=2\n{line}=2000000000\nhyperstack=true\nunit=um\n"
        yield f"imagej-{line}", ".tif", _with_text(text), 0
    for size in ("1e-308", "1e308", "0", "-1", "nan", "1e999", "0.001", "99999", "9" * 5000, ""):
        text = f"Aperio Image Library v1\r\n64x64|MPP = {size}"
        yield f"aperio-{size[:8] or 'none'}", ".svs", _with_text(text), 0
    yield "aperio-again", ".svs", _with_text("Aperio " + "MPP " * 2_000_000), 0
    for name, text in {"again": "<iScan ScanRe " * 500_000, "zero": "<iScan ScanRes='0'/>"}.items():
        tags: Tags = {305: (2, 32, b"ScanOutputManager 1.1.0.15854".ljust(32, b"\0")),
                      700: (1, len(text), text.encode())}  # fmt: skip
        yield f"ventana-{name}", ".bif", tiff_bytes(tags), 0
    for name, inner in {"zero": '<pixels sizeX="0" sizeY="0"/><view sizeX="1" sizeY="1"/>',
                        "many": "<image/>" * 500_000,
                        "huge": '<pixels sizeX="64" sizeY="64"/><view sizeX="9e300" sizeY="1"/>',
                        "digits": f'<pixels sizeX="{"9" * 400}" sizeY="1"/>'}.items():  # fmt: skip
        text = '<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01">'
        text += f"<collection><image>{inner}</image></collection></scn>"
        yield f"leica-{name}", ".scn", _with_text(text), 0
    yield "text-long", ".tif", _with_text("a" * (100 << 20)), 0


def _ome_texts() -> dict[str, str]:
    """OME-XML by name."""
    names = {
        "big-z": {"SizeZ": 2 * 10**9}, "big-c": {"SizeC": 2 * 10**9}, "big-t": {"SizeT": 10**18},
        "zero": {"SizeX": 0}, "negative": {"SizeZ": -1}, "order": {"DimensionOrder": "XXXXX"},
        "words": {"SizeZ": "many"}, "no-order": {"DimensionOrder": ""},
        **{f"size-{size}": {"PhysicalSizeX": size, "PhysicalSizeY": size}
           for size in ("1e-308", "1e308", "nan", "inf", "-1", "0", "1e-3", "1000", "x")},
        "unit": {"PhysicalSizeX": 1, "PhysicalSizeY": 1, "PhysicalSizeYUnit": "pc"},
    }  # fmt: skip
    texts = {name: _ome(attributes) for name, attributes in names.items()}
    parts = {
        "plane-count": '<TiffData IFD="0" PlaneCount="2000000000"/>',
        "planes-millions": '<TiffData IFD="0" PlaneCount="20000000"/>',
        "first-z": '<TiffData IFD="0" FirstZ="2000000000" PlaneCount="1"/>',
        "ifd": '<TiffData IFD="2000000000" PlaneCount="1"/>',
        "samples": '<Channel SamplesPerPixel="0"/><TiffData/>',
        "many-samples": '<Channel SamplesPerPixel="999999999"/><TiffData/>',
        **{f"other-{name}": f'<TiffData><UUID FileName="{file}">urn:1</UUID></TiffData>'
           for name, file in {"device": "/dev/zero", "pipe": "/dev/stdin", "up": "../../x.tif",
                              "folder": "/proc"}.items()},
        "many": "<TiffData/>" * 300_000,
        "deep": "<a>" * 300_000 + "</a>" * 300_000,
    }  # fmt: skip
    texts |= {name: _ome({}, part) for name, part in parts.items()}
    along = '<StructuredAnnotations><XMLAnnotation ID="A" Namespace="modulo"><Value><Modulo>'
    along += '<ModuloAlongZ Type="phase" Start="0" End="1e15" Step="0.001"/>'
    texts["modulo"] = _ome(
        {}, after=along + "</Modulo></Value></XMLAnnotation></StructuredAnnotations>"
    )
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    texts["laughs"] = f'<!DOCTYPE OME [<!ENTITY l0 "{"ha" * 100}">{laughs}]>' + _ome({}, "&l9;")
    texts["blow-up"] = f'<!DOCTYPE OME [<!ENTITY a "{"a" * 10**6}">]>' + _ome({}, "&a;" * 10**5)
    texts["outside"] = '<!DOCTYPE OME [<!ENTITY a SYSTEM "/dev/zero">]>' + _ome({}, "&a;")
    return texts


def _ome(attributes: dict[str, object], inner: str = "<TiffData/>", after: str = "") -> str:
    sizes = {"SizeX": 64, "SizeY": 64, "SizeC": 3, "SizeZ": 1, "SizeT": 1, **attributes}
    sizes = {"DimensionOrder": "XYCZT", "Type": "uint8", **sizes}
    if "Channel" not in inner:
        inner = '<Channel SamplesPerPixel="3"/>' + inner
    text = " ".join(f'{name}="{value}"' for name, value in sizes.items())
    return f'<OME><Image ID="I"><Pixels {text}>{inner}</Pixels></Image>{after}</OME>'


def _with_text(text: str) -> bytes:
    data = text.encode() + b"\0"
    return tiff_bytes({270: (2, len(data), data)})


def _tables() -> Iterator[Made]:
    """Chains of tables that never end, and tables of very many entries."""
    start = len(tiff_bytes({}))
    first = PIXELS_AT + len(TILE)
    small = struct.pack("<HHHIIHHII", 2, 256, 4, 1, 8, 257, 4, 1, 8)
    for count in (100_000, 5000, 4000):
        chain = b"".join(
            small + struct.pack("<I", start + (n + 1) * 30 if n + 1 < count else 0)
            for n in range(count)
        )
        yield f"tables-{count}", ".tif", tiff_bytes({}, link=start) + chain, 0
        yield f"tables-{count}-ome", ".ome.tif", tiff_bytes({}, link=start) + chain, 0
    yield "loop-1", ".tif", tiff_bytes({}, link=first), 0
    for count in (3, 150):
        chain = b"".join(
            small + struct.pack("<I", start + (n + 1) % count * 30) for n in range(count)
        )
        yield f"loop-{count}", ".tif", tiff_bytes({}, link=start) + chain, 0
    for count in (60, 1000, 60_000):
        targets = [first] * count
        yield f"parts-{count}", ".tif", tiff_bytes({330: (4, count, targets)}), 0
        yield f"parts-{count}-apart", ".tif", tiff_bytes({330: (4, count, list(range(count)))}), 0
    yield "parts-bytes", ".tif", tiff_bytes({330: (1, 4, b"\1\2\3\4")}), 0
    many = b"".join(struct.pack("<HHII", n, 3, 1, 1) for n in range(65535))
    yield (
        "entries-65535",
        ".tif",
        b"II*\0\x08\0\0\0" + struct.pack("<H", 65535) + many + bytes(4),
        0,
    )
    table = struct.pack("<H", 4096) + many[: 4096 * 12]
    chain = b"".join(table + struct.pack("<I", 8 + (n + 1) * (len(table) + 4)) for n in range(2000))
    yield "entries-4096-tables-2000", ".tif", b"II*\0\x08\0\0\0" + chain, 0
    for name, code, kind, value in (
        ("lsm", 34412, 1, bytes(600)), ("stk", 33628, 4, [2**31] * 4),
        ("uic2", 33629, 5, bytes(96)), ("fluoview", 34361, 1, bytes(900)),
        ("gel", 33445, 4, 2), ("sis", 33560, 7, bytes(200)),
        ("nih", 43314, 1, bytes(500)), ("andor", 4864, 4, 1), ("scanimage", 49999, 1, bytes(99)),
        ("mcu", 65426, 4, [2**31] * 4), ("ndpi", 65420, 4, 1), ("jpegtables", 347, 7, bytes(99)),
        ("ij", 50839, 1, bytes(99)), ("gdal", 42112, 2, b"<a>" * 9), ("micro", 51123, 2, b"{" * 99),
    ):  # fmt: skip
        count = len(value) if isinstance(value, bytes | list) else 1
        for ending in (".tif", ".ndpi", ".stk", ".lsm"):
            yield (
                f"vendor-{name}{ending.replace('.', '-')}",
                ending,
                tiff_bytes({code: (kind, count, value)}),
                0,
            )


def _tiles() -> Iterator[Made]:
    """Tiles whose own header promises more than the tag, or which unfold without end."""
    grey = np.zeros((4096, 4096, 3), np.uint8)
    codecs = {
        7: lambda: imagecodecs.jpeg8_encode(grey), 33005: lambda: imagecodecs.jpeg2k_encode(grey),
        34933: lambda: imagecodecs.png_encode(grey), 34887: lambda: imagecodecs.lerc_encode(grey),
        50001: lambda: imagecodecs.webp_encode(grey, lossless=True),
        50002: lambda: imagecodecs.jpegxl_encode(grey), 8: lambda: deflated_zeros(1 << 30),
        50000: lambda: imagecodecs.zstd_encode(bytes(1 << 28)),
        34925: lambda: imagecodecs.lzma_encode(bytes(1 << 28)),
        5: lambda: imagecodecs.lzw_encode(bytes(1 << 26)), 32773: lambda: b"\x81\0" * (1 << 22),
    }  # fmt: skip
    for code, encode in codecs.items():
        data = encode()
        for side in (64, 8192):
            tags: Tags = {259: (3, 1, code), **dict.fromkeys((256, 257, 322, 323), (4, 1, side))}
            yield f"bomb-{code}-in-{side}", ".tif", tiff_bytes(tags, data=data), 0
    jpeg = bytearray(codecs[7]())
    frame = jpeg.index(b"\xff\xc0")
    for side in (0, 1, 65500, 65535):
        struct.pack_into(">HH", jpeg, frame + 5, side, side)
        yield f"jpeg-promises-{side}", ".tif", tiff_bytes({259: (3, 1, 7)}, data=bytes(jpeg)), 0
    stream = bytearray(imagecodecs.jpeg2k_encode(grey[:64, :64], codecformat="j2k"))
    for side in (0, 2**16, 2**31 - 1, 2**32 - 1):
        for name, at, code in (("promises", 8, 33005), ("tile", 24, 33003)):
            struct.pack_into(">II", stream, at, side, side)
            data = tiff_bytes({259: (3, 1, code)}, data=bytes(stream))
            yield f"jpeg2000-{name}-{side}", ".tif", data, 0


def _sparse() -> Iterator[Made]:
    """Files of 64 GiB, nearly all of it a hole, of which huge parts are to be read."""
    size = 64 << 30
    for count in (2**24, 2**28, 2**32 - 1):
        for code in (270, 324, 325, 330, 347, 700, 258, 339, 65426, 50838, 33550):
            kind = 2 if code == 270 else 4
            yield (
                f"sparse-{code}-{count}",
                ".tif",
                tiff_bytes({code: (kind, count, b"\0\0\1\0")}),
                size,
            )
    for count in (2**28, 2**31, 2**32 - 1):
        for code in (1, 7, 8, 5, 33005):
            tags: Tags = {259: (3, 1, code), 325: (4, 1, count)}
            yield f"sparse-tile-{code}-{count}", ".tif", tiff_bytes(tags), size
    text = b"state.configPath = ''\r"
    pages = tiff_bytes({270: (2, len(text), text), 305: (2, 3, b"SI\0")}, link=2**16)
    small = struct.pack("<HHHIIHHII", 2, 256, 4, 1, 8, 257, 4, 1, 8)
    chain = b"".join(small + struct.pack("<I", 2**16 + (n + 1) * 30) for n in range(9))
    yield "sparse-frames", ".tif", pages.ljust(2**16, b"\0") + chain, size
