"""The TIFF family against tifffile and OpenSlide, pixel by pixel."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
import openslide
import pytest
import tifffile

from napari_twostage.errors import MissingPixelSizeError, ReadError, SlideError
from napari_twostage.geometry import Box
from napari_twostage.slides import open_slide
from napari_twostage.slides.byte_source import PositionedFile
from napari_twostage.slides.tile_cache import TileCache

if TYPE_CHECKING:
    from napari_twostage.slides.base import Slide

Make = Callable[..., np.ndarray]
Write = Callable[..., Path]


@pytest.fixture
def bytes_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of all reads of TIFF files from now on."""
    counted: list[int] = []
    read = PositionedFile.read

    def count(self: PositionedFile, offset: int, size: int) -> bytes:
        counted.append(size)
        return read(self, offset, size)

    monkeypatch.setattr(PositionedFile, "read", count)
    return counted


def whole(slide: Slide, level: int = 0) -> np.ndarray:
    return slide.read(Box(0, 0, *slide.level_shapes[level]), level)


def assert_like_tifffile(path: Path, slide: Slide, series: int = 0) -> None:
    with tifffile.TiffFile(path) as tif:
        levels = tif.series[series].levels
        assert len(levels) == len(slide.level_shapes)
        for number, level in enumerate(levels):
            expected = level.asarray().reshape(*slide.level_shapes[number], slide.channels)
            np.testing.assert_array_equal(whole(slide, number), expected)


def test_the_real_slide_like_two_other_readers(real_slide: Path) -> None:
    with open_slide(real_slide) as slide:
        assert slide.format == "Aperio SVS"
        assert slide.level_shapes == ((2967, 2220),)
        assert (slide.mpp, slide.mpp_source) == ((0.499, 0.499), "Aperio MPP")
        assert_like_tifffile(real_slide, slide)
        with openslide.OpenSlide(real_slide) as other:
            region = np.asarray(other.read_region((700, 1000), 0, (1500, 1900)))[..., :3]
        np.testing.assert_array_equal(slide.read(Box.at(1000, 700, 1900, 1500)), region)


@pytest.mark.parametrize("compression", ["jpeg", 33005])
def test_aperio(write_svs: Write, picture: Make, compression: object) -> None:
    path = write_svs(picture(1031, 777), compression=compression)
    with open_slide(path) as slide:
        assert slide.format == "Aperio SVS"
        assert slide.level_shapes == ((1031, 777), (515, 388), (257, 194))
        assert slide.factors == ((1, 1), (2, 2), (4, 4))
        assert (slide.mpp, slide.mpp_source) == ((0.252, 0.252), "Aperio MPP")
        assert slide.tile_shape(0) == (240, 240)
        assert_like_tifffile(path, slide)
        with openslide.OpenSlide(path) as other:
            for level, (height, width) in enumerate(slide.level_shapes):
                region = np.asarray(other.read_region((0, 0), level, (width, height)))[..., :3]
                assert np.abs(region.astype(int) - whole(slide, level)).max() <= 2


def test_aperio_jpeg2000_that_keeps_luma_and_chroma(tmp_path: Path, picture: Make) -> None:
    pixels = picture(300, 260)
    to_ycc = np.array(
        [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]
    )
    padded = np.pad(pixels, ((0, 212), (0, 252), (0, 0)), mode="edge")
    stored = np.rint(padded @ to_ycc.T + [0, 128, 128]).clip(0, 255).astype(np.uint8)
    tiles = [
        imagecodecs.jpeg2k_encode(
            stored[y : y + 256, x : x + 256].copy(), codecformat="j2k", mct=False, reversible=True
        )
        for y in (0, 256)
        for x in (0, 256)
    ]
    path = tmp_path / "slide.svs"
    tifffile.imwrite(
        path, iter(tiles), shape=pixels.shape, dtype=np.uint8, tile=(256, 256), photometric="rgb",
        compression=33003, metadata=None, description="Aperio Image Library v10|MPP = 0.5",
    )  # fmt: skip
    slide = open_slide(path)
    assert np.abs(whole(slide).astype(int) - pixels).max() <= 2
    with openslide.OpenSlide(path) as other:
        region = np.asarray(other.read_region((0, 0), 0, (260, 300)))[..., :3]
    assert np.abs(whole(slide).astype(int) - region).max() <= 1


