"""Plain images: damaged ones, and bombs whose headers promise, or unfold to, very many pixels."""

from __future__ import annotations

import io
import struct
import zlib
from functools import partial
from itertools import count, islice
from typing import TYPE_CHECKING

import imagecodecs
import numpy as np
import PIL.Image
from tests.campaigns.hostile import Case
from tests.campaigns.hostile.mutations import MUTATIONS, deflated_zeros
from tests.campaigns.hostile.slide_use import use_slide

from napari_twostage.geometry import Box
from napari_twostage.samples import sample_slide
from napari_twostage.slides import open_slide

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator
    from pathlib import Path


def cases(rng: random.Random, folder: Path) -> Iterator[Case]:
    """Yield damaged images without end, and bombs between them."""
    with open_slide(sample_slide()) as slide:
        pixels = np.asarray(slide.read(Box.at(1300, 900, 300, 260)))
    seeds = _seeds(folder, pixels)
    for path in seeds:
        use_slide(path, mpp=0.5)
    bombs = _bombs(pixels)
    for number in count():
        seed = seeds[number % len(seeds)]
        kind, mutate = rng.choice(MUTATIONS)
        path = folder / f"{seed.stem}-{kind}-{number}{seed.suffix}"
        path.write_bytes(mutate(rng, bytearray(seed.read_bytes())))
        mpp = rng.choice((0.5, 0.5, 0.5, None))
        yield Case(name=path.stem, use=partial(use_slide, path, mpp=mpp), file=path)
        for name, data in islice(bombs, 1):
            path = folder / name
            path.write_bytes(data)
            use = partial(use_slide, path, mpp=0.5)
            yield Case(name=name.replace(".", "-"), use=use, file=path)


def _seeds(folder: Path, pixels: np.ndarray) -> list[Path]:
    """Write one image of each format and kind."""
    made = folder / "seeds"
    made.mkdir()
    image, encode = PIL.Image.fromarray(pixels), imagecodecs
    contents = {
        "png.png": encode.png_encode(pixels),
        "png-16.png": encode.png_encode(pixels[..., 0].astype(np.uint16) << 6),
        "jpeg.jpg": encode.jpeg8_encode(pixels),
        "jp2.jp2": encode.jpeg2k_encode(pixels),
        "j2k.j2k": encode.jpeg2k_encode(pixels, codecformat="j2k"),
        "bmp.bmp": encode.bmp_encode(pixels),
        "webp.webp": encode.webp_encode(pixels),
        "webp-lossless.webp": encode.webp_encode(pixels, lossless=True),
    }
    for name, data in contents.items():
        (made / name).write_bytes(data)
    image.save(made / "progressive.jpg", progressive=True)
    image.quantize().save(made / "palette.png")
    image.quantize().save(made / "palette.bmp")
    return sorted(made.iterdir())


def _bombs(pixels: np.ndarray) -> Iterator[tuple[str, bytes]]:
    """Small files that promise up to 4 gigapixels, with and without the pixels."""
    for side in (0, 1, 20_000, 65_500, 2**31 - 1, 2**32 - 1):
        yield f"promise-{side}.png", _png(side, b"")
    jpeg = bytearray(imagecodecs.jpeg8_encode(pixels))
    for side in (0, 1, 20_000, 65_500, 65_535):
        struct.pack_into(">HH", jpeg, jpeg.index(b"\xff\xc0") + 5, side, side)
        yield f"promise-{side}.jpg", bytes(jpeg)
    stream = bytearray(imagecodecs.jpeg2k_encode(pixels, codecformat="j2k"))
    for side in (0, 20_000, 2**31 - 1, 2**32 - 1):
        struct.pack_into(">II", stream, 8, side, side)
        yield f"promise-{side}.j2k", bytes(stream)
        struct.pack_into(">II", stream, 24, side, side)
        yield f"promise-one-tile-{side}.j2k", bytes(stream)
    bmp = bytearray(imagecodecs.bmp_encode(pixels))
    for side in (0, 1, 30_000, -300, -(2**31), 2**31 - 1):
        struct.pack_into("<ii", bmp, 18, side, side)
        yield f"promise-{side}.bmp", bytes(bmp)
    for name, size, lossless in (("lossy", 5000, False), ("lossless", 16_000, True)):
        flat = np.zeros((size, size, 3), np.uint8)
        yield f"bomb-{name}.webp", imagecodecs.webp_encode(flat, lossless=lossless, level=0)
    for side in (12_000, 25_000):
        yield f"progressive-{side}.jpg", _progressive_jpeg(side)
    for side in (12_000, 30_000):
        yield f"bomb-{side}.png", _png(side, deflated_zeros((3 * side + 1) * side))


def _png(side: int, data: bytes) -> bytes:
    chunks = b""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    for kind, content in ((b"IHDR", header), (b"IDAT", data), (b"IEND", b"")):
        chunks += struct.pack(">I", len(content)) + kind + content
        chunks += struct.pack(">I", zlib.crc32(kind + content))
    return b"\x89PNG\r\n\x1a\n" + chunks


def _progressive_jpeg(side: int) -> bytes:
    """A grey square, whose decoder holds all coefficients at once."""
    stream = io.BytesIO()
    PIL.Image.new("L", (side, side)).save(stream, "jpeg", progressive=True)
    return stream.getvalue()
