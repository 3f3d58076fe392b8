"""Files that state more than any slide has are refused, quickly and in one line."""

from __future__ import annotations

import os
import struct
import time
import zlib
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import imagecodecs
import numpy as np
import pytest
from tests.slide_files import PIXELS_AT, TILE, Tags, tiff_bytes

from napari_twostage.errors import (
    LocationError,
    MissingPixelSizeError,
    ReadError,
    SlideError,
    TwoStageError,
)
from napari_twostage.geometry import Box
from napari_twostage.slides import limits, open_slide
from napari_twostage.slides.image_headers import Header, read_header

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

FIRST_TABLE = PIXELS_AT + len(TILE)
END = len(tiff_bytes({}))
needs_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such pipes")


@contextmanager
def refused(path: Path, message: str, kind: type[TwoStageError] = SlideError) -> Iterator[None]:
    """The block raises one short line that names the file, in a second or two."""
    start = time.process_time()
    with pytest.raises(kind, match=message) as caught:
        yield
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    assert time.process_time() - start < 5


@pytest.fixture
def refuse(tmp_path: Path) -> Callable[..., None]:
    """Write a TIFF and expect that opening it is refused with a message."""

    def check(data: bytes, message: str, *, name: str = "slide.tif", size: int = 0) -> None:
        path = tmp_path / name
        with path.open("wb") as file:
            file.write(data)
            if size:
                file.truncate(size)
        with refused(path, message):
            open_slide(path, mpp=0.5)

    return check


def chain(count: int, *, next_of_last: int = 0, side: int = 8, step: int = 0) -> bytes:
    """Tables of images without pixels, each leading to the next."""
    parts = []
    for n in range(count):
        link = END + (n + 1) * 30 if n + 1 < count else next_of_last
        parts.append(
            struct.pack("<HHHIIHHIII", 2, 256, 4, 1, side + step * n, 257, 4, 1, side, link)
        )
    return b"".join(parts)


def test_the_plain_file_opens(tmp_path: Path) -> None:
    (tmp_path / "slide.tif").write_bytes(tiff_bytes({}))
    with open_slide(tmp_path / "slide.tif", mpp=0.5) as slide:
        assert slide.level_shapes == ((64, 64),)
        assert not slide.read(Box(0, 0, 64, 64)).any()


def test_very_many_images(refuse: Callable[..., None]) -> None:
    data = tiff_bytes({}, link=END) + chain(limits.TIFF_TABLES)
    refuse(data, "holds more than 4,096 images")


@pytest.mark.parametrize("count", [1, 150])
def test_a_chain_without_end(refuse: Callable[..., None], count: int) -> None:
    data = tiff_bytes({}, link=END) + chain(count, next_of_last=END)
    refuse(data, "tables that lead in a circle")


def test_images_of_very_many_sizes(refuse: Callable[..., None]) -> None:
    data = tiff_bytes({}, link=END) + chain(limits.TIFF_KINDS + 1, step=1)
    refuse(data, "more than 256 sizes or layouts")


def test_very_many_parts_of_an_image(refuse: Callable[..., None]) -> None:
    refuse(tiff_bytes({330: (4, 60_000, [8] * 60_000)}), "holds more than 4,096 images")
    refuse(tiff_bytes({330: (4, 4, [FIRST_TABLE] * 4)}), "tables that lead in a circle")


def test_very_many_entries(refuse: Callable[..., None]) -> None:
    table = b"".join(struct.pack("<HHII", n, 3, 1, 1) for n in range(4096))
    size = 2 + len(table) + 4
    data = b"".join(
        struct.pack("<H", 4096) + table + struct.pack("<I", 8 + (n + 1) * size) for n in range(40)
    )
    refuse(b"II*\0\x08\0\0\0" + data, "has tables of .* entries or more")


def test_very_many_tiles_in_a_hole_of_the_file(refuse: Callable[..., None]) -> None:
    tags: Tags = dict.fromkeys((324, 325), (4, 1 << 28, b"\x00\x00\x01\x00"))
    refuse(tiff_bytes(tags), "lists 268,435,456 values in tag 324", size=1 << 33)