def test_hamamatsu(write_ndpi: Write, picture: Make) -> None:
    path, decoded = write_ndpi(picture(240, 1024), per_cm=44000)
    with open_slide(path) as slide:
        assert slide.format == "Hamamatsu NDPI"
        assert slide.tile_shape(0) == (8, 128)
        assert slide.mpp == pytest.approx((10 / 44, 10 / 44))
        assert slide.mpp_source == "NDPI resolution"
        assert len(slide.level_shapes) == len(decoded)
        for level, expected in enumerate(decoded):
            np.testing.assert_array_equal(whole(slide, level), expected)


def test_a_hamamatsu_strip_is_read_piece_by_piece(
    write_ndpi: Write, picture: Make, bytes_read: list[int]
) -> None:
    path, (expected, *_) = write_ndpi(picture(800, 2048))
    slide = open_slide(path)
    np.testing.assert_array_equal(slide.read(Box(400, 300, 440, 500)), expected[400:440, 300:500])
    assert sum(bytes_read) < path.stat().st_size / 20


def test_leica(write_scn: Write, picture: Make) -> None:
    path = write_scn(picture(901, 1003), nanometres=250)
    with open_slide(path) as slide:
        assert slide.format == "Leica SCN"
        assert slide.mpp == pytest.approx((0.25, 0.25))
        assert slide.mpp_source == "Leica SCN view"
        assert slide.level_shapes[0] == (901, 1003)  # not the macro image, which comes first
        assert_like_tifffile(path, slide, series=1)


def test_ventana(write_bif: Write, picture: Make) -> None:
    path = write_bif(picture(1024, 768))
    with open_slide(path) as slide:
        assert slide.format == "Ventana BIF"
        assert (slide.mpp, slide.mpp_source) == ((0.465, 0.465), "Ventana ScanRes")
        assert len(slide.level_shapes) == 3
        assert_like_tifffile(path, slide)


