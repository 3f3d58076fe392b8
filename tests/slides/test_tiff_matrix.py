"""Every way to store pixels in a TIFF, against tifffile, Pillow and libvips, pixel by pixel."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image
import pytest
import tifffile

from napari_twostage.errors import SlideError
from napari_twostage.geometry import Box, Grid
from napari_twostage.slides import open_slide
from napari_twostage.slides.view import View

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_twostage.slides.base import Slide

Make = Callable[..., np.ndarray]

HAS_LIBVIPS = find_spec("pyvips") is not None
PIECES: dict[str, dict[str, Any]] = {
    "tiles": {"tile": (64, 80)},
    "strips": {"rowsperstrip": 7},
    "one strip": {"rowsperstrip": 10**6},
}
CODECS: dict[str, dict[str, Any]] = {
    "uncompressed": {},
    "deflate and predictor": {"compression": "zlib", "predictor": True},
    "LZW": {"compression": "lzw"},
    "PackBits": {"compression": "packbits"},
    "zstd": {"compression": "zstd"},
    "LZMA": {"compression": "lzma"},
}
SAMPLES: dict[str, dict[str, Any]] = {
    "grey": {"photometric": "minisblack"},
    "RGB": {"photometric": "rgb", "planarconfig": "contig"},
    "RGB in planes": {"photometric": "rgb", "planarconfig": "separate"},
}


def whole(slide: Slide, level: int = 0) -> np.ndarray:
    return slide.read(Box(0, 0, *slide.level_shapes[level]), level)


def seen(slide: Slide) -> np.ndarray:
    """Pixels as models see them."""
    shape = slide.level_shapes[0]
    return View(slide, Grid(shape, (1, 1), slide.mpp)).read(Box(0, 0, *shape))


def by_libvips(path: Path) -> np.ndarray:
    """Pixels (h, w, C) as libvips reads them."""
    import pyvips

    pixels: np.ndarray = pyvips.Image.new_from_file(str(path)).numpy()
    return pixels if pixels.ndim == 3 else pixels[..., None]


def variants() -> Iterator[tuple[str, str, str, str, bool, type]]:
    """Each pair of two properties at least once."""
    for number, (pieces, codec, samples) in enumerate(product(PIECES, CODECS, SAMPLES)):
        for dtype in (np.uint8, np.uint16):
            order, big = "<>"[number % 2], number // 2 % 2 == 0
            yield pieces, codec, samples, order, big, dtype


@pytest.mark.parametrize(("pieces", "codec", "samples", "order", "big", "dtype"), list(variants()))
def test_every_layout(
    tmp_path: Path,
    picture: Make,
    pieces: str,
    codec: str,
    samples: str,
    order: str,
    big: bool,
    dtype: type,
) -> None:
    pixels = picture(103, 171, channels=1 if samples == "grey" else 3, dtype=dtype)
    stored = pixels[..., 0] if samples == "grey" else pixels
    stored = np.moveaxis(pixels, -1, 0) if samples == "RGB in planes" else stored
    path = tmp_path / "a.tif"
    layout = {**PIECES[pieces], **CODECS[codec], **SAMPLES[samples]}
    tifffile.imwrite(path, stored, metadata=None, byteorder=order, bigtiff=big, **layout)
    with open_slide(path, mpp=1.0) as slide:
        assert (slide.channels, slide.dtype) == (pixels.shape[2], dtype)
        np.testing.assert_array_equal(whole(slide), pixels)
        np.testing.assert_array_equal(slide.read(Box(60, 75, 101, 163)), pixels[60:101, 75:163])
    np.testing.assert_array_equal(tifffile.imread(path), stored)
    read_by_libvips = codec not in {"zstd", "LZMA"} and (pieces, samples) != (
        "tiles",
        "RGB in planes",
    )
    if HAS_LIBVIPS and read_by_libvips:
        np.testing.assert_array_equal(by_libvips(path), pixels)


@pytest.mark.parametrize("codec", ["jpeg", "jpeg2000", "webp", "jpegxl", "png"])
@pytest.mark.parametrize("pieces", ["tiles", "one strip"])
def test_image_codecs(tmp_path: Path, picture: Make, codec: str, pieces: str) -> None:
    path = tmp_path / "a.tif"
    pixels = picture(103, 171)
    tifffile.imwrite(
        path, pixels, metadata=None, photometric="rgb", compression=codec, **PIECES[pieces]
    )
    np.testing.assert_array_equal(whole(open_slide(path, mpp=1.0)), tifffile.imread(path))


NUMBERS = [np.int8, np.int16, np.int32, np.uint32, np.int64, np.float16, np.float32, np.float64]


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("codec", ["uncompressed", "deflate and predictor"])
@pytest.mark.parametrize("order", "<>")
def test_numbers_of_every_kind(
    tmp_path: Path, picture: Make, dtype: type, codec: str, order: str
) -> None:
    values = picture(60, 70, channels=1, dtype=np.uint8)[..., 0].astype(float) - 90
    values = values.clip(0) if np.dtype(dtype).kind == "u" else values
    path = tmp_path / "a.tif"
    layout = CODECS[codec] if np.dtype(dtype).itemsize < 8 else {}
    tifffile.imwrite(path, values.astype(dtype), metadata=None, byteorder=order, **layout)
    with open_slide(path, mpp=1.0) as slide:
        assert slide.dtype == np.float32
        np.testing.assert_array_equal(whole(slide)[..., 0], tifffile.imread(path))
        low, high = slide.intensity_range
        assert (low, high) == pytest.approx(np.percentile(values, (0.1, 99.9)))
        shown = np.rint((values - low).clip(0, high - low) * (255 / (high - low)))
        assert np.abs(seen(slide)[..., 0] - shown).max() <= 1


def test_pixels_that_are_no_number_are_black_and_do_not_count(tmp_path: Path) -> None:
    values = np.linspace(-5, 5, 64 * 64, dtype=np.float32).reshape(64, 64)
    values[:, :8], values[0, 60:] = np.nan, [np.inf, -np.inf, 0, 0]
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, values, metadata=None, tile=(32, 32))
    slide = open_slide(path, mpp=1.0)
    good = values[np.isfinite(values)]
    assert slide.intensity_range == pytest.approx(np.percentile(good, (0.1, 99.9)), rel=1e-6)
    shown = seen(slide)
    assert not shown[:, :8].any()
    assert shown[0, 60:62, 0].tolist() == [0, 0]
    assert shown[-1, -1].tolist() == [255] * 3
    halved = slide.read_at(Box(0, 0, 32, 32), (2.0, 2.0))[..., 0]
    blocks = values.reshape(32, 2, 32, 2).swapaxes(1, 2).reshape(32, 32, 4)
    assert np.isnan(halved[:, :4]).all()
    np.testing.assert_allclose(halved[1:, 4:], blocks[1:, 4:].mean(-1), rtol=1e-5, atol=1e-6)
    tifffile.imwrite(path, np.full((40, 40), np.nan, np.float32), metadata=None)
    assert not seen(open_slide(path, mpp=1.0)).any()


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_few_bits(tmp_path: Path, bits: int, photometric: str) -> None:
    full = 2**bits - 1
    values = np.random.default_rng(bits).integers(0, full + 1, (37, 41)).astype(np.uint8)
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, values.astype(bool) if bits == 1 else values, photometric=photometric,
        bitspersample=bits, metadata=None,
    )  # fmt: skip
    shown = whole(open_slide(path, mpp=1.0))[..., 0]
    scaled = values * (255 // full)
    np.testing.assert_array_equal(shown, 255 - scaled if photometric == "miniswhite" else scaled)
    np.testing.assert_array_equal(shown, np.asarray(PIL.Image.open(path).convert("L")))


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("inverted", [False, True])
def test_few_bits_compressed_by_libvips(tmp_path: Path, bits: int, inverted: bool) -> None:
    pyvips = pytest.importorskip("pyvips")
    full = 2**bits - 1
    values = np.random.default_rng(bits).integers(0, full + 1, (37, 40)) * (255 // full)
    path = str(tmp_path / "a.tif")
    image = pyvips.Image.new_from_array(values.tolist()).cast("uchar").copy(interpretation="b-w")
    image.tiffsave(path, bitdepth=bits, compression="lzw", miniswhite=inverted, predictor="none")
    np.testing.assert_array_equal(whole(open_slide(path, mpp=1.0))[..., 0], values)


@pytest.mark.parametrize("bits", [10, 12, 14])
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_packed_bits(tmp_path: Path, bits: int, photometric: str) -> None:
    values = np.random.default_rng(bits).integers(0, 2**bits, (37, 41)).astype(np.uint16)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, values, bitspersample=bits, photometric=photometric, metadata=None)
    with open_slide(path, mpp=1.0) as slide:
        white = 2**bits - 1
        expected = white - values if photometric == "miniswhite" else values
        np.testing.assert_array_equal(whole(slide)[..., 0], expected)


def test_12_bits_in_16_use_the_whole_range(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(100, 4000, (80, 90)).astype(np.uint16)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, values, metadata=None)
    shown = seen(open_slide(path, mpp=1.0))
    assert (shown.min(), shown.max()) == (0, 255)


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float32])
def test_white_is_zero(tmp_path: Path, picture: Make, dtype: type) -> None:
    values = picture(50, 60, channels=1)[..., 0].astype(dtype)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, values, photometric="miniswhite", metadata=None)
    shown = whole(open_slide(path, mpp=1.0))[..., 0].astype(float)
    assert (np.diff(shown.ravel()) == -np.diff(values.ravel().astype(float))).all()
    if dtype is np.uint16:
        np.testing.assert_array_equal(shown, 65535 - values.astype(float))


def alpha_written(path: Path, pixels: np.ndarray, extra: int, planar: str) -> Path:
    stored = np.moveaxis(pixels, -1, 0) if planar == "separate" else pixels
    tifffile.imwrite(
        path, stored, photometric="rgb", planarconfig=planar, extrasamples=[extra], metadata=None
    )
    return path


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_fourth_sample_by_its_meaning(
    tmp_path: Path, picture: Make, planar: str, dtype: type
) -> None:
    full = int(np.iinfo(dtype).max)
    colours = picture(60, 70, dtype=dtype).astype(float)
    alpha = (picture(60, 70, channels=1, dtype=dtype) // 2 + full // 3).astype(float)
    part = alpha / full
    plain = np.concatenate([colours, alpha], -1).astype(dtype)
    unspecified = open_slide(alpha_written(tmp_path / "0.tif", plain, 0, planar), mpp=1)
    assert unspecified.channels == 3
    np.testing.assert_array_equal(whole(unspecified), plain[..., :3])
    assert any("fourth" in notice for notice in unspecified.notices)
    unassociated = open_slide(alpha_written(tmp_path / "2.tif", plain, 2, planar), mpp=1)
    np.testing.assert_array_equal(whole(unassociated), plain)
    ready = np.concatenate([np.floor(colours * part), alpha], -1).astype(dtype)
    premultiplied = open_slide(alpha_written(tmp_path / "1.tif", ready, 1, planar), mpp=1)
    assert premultiplied.channels == 3
    np.testing.assert_array_equal(whole(premultiplied), ready[..., :3] + (full - alpha))
    if dtype is np.uint8:
        laid = np.rint(colours * part + 255 - alpha)
        assert np.abs(seen(unassociated) - laid).max() <= 1
        assert np.abs(seen(premultiplied) - laid).max() <= 1


def test_an_alpha_that_hides_everything_is_left_out(tmp_path: Path, picture: Make) -> None:
    pixels = np.concatenate([picture(60, 70), np.zeros((60, 70, 1), np.uint8)], -1)
    slide = open_slide(alpha_written(tmp_path / "a.tif", pixels, 2, "contig"), mpp=1)
    np.testing.assert_array_equal(whole(slide), pixels[..., :3])
    assert any("alpha is 0 everywhere" in notice for notice in slide.notices)


@pytest.mark.parametrize(("extra", "mode"), [(2, "plain"), (1, "premultiplied")])
def test_grey_with_alpha(tmp_path: Path, extra: int, mode: str) -> None:
    pixels = np.random.default_rng(3).integers(0, 255, (30, 40, 2)).astype(np.uint8)
    if mode == "premultiplied":
        pixels[..., 0] = np.minimum(*np.moveaxis(pixels, -1, 0))
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, pixels, photometric="minisblack", planarconfig="contig", extrasamples=[extra],
        metadata=None,
    )  # fmt: skip
    grey, alpha = np.moveaxis(pixels.astype(float), -1, 0)
    laid = grey * (alpha / 255 if mode == "plain" else 1) + 255 - alpha
    np.testing.assert_array_equal(whole(open_slide(path, mpp=1))[..., 0], np.rint(laid))


def test_bits_in_reverse_order(tmp_path: Path, picture: Make) -> None:
    values = picture(40, 50, channels=1)[..., 0]
    flipped = np.packbits(np.unpackbits(values).reshape(-1, 8)[:, ::-1]).reshape(values.shape)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, flipped, metadata=None, extratags=[(266, 3, 1, 2, True)])
    np.testing.assert_array_equal(whole(open_slide(path, mpp=1))[..., 0], tifffile.imread(path))


@pytest.mark.parametrize("photometric", ["separated", "cielab", "palette"])
def test_other_colours_are_refused(tmp_path: Path, photometric: str) -> None:
    path = tmp_path / "a.tif"
    shape = {"separated": (32, 32, 4), "cielab": (32, 32, 3), "palette": (32, 32)}[photometric]
    colours = {"colormap": np.zeros((3, 256), np.uint16)} if photometric == "palette" else {}
    tifffile.imwrite(path, np.zeros(shape, np.uint8), photometric=photometric, **colours)
    with pytest.raises(SlideError, match=r"a.tif has \w+ pixels, grey or RGB were expected"):
        open_slide(path, mpp=1)