def test_texts_and_blobs(refuse: Callable[..., None]) -> None:
    text = b"a" * (limits.TEXT_BYTES + 1)
    refuse(tiff_bytes({270: (2, len(text), text)}), "8,388,609 bytes of text in tag 270")
    hole = {347: (7, 1 << 30, b"\0\0\1\0")}
    refuse(tiff_bytes(hole), "holds 1,073,741,824 bytes in tag 347", size=1 << 31)


@pytest.mark.parametrize("text", ['<!DOCTYPE a [<!ENTITY b "c">]><OME>&b;</OME>', "<!ENTITY"])
def test_texts_that_unfold(refuse: Callable[..., None], text: str) -> None:
    refuse(tiff_bytes({270: (2, len(text), text.encode())}), "declares entities in its XML")


@pytest.mark.parametrize(
    ("sides", "message"),
    [
        ({256: 0}, "has no pixels"),
        ({257: 1 << 22}, "states 4,194,304 x 64 pixels, at most 2,097,152 a side"),
        ({322: 0}, "."),
        ({322: 1 << 20, 323: 1 << 20, 259: 8}, "compressed in pieces of 3072.0 GiB"),
        ({277: 4000, 259: 8}, "has 4,000 channels, at most 1,024"),
    ],
)
def test_sides(refuse: Callable[..., None], sides: dict[int, int], message: str) -> None:
    refuse(tiff_bytes({code: (4, 1, value) for code, value in sides.items()}), message)