def test_ventana_tiles_that_overlap_are_not_laid_side_by_side(
    write_bif: Write, picture: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_twostage.slides.formats.find_spec", lambda _: None)
    with pytest.raises(SlideError, match="overlapping tiles; install OpenSlide"):
        open_slide(write_bif(picture(1024, 768), overlap=18))


def test_trestle_tiles_that_overlap_are_not_laid_side_by_side(
    tmp_path: Path, picture: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_twostage.slides.formats.find_spec", lambda _: None)
    path = tmp_path / "a.tif"
    for overlaps in ("0 0", "64 64 32 32"):
        tifffile.imwrite(
            path, picture(256, 256), photometric="rgb", tile=(128, 128), metadata=None,
            software="MedScan", description=f"Objective Power=20;OverlapsXY={overlaps}",
        )  # fmt: skip
        if overlaps == "0 0":
            open_slide(path, mpp=1.0)
    with pytest.raises(SlideError, match=r"a.tif has overlapping tiles; install OpenSlide"):
        open_slide(path, mpp=1.0)


@pytest.mark.parametrize("unit", ["µm", "nm", "mm"])
def test_ome_tiff_with_sub_ifds(write_ome: Write, picture: Make, unit: str) -> None:
    length = {"µm": 1, "nm": 1000, "mm": 0.001}[unit]
    sizes = {"PhysicalSizeY": 0.5 * length, "PhysicalSizeX": 0.25 * length}
    units = {"PhysicalSizeYUnit": unit, "PhysicalSizeXUnit": unit}
    path = write_ome(picture(515, 389), axes="YXS", **sizes, **units)
    with open_slide(path) as slide:
        assert slide.format == "OME-TIFF"
        assert slide.mpp == pytest.approx((0.5, 0.25))
        assert slide.mpp_source == "OME PhysicalSize"
        assert slide.level_shapes == ((515, 389), (257, 194), (128, 97))
        assert_like_tifffile(path, slide)


def test_a_fluorescence_channel_is_chosen_by_number_or_name(
    write_ome: Write, picture: Make
) -> None:
    planes = np.moveaxis(picture(300, 200, channels=5, dtype=np.uint16), -1, 0)
    names = ["DAPI", "CD3", "CD8", "PanCK", ""]
    path = write_ome(planes, axes="CYX", Channel={"Name": names})
    for channel, index in ((0, 0), (3, 3), ("CD8", 2), ("4", 4)):
        with open_slide(path, mpp=0.5, channel=channel) as slide:
            assert (slide.channels, slide.dtype, len(slide.level_shapes)) == (1, np.uint16, 3)
            np.testing.assert_array_equal(whole(slide)[..., 0], planes[index])
            with tifffile.TiffFile(path) as tif:
                coarse = tif.series[0].levels[2].asarray()[index]
            np.testing.assert_array_equal(whole(slide, 2)[..., 0], coarse)
    with pytest.raises(SlideError, match=r"5 channels; choose one of 0 \(DAPI\), .* 4 with"):
        open_slide(path, mpp=0.5)
    with pytest.raises(SlideError, match="none is 'CD19'"):
        open_slide(path, mpp=0.5, channel="CD19")


@pytest.mark.parametrize("flavour", [{"imagej": True}, {"imagej": False}])
def test_channels_that_share_one_table(
    tmp_path: Path, picture: Make, flavour: dict[str, bool]
) -> None:
    """Planes that follow each other in the file: only the first has tables of its own."""
    planes = np.moveaxis(picture(70, 80, channels=4, dtype=np.uint16), -1, 0)
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, planes, metadata={"axes": "CYX"}, photometric="minisblack", **flavour)
    slide = open_slide(path, mpp=1.0, channel=2)
    np.testing.assert_array_equal(whole(slide)[..., 0], planes[2])


LAYOUTS: dict[str, dict[str, Any]] = {
    "tiles, deflate": {"tile": (64, 80), "compression": "zlib"},
    "tiles, uncompressed": {"tile": (64, 80)},
    "strips, LZW and predictor": {"rowsperstrip": 7, "compression": "lzw", "predictor": True},
    "strips, uncompressed": {"rowsperstrip": 10},
    "one strip": {"rowsperstrip": 10**6},
    "one strip, deflate": {"rowsperstrip": 10**6, "compression": "zlib"},
    "big-endian": {"byteorder": ">", "rowsperstrip": 9},
    "zstd": {"tile": (64, 64), "compression": "zstd"},
}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    ("channels", "planar"), [(1, "contig"), (3, "contig"), (3, "separate"), (4, "contig")]
)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_of_a_plain_tiff(
    tmp_path: Path, picture: Make, layout: str, channels: int, planar: str, dtype: type
) -> None:
    pixels = picture(203, 171, channels=channels, dtype=dtype)
    stored = np.moveaxis(pixels, -1, 0) if planar == "separate" else pixels
    path = tmp_path / "plain.tif"
    colours = {"photometric": "rgb", "planarconfig": planar} if channels > 1 else {}
    colours |= {"extrasamples": ["unassalpha"]} if channels == 4 else {}
    stored = stored[..., 0] if channels == 1 else stored
    tifffile.imwrite(path, stored, metadata=None, **colours, **LAYOUTS[layout])
    with open_slide(path, mpp=1.0) as slide:
        assert (slide.channels, slide.dtype, slide.format) == (channels, dtype, "TIFF")
        np.testing.assert_array_equal(whole(slide), pixels)
        np.testing.assert_array_equal(slide.read(Box(60, 75, 131, 163)), pixels[60:131, 75:163])


def test_white_is_zero(tmp_path: Path, picture: Make) -> None:
    pixels = picture(50, 60, channels=1)
    path = tmp_path / "inverted.tif"
    tifffile.imwrite(path, pixels[..., 0], photometric="miniswhite", tile=(32, 32))
    np.testing.assert_array_equal(whole(open_slide(path, mpp=1.0)), 255 - pixels)


def test_one_of_many_samples(tmp_path: Path, picture: Make) -> None:
    pixels = picture(90, 100, channels=5)
    for planar in ("contig", "separate"):
        path = tmp_path / f"{planar}.tif"
        stored = np.moveaxis(pixels, -1, 0) if planar == "separate" else pixels
        tifffile.imwrite(
            path, stored, photometric="minisblack", planarconfig=planar, tile=(32, 32),
            metadata=None,
        )  # fmt: skip
        slide = open_slide(path, mpp=1.0, channel=3)
        np.testing.assert_array_equal(whole(slide), pixels[..., 3:4])


@pytest.mark.parametrize("factor", [2, 8])
@pytest.mark.parametrize("subifds", [False, True])
def test_a_plain_pyramid(tmp_path: Path, picture: Make, factor: int, subifds: bool) -> None:
    pixels = picture(519, 777)
    path = tmp_path / "pyramid.tif"
    coarse = pixels[: 519 // factor * factor : factor, : 777 // factor * factor : factor]
    with tifffile.TiffWriter(path) as tif:
        common = {"metadata": None, "tile": (64, 64), "photometric": "rgb"}
        tif.write(pixels, subifds=int(subifds), resolution=(4000, 5000), resolutionunit=3, **common)
        tif.write(coarse, subfiletype=1, **common)
        if not subifds:
            tif.write(np.zeros((60, 200, 3), np.uint8), subfiletype=1, **common)  # a label
    with open_slide(path) as slide:
        assert slide.mpp == pytest.approx((2.0, 2.5))
        assert slide.mpp_source == "TIFF resolution"
        assert slide.level_shapes == ((519, 777), coarse.shape[:2])
        assert slide.factors[1] == (factor, factor)
        np.testing.assert_array_equal(whole(slide, 1), coarse)


@pytest.mark.parametrize(
    ("resolution", "unit"), [(72, 2), (96, 2), (300, 2), (600, 2), (300, 3), (1, 1), (10**7, 3)]
)
def test_the_resolution_of_printers_is_no_pixel_size(
    tmp_path: Path, picture: Make, resolution: int, unit: int
) -> None:
    path = tmp_path / "scan.tif"
    tifffile.imwrite(path, picture(40, 40), resolution=(resolution,) * 2, resolutionunit=unit)
    with pytest.raises(
        MissingPixelSizeError, match=r"scan.tif states no pixel size; pass mpp=\(y, x\)"
    ):
        open_slide(path)
    assert open_slide(path, mpp=0.5).mpp_source == "given by the user"


def test_imagej_states_its_unit(tmp_path: Path, picture: Make) -> None:
    path = tmp_path / "crop.tif"
    tifffile.imwrite(path, picture(40, 40), imagej=True, resolution=(2, 4), metadata={"unit": "um"})
    assert open_slide(path).mpp == pytest.approx((0.25, 0.5))


def test_empty_tiles_show_the_background(tmp_path: Path) -> None:
    grey, rgb = tmp_path / "grey.tif", tmp_path / "rgb.tif"
    for path, channels, background in ((grey, 1, 0), (rgb, 3, 255)):
        pixels = np.full((128, 192, channels), 77, np.uint8)
        pixels = pixels if channels == 3 else pixels[..., 0]
        photometric = "rgb" if channels == 3 else "minisblack"
        tifffile.imwrite(path, pixels, tile=(64, 64), photometric=photometric, compression="zlib")
        with tifffile.TiffFile(path, mode="r+b") as tif:
            tags = tif.pages[0].tags
            counts = list(tags[325].value)
            counts[4] = 0
            tags[325].overwrite(counts)
        read = whole(open_slide(path, mpp=1.0))
        assert (read[64:, 64:128] == background).all()
        assert (read[:64] == 77).all()
        assert (read[64:, 128:] == 77).all()


@pytest.mark.parametrize("compression", ["jpeg", "zlib", "lzw", 33005])
@pytest.mark.parametrize("damage", ["zeros", "cut"])
def test_a_damaged_tile_is_named_and_the_others_are_read(
    tmp_path: Path, compression: object, damage: str
) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (512, 512, 3), np.uint8)
    path = tmp_path / "damaged.tif"
    tifffile.imwrite(
        path, pixels, tile=(128, 128), compression=compression, photometric="rgb", metadata=None
    )
    with tifffile.TiffFile(path) as tif:
        expected = tif.asarray()
        offset, count = (
            values[6] for values in (tif.pages[0].dataoffsets, tif.pages[0].databytecounts)
        )
    with path.open("r+b") as file:
        kept = 0 if damage == "zeros" else count // 3
        file.seek(offset + kept)
        file.write(bytes(count - kept))
    with open_slide(path, mpp=1.0) as slide:
        with pytest.raises(ReadError, match=r"damaged.tif: the tile in row 1, column 2 of level 0"):
            slide.read(Box(100, 100, 300, 300))
        np.testing.assert_array_equal(slide.read(Box(0, 0, 128, 512)), expected[:128])
        np.testing.assert_array_equal(slide.read(Box(128, 0, 512, 256)), expected[128:, :256])