@pytest.mark.parametrize("value", [1 << 40, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
@pytest.mark.parametrize("code", [324, 325])
def test_positions_beyond_the_file(refuse: Callable[..., None], code: int, value: int) -> None:
    data = tiff_bytes({code: (16, 1, value), 259: (3, 1, 8)}, big=True)
    refuse(data, "(again|write)")


@pytest.mark.parametrize("code", [324, 325])
@pytest.mark.parametrize("compression", [1, 8])
def test_positions_below_zero(refuse: Callable[..., None], code: int, compression: int) -> None:
    data = tiff_bytes({code: (17, 1, -5), 259: (3, 1, compression)}, big=True)
    refuse(data, "below 0" if code == 324 or compression == 8 else ".")


def test_a_tile_of_more_bytes_than_it_has_decoded(refuse: Callable[..., None]) -> None:
    data = tiff_bytes({325: (4, 1, 1 << 31), 259: (3, 1, 8)})
    refuse(data, "states 2,147,483,648 bytes for a tile that decoded has 12,288", size=1 << 33)


def ome(inner: str = "<TiffData/>", after: str = "", root: str = "", **sizes: object) -> bytes:
    """A file whose OME-XML has these sizes and elements."""
    stated = {"SizeX": 64, "SizeY": 64, "SizeC": 3, "SizeZ": 1, "SizeT": 1, **sizes}
    words = " ".join(f'{name}="{value}"' for name, value in stated.items())
    text = f'<OME {root}><Image ID="I"><Pixels DimensionOrder="XYCZT" Type="uint8" {words}>'
    text += f'<Channel SamplesPerPixel="3"/>{inner}</Pixels></Image>{after}</OME>'
    return tiff_bytes({270: (2, len(text) + 1, text.encode() + b"\0")})


@pytest.mark.parametrize("axis", ["SizeZ", "SizeC", "SizeT"])
def test_ome_of_very_many_planes(refuse: Callable[..., None], axis: str) -> None:
    refuse(ome(**{axis: 2 * 10**9}), "states 2,000,000,000 planes in its OME-XML")


@pytest.mark.parametrize("key", ["PlaneCount", "IFD", "FirstZ"])
def test_ome_parts_of_very_many_planes(refuse: Callable[..., None], key: str) -> None:
    refuse(ome(f'<TiffData {key}="2000000000"/>'), "states 2,000,000,000 planes")


def test_ome_of_more_pixels_than_its_table(refuse: Callable[..., None]) -> None:
    refuse(ome(SizeX=1 << 20, SizeY=1 << 20), "states .* planes in its OME-XML")
    refuse(ome("<TiffData/>" * 100_000), "states .* planes in its OME-XML")


def test_ome_with_an_axis_without_end(refuse: Callable[..., None]) -> None:
    along = '<StructuredAnnotations><A ID="A" Namespace="modulo"><Value><M>'
    along += '<ModuloAlongZ Start="0" End="1e15" Step="0.001"/></M></Value></A>'
    refuse(ome(after=along + "</StructuredAnnotations>"), "an axis without end")


@needs_pipes
def test_ome_opens_no_other_file(refuse: Callable[..., None], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.tif")  # opening it would wait for ever
    other = '<TiffData><UUID FileName="pipe.tif">urn:uuid:2</UUID></TiffData>'
    refuse(ome(other, root='UUID="urn:uuid:1"'), "is spread over several files", name="a.ome.tif")


def test_ome_that_was_renamed_opens(tmp_path: Path) -> None:
    part = '<TiffData IFD="0"><UUID FileName="before.ome.tif">urn:uuid:1</UUID></TiffData>'
    for root in ("", 'UUID="urn:uuid:1"'):
        (tmp_path / "after.ome.tif").write_bytes(ome(part, root=root))
        assert open_slide(tmp_path / "after.ome.tif", mpp=1).level_shapes == ((64, 64),)


@pytest.mark.parametrize("size", ["1e-308", "1e-3", "1000"])
def test_a_pixel_size_that_no_microscope_has(tmp_path: Path, size: str) -> None:
    path = tmp_path / "slide.svs"
    text = f"Aperio Image Library v1|MPP = {size}".encode()
    path.write_bytes(tiff_bytes({270: (2, len(text), text)}))
    with refused(path, r"states a pixel size of .*; pass mpp=\(y, x\)", MissingPixelSizeError):
        open_slide(path)
    assert open_slide(path, mpp=0.5).mpp == (0.5, 0.5)


@pytest.mark.parametrize("size", [1e-5, 1e5, float("inf")])
def test_a_pixel_size_that_no_user_means(tmp_path: Path, size: float) -> None:
    path = tmp_path / "slide.tif"
    path.write_bytes(tiff_bytes({}))
    with refused(path, "is no pixel size"):
        open_slide(path, mpp=size)


ENCODERS: dict[int, Callable[[np.ndarray], bytes]] = {
    7: imagecodecs.jpeg8_encode,
    33005: imagecodecs.jpeg2k_encode,
    33004: partial(imagecodecs.jpeg2k_encode, codecformat="j2k"),
    34933: imagecodecs.png_encode,
    50001: imagecodecs.webp_encode,
    50002: imagecodecs.jpegxl_encode,
    34934: imagecodecs.jpegxr_encode,
}
"""Codecs that have a header of their own, by TIFF's number."""


@pytest.mark.parametrize("code", ENCODERS)
def test_a_tile_whose_header_promises_more(tmp_path: Path, code: int) -> None:
    path = tmp_path / "slide.tif"
    data = {side: ENCODERS[code](np.zeros((side, side, 3), np.uint8)) for side in (64, 2100)}
    path.write_bytes(tiff_bytes({259: (3, 1, code)}, data=data[64]))
    assert open_slide(path, mpp=0.5).read(Box(0, 0, 64, 64)).shape == (64, 64, 3)
    path.write_bytes(tiff_bytes({259: (3, 1, code)}, data=data[2100]))
    slide = open_slide(path, mpp=0.5)
    with refused(path, "promises 2100 x 2100 pixels, 64 x 64 were expected", ReadError):
        slide.read(Box(0, 0, 64, 64))


@pytest.mark.parametrize("shape", [(1, 1), (7, 300), (64, 64), (301, 12)])
def test_headers_state_the_shape(shape: tuple[int, int]) -> None:
    for dtype in (np.uint8, np.uint16):
        pixels = np.zeros((*shape, 3), dtype)
        names = ["png", "jpeg2k", "jpegxl"] + ["bmp", "webp", "jpeg8"] * (dtype is np.uint8)
        for name in names:
            header = read_header(getattr(imagecodecs, f"{name}_encode")(pixels))
            assert header is not None, name
            assert (header.height, header.width) == shape, name
    lossless = imagecodecs.webp_encode(pixels.astype(np.uint8), lossless=True)
    assert (read_header(lossless) or Header(0, 0, 0))[:2] == shape


def test_headers_that_are_cut_or_strange() -> None:
    for encode in ENCODERS.values():
        data = encode(np.zeros((8, 8, 3), np.uint8))
        for size in range(40):
            read_header(data[:size])
    assert read_header(b"\xff\xd8\xff") is None
    assert read_header(b"") is None
    assert read_header(b"something else, of some length") is None


def png(side: int) -> bytes:
    """A PNG of black pixels, as long as memory lasts."""
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(bytes(side * 3 + 1)) for _ in range(side)) + packer.flush()
    chunks = b""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    for kind, content in ((b"IHDR", header), (b"IDAT", data), (b"IEND", b"")):
        chunks += struct.pack(">I", len(content)) + kind + content
        chunks += struct.pack(">I", zlib.crc32(kind + content))
    return b"\x89PNG\r\n\x1a\n" + chunks


def test_a_plain_image_that_unfolds_without_end(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(png(300))
    assert open_slide(path, mpp=1).level_shapes == ((300, 300),)
    path.write_bytes(path.read_bytes().replace(struct.pack(">II", 300, 300), b"\0\0\xf0\0" * 2))
    with refused(path, "takes 10.5 GiB to be decoded as a whole.*vips tiffsave"):
        open_slide(path, mpp=1)


@needs_pipes
@pytest.mark.parametrize("name", ["pipe.svs", "pipe.png", "pipe"])
def test_a_pipe(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with refused(tmp_path / name, "is a device or pipe; a file or folder was expected"):
        open_slide(tmp_path / name)


def test_a_link_to_itself(tmp_path: Path) -> None:
    path = tmp_path / "loop.svs"
    try:
        path.symlink_to(path.name)
    except OSError:
        pytest.skip("this user may make no links")
    with refused(path, "cannot be opened|no file"):
        open_slide(path)


def test_names_that_no_file_has(tmp_path: Path) -> None:
    for name, kind in (("a\0b.svs", LocationError), ("a" * 300, LocationError)):
        with pytest.raises(kind, match=r"^[^\n]{1,400}$"):
            open_slide(f"{tmp_path}/{name}")
    with pytest.raises(TwoStageError, match=r"^[^\n]{1,400}$"):
        open_slide(str(tmp_path / ("a/" * 3000)))


def test_a_name_of_two_lines_stays_in_one(tmp_path: Path) -> None:
    with pytest.raises(SlideError, match=r"^[^\n\x1b]+a b .*c.svs; check the path$"):
        open_slide(tmp_path / "a\nb \x1b[31mc.svs")


@pytest.mark.parametrize(
    ("at", "kind", "value"), [(22, "<i", 1 << 20), (10, "<I", 1 << 30), (28, "<H", 32)]
)
def test_a_bmp_whose_pixels_lie_beyond_its_end(
    tmp_path: Path, at: int, kind: str, value: int
) -> None:
    path = tmp_path / "image.bmp"  # its decoder would read other memory of the process
    data = bytearray(imagecodecs.bmp_encode(np.zeros((20, 30, 3), np.uint8)))
    path.write_bytes(data)
    assert open_slide(path, mpp=1).level_shapes == ((20, 30),)
    struct.pack_into(kind, data, at, value)
    path.write_bytes(data)
    with refused(path, "its header does not fit it"):
        open_slide(path, mpp=1)