@pytest.mark.parametrize("padding", [b"", bytes(9000), b"\xff" * 9000])
def test_padding_behind_a_jpeg_tile_is_no_damage(
    tmp_path: Path, picture: Make, padding: bytes
) -> None:
    pixels = picture(128, 256)
    tiles = [
        imagecodecs.jpeg8_encode(pixels[:, x : x + 128].copy(), outcolorspace="rgb") + padding
        for x in (0, 128)
    ]
    path = tmp_path / "padded.tif"
    tifffile.imwrite(
        path, iter(tiles), shape=pixels.shape, dtype=np.uint8, tile=(128, 128), metadata=None,
        photometric="rgb", compression="jpeg",
    )  # fmt: skip
    np.testing.assert_array_equal(whole(open_slide(path, mpp=1.0)), tifffile.imread(path))


@pytest.mark.parametrize(
    "layout", [{"tile": (256, 256), "compression": "zlib"}, {"rowsperstrip": 10**6}]
)
def test_a_small_read_touches_little_of_the_file(
    tmp_path: Path, layout: dict[str, Any], bytes_read: list[int]
) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (4000, 3000, 3), np.uint8)
    path = tmp_path / "large.tif"
    tifffile.imwrite(path, pixels, photometric="rgb", **layout)
    slide = open_slide(path, mpp=1.0)
    np.testing.assert_array_equal(
        slide.read(Box(2000, 1000, 2100, 1100)), pixels[2000:2100, 1000:1100]
    )
    assert sum(bytes_read) < 3 << 20  # of 36 MB
    bytes_read.clear()
    slide.read(Box(2010, 1010, 2090, 1090))
    assert not bytes_read  # held decoded


def test_threads_read_what_one_thread_reads(write_svs: Write, picture: Make) -> None:
    pixels = picture(1031, 777)
    path = write_svs(pixels)
    rng = np.random.default_rng(3)
    boxes = [Box.at(int(y), int(x), 200, 190) for y, x in rng.integers(-50, 700, (60, 2))]
    with open_slide(path) as slide, open_slide(path, cache_bytes=400_000) as small:
        expected = [slide.read(box) for box in boxes]
        with ThreadPoolExecutor(8) as pool:
            for got, want in zip(pool.map(small.read, boxes), expected, strict=True):
                np.testing.assert_array_equal(got, want)


def test_a_closed_slide_is_not_read(real_slide: Path) -> None:
    slide = open_slide(real_slide)
    slide.close()
    with pytest.raises(ReadError, match="closed"):
        slide.read(Box(0, 0, 10, 10))


def test_the_fingerprint_names_the_file(write_svs: Write, picture: Make) -> None:
    pixels = picture(500, 500)
    path = write_svs(pixels)
    first = open_slide(path).fingerprint()
    moved = path.rename(path.with_name("other name.svs"))
    assert open_slide(moved, mpp=9).fingerprint() == first
    pixels[250:, 250:] = 0
    assert open_slide(write_svs(pixels)).fingerprint() != first


def test_the_cache_keeps_to_its_bound_and_drops_the_longest_unused() -> None:
    cache = TileCache(max_bytes=250)
    loaded: list[str] = []

    def get(name: str, size: int = 100) -> None:
        def load() -> np.ndarray:
            loaded.append(name)
            return np.zeros(size, np.uint8)

        cache.get(name, load)

    for name in "abacab":  # c pushes b out, as a was used after it
        get(name)
    assert loaded == list("abcb")
    get("large", 999)
    get("large", 999)
    assert loaded == ["a", "b", "c", "b", "large"]
    get("a")
    assert loaded[-1] == "a"


def test_threads_that_want_the_same_tile_share_one_decoding() -> None:
    cache = TileCache(max_bytes=1000)
    calls: list[int] = []
    started = threading.Event()
    release = threading.Event()

    def load() -> np.ndarray:
        calls.append(1)
        started.set()
        assert release.wait(10)
        return np.arange(3)

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(cache.get, "tile", load)
        assert started.wait(10)
        others = [pool.submit(cache.get, "tile", load) for _ in range(3)]
        release.set()
        tiles = [one.result(10) for one in (first, *others)]
    assert len(calls) == 1
    assert all(tile is tiles[0] for tile in tiles)


def test_a_tile_that_failed_is_tried_again() -> None:
    cache = TileCache(max_bytes=1000)

    def fail() -> np.ndarray:
        raise ReadError("network gone")

    with pytest.raises(ReadError):
        cache.get("tile", fail)
    assert cache.get("tile", lambda: np.arange(3)).size == 3
