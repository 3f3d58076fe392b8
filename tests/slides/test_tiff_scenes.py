"""Which pages of a TIFF file are the slide and its levels, and which are something else."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import openslide
import pytest
import tifffile
from tests.slide_files import halved, write_ndpi, write_philips, write_svs

from napari_twostage.errors import SlideError
from napari_twostage.geometry import Box
from napari_twostage.samples import sample_slide
from napari_twostage.slides import open_slide

if TYPE_CHECKING:
    from pathlib import Path

    from napari_twostage.slides.base import Slide

Make = Callable[..., np.ndarray]
APERIO = "Aperio Image Library v11.2.1 \r\n"


@cache
def tissue() -> np.ndarray:
    """Real H&E: (1024, 1536, 3)."""
    pixels: np.ndarray = tifffile.imread(sample_slide(), series=0)
    return pixels[600:1624, 500:2036]


def whole(slide: Slide, level: int = 0) -> np.ndarray:
    return slide.read(Box(0, 0, *slide.level_shapes[level]), level)


def padded(pixels: np.ndarray, multiple: int) -> np.ndarray:
    rows, columns = (-side % multiple for side in pixels.shape[:2])
    return np.pad(pixels, ((0, rows), (0, columns), (0, 0)), constant_values=255)


def label(height: int, width: int) -> np.ndarray:
    pixels = np.full((height, width, 3), (0, 160, 0), np.uint8)
    pixels[height // 4 : height // 2, width // 4 : width // 2] = 255
    return pixels


def assert_levels_lie_right(slide: Slide, factors: list[float]) -> None:
    """Levels have these factors, and show what level 0 shows at the same place."""
    assert slide.factors == tuple((factor, factor) for factor in factors)
    for level, factor in enumerate(factors):
        found = whole(slide, level).astype(float)
        expected = halved(whole(slide), int(factor)).astype(float)
        rows, columns = (
            min(a, b) for a, b in zip(found.shape[:2], expected.shape[:2], strict=True)
        )
        assert np.abs(found[:rows, :columns] - expected[:rows, :columns]).mean() < 8


@pytest.mark.parametrize("subfiletype", [0, 1, 9])
@pytest.mark.parametrize("side", [256, 400])
def test_the_label_of_an_svs_is_no_level(tmp_path: Path, subfiletype: int, side: int) -> None:
    pixels, path = tissue()[:1024, :1024], tmp_path / "a.svs"
    about = f"{APERIO}1024x1024 [0,0 1024x1024] (256x256) JPEG/RGB Q=30|MPP = 0.4990"
    with tifffile.TiffWriter(path) as tif:
        common = {"photometric": "rgb", "metadata": None, "compression": "jpeg"}
        tif.write(pixels, tile=(256, 256), description=about, **common)
        thumb = halved(pixels, 4)
        tif.write(thumb, rowsperstrip=16, description=f"{APERIO}1024x1024 -> 256x256 - ", **common)
        tif.write(
            label(side, side), description=f"{APERIO}label {side}x{side}", subfiletype=subfiletype,
            **{**common, "compression": "lzw"},
        )  # fmt: skip
    slide = open_slide(path)
    assert slide.level_shapes == ((1024, 1024),)
    assert [(scene.name, scene.scan) for scene in slide.scenes] == [
        ("0", True), ("thumbnail", False), ("label", False),
    ]  # fmt: skip
    assert not slide.notices
    with openslide.OpenSlide(path) as other:
        assert other.level_count == 1
    np.testing.assert_array_equal(whole(open_slide(path, scene="label", mpp=1)), label(side, side))


def test_focal_planes_of_an_svs(tmp_path: Path, picture: Make) -> None:
    planes = [np.roll(picture(480, 480), 5 * n, axis=0) for n in range(3)]
    path = tmp_path / "a.svs"
    with tifffile.TiffWriter(path) as tif:
        common = {"photometric": "rgb", "metadata": None, "tile": (240, 240)}
        tif.write(planes[0], description=f"{APERIO}480x480|MPP = 0.5", **common)
        tif.write(halved(planes[0], 4), photometric="rgb", metadata=None, description=APERIO)
        for plane in planes[1:]:
            tif.write(plane, description=f"{APERIO}480x480", **common)
        for plane in planes:
            tif.write(halved(plane), description=f"{APERIO}480x480 -> 240x240", **common)
    with pytest.raises(SlideError, match="has 3 focal planes; choose one"):
        open_slide(path)
    slide = open_slide(path, z=2)
    np.testing.assert_array_equal(whole(slide), planes[2])
    np.testing.assert_array_equal(whole(slide, 1), halved(planes[2]))


@pytest.mark.parametrize("gaps", [[(0, 1)], [(0, 0), (1, 0), (1, 1)]])
def test_a_tile_that_a_coarse_level_lacks_is_read_from_the_finer_one(
    tmp_path: Path, gaps: list[tuple[int, int]]
) -> None:
    path = write_svs(tmp_path / "a.svs", tissue()[:960, :960], compression="zlib")
    with tifffile.TiffFile(path, mode="r+b") as tif:
        for page, columns in ((2, 2), (3, 1)):
            counts = list(tif.pages[page].tags[325].value)
            for row, column in gaps if page == 2 else [(0, 0)]:
                counts[row * columns + column] = 0
            tif.pages[page].tags[325].overwrite(counts)
    with open_slide(path) as slide, openslide.OpenSlide(path) as other:
        for level in (1, 2):
            height, width = slide.level_shapes[level]
            expected = halved(whole(slide), 2**level)
            assert np.abs(whole(slide, level).astype(int) - expected).max() <= 1
            region = np.asarray(other.read_region((0, 0), level, (width, height)))[..., :3]
            assert np.abs(whole(slide, level).astype(float) - region).mean() < 4


@pytest.mark.parametrize("subifds", [0, 2])
def test_a_tile_that_a_level_of_a_bare_pyramid_lacks(tmp_path: Path, subifds: int) -> None:
    pixels, path = tissue()[:512, :768], tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tif:
        common = {"photometric": "rgb", "tile": (64, 64), "metadata": None, "compression": "zlib"}
        tif.write(pixels, subifds=subifds, **common)
        tif.write(halved(pixels), subfiletype=1, **common)
        tif.write(halved(pixels, 4), subfiletype=1, **common)
    with tifffile.TiffFile(path, mode="r+b") as tif:
        pages = tif.pages[0].pages if subifds else tif.pages[1:]
        for page, gaps in zip(pages, ((0, 7, 8, 20), (5,)), strict=True):
            counts = list(page.tags[325].value)
            for gap in gaps:
                counts[gap] = 0
            page.tags[325].overwrite(counts)
    slide = open_slide(path, mpp=0.5)
    assert_levels_lie_right(slide, [1, 2, 4])
    assert np.abs(whole(slide, 1).astype(int) - halved(pixels)).max() <= 1


def test_a_tile_that_all_levels_lack_is_glass(tmp_path: Path) -> None:
    path = write_svs(tmp_path / "a.svs", tissue()[:960, :960], compression="zlib")
    with tifffile.TiffFile(path, mode="r+b") as tif:
        for page in (0, 2, 3):
            tag = tif.pages[page].tags[325]
            tag.overwrite([0] * tag.count)
    slide = open_slide(path)
    assert all((whole(slide, level) == 255).all() for level in range(3))


def test_scans_of_a_leica_file(tmp_path: Path) -> None:
    path, (left, right) = write_sections(tmp_path / "a.scn")
    slide = open_slide(path)
    assert [(scene.name, scene.scan) for scene in slide.scenes] == [
        ("macro", False), ("left", True), ("right", True),
    ]  # fmt: skip
    assert slide.picture.scene == 2
    assert any("scene 2 (right) of 2 is read" in notice for notice in slide.notices)
    np.testing.assert_array_equal(whole(slide), right)
    assert slide.mpp == pytest.approx((0.5, 0.5))
    other = open_slide(path, scene="left")
    np.testing.assert_array_equal(whole(other), left)
    assert other.mpp == pytest.approx((0.25, 0.25))
    assert other.fingerprint() != slide.fingerprint()
    np.testing.assert_array_equal(whole(open_slide(path, scene=0, mpp=1)), label(384, 134))


def write_sections(path: Path) -> tuple[Path, list[np.ndarray]]:
    """An SCN of a macro picture and two sections, at 0.25 and 0.5 µm, without compression loss."""
    sections = [tissue()[:256, :320], tissue()[300:620, 400:800]]
    scans = [(label(384, 134), (26564529, 76734602), (0, 0), "glass")]
    scans += [
        (pixels, (width * nm, height * nm), (3_000_000 * nm, 5_000_000), name)
        for pixels, nm, name in zip(sections, (250, 500), ("left", "right"), strict=True)
        for height, width in [pixels.shape[:2]]
    ]
    xml, pages = "", []
    for pixels, (width, height), (x, y), name in scans:
        levels = [pixels, halved(pixels)]
        dimensions = "".join(
            f'<dimension sizeX="{one.shape[1]}" sizeY="{one.shape[0]}" r="{r}" '
            f'ifd="{len(pages) + r}"/>'
            for r, one in enumerate(levels)
        )
        pages += levels
        size = f'sizeX="{pixels.shape[1]}" sizeY="{pixels.shape[0]}"'
        xml += f'<image name="{name}"><pixels {size}>{dimensions}</pixels>'
        xml += f'<view sizeX="{width}" sizeY="{height}" offsetX="{x}" offsetY="{y}"/></image>'
    about = (
        '<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01">'
        f'<collection name="c" sizeX="26564529" sizeY="76734602">{xml}</collection></scn>'
    )
    with tifffile.TiffWriter(path, bigtiff=True) as tif:
        for number, page in enumerate(pages):
            text = about if not number else None
            tif.write(
                page, photometric="rgb", tile=(64, 64), compression="zlib", metadata=None,
                description=text,
            )  # fmt: skip
    return path, sections


def test_images_of_an_ome_tiff(tmp_path: Path) -> None:
    overview, scan, small = halved(tissue(), 2), tissue()[:300, :400], tissue()[400:600, :300]
    path = tmp_path / "a.ome.tif"
    images = (
        (overview, 8.0, "overview"),
        (scan, 0.25, "section"),
        (small, 0.25, "another"),
        (label(90, 60), 0.0, "label image"),
    )
    with tifffile.TiffWriter(path, ome=True) as tif:
        for pixels, mpp, name in images:
            sizes = {"PhysicalSizeX": mpp, "PhysicalSizeY": mpp} if mpp else {}
            facts = {"axes": "YXS", "Name": name, **sizes}
            tif.write(pixels, photometric="rgb", tile=(64, 64), compression="zlib", metadata=facts)
    slide = open_slide(path)
    assert [scene.name for scene in slide.scenes] == [name for _, _, name in images]
    assert [scene.scan for scene in slide.scenes] == [True, True, True, False]
    assert slide.picture.scene == 1
    assert slide.mpp == (0.25, 0.25)
    assert any("scene 1 (section) of 3 is read" in notice for notice in slide.notices)
    for number, (pixels, mpp, name) in enumerate(images):
        for choice in (number, name):
            given = {} if mpp else {"mpp": 1.0}
            np.testing.assert_array_equal(whole(open_slide(path, scene=choice, **given)), pixels)
    with pytest.raises(SlideError, match=r"a.ome.tif has 4 scenes and none is 'lung'; choose one"):
        open_slide(path, scene="lung")


LAYOUTS: dict[str, dict[str, Any]] = {
    "tiles": {"tile": (128, 128), "compression": "jpeg", "compressionargs": {"level": 80}},
    "strips": {"rowsperstrip": 16, "compression": "zlib"},
    "uncompressed": {},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("flagged", [True, False])
@pytest.mark.parametrize("make", ["averaged", "thinned out"])
def test_a_bare_pyramid_among_other_pictures(
    tmp_path: Path, layout: str, flagged: bool, make: str
) -> None:
    pixels, path = tissue()[:512, :768], tmp_path / "a.tif"
    levels = [
        halved(pixels, factor) if make == "averaged" else pixels[::factor, ::factor]
        for factor in (2, 4, 8)
    ]
    other = np.rot90(pixels, 2)  # of the same shape, flags and colours
    with tifffile.TiffWriter(path) as tif:
        common = {"photometric": "rgb", "metadata": None, **LAYOUTS[layout]}
        reduced = {"subfiletype": int(flagged)}
        tif.write(pixels, **common)
        tif.write(label(128, 192), **common, **reduced)
        for level in levels[:2]:
            tif.write(level, **common, **reduced)
        tif.write(halved(other, 16), **common, **reduced)
        tif.write(levels[2], **common, **reduced)
    slide = open_slide(path, mpp=0.5)
    factors = [1, 2, 4, 8]
    assert slide.factors == tuple((factor, factor) for factor in factors)
    if make == "averaged":
        assert_levels_lie_right(slide, factors)


@pytest.mark.parametrize("side", [(250, 380), (256, 384), (200, 300)])
def test_another_picture_of_the_same_aspect_is_no_level(
    tmp_path: Path, side: tuple[int, int]
) -> None:
    path = tmp_path / "a.tif"
    for other in (label(*side), np.rot90(halved(tissue(), 4), 2)):
        with tifffile.TiffWriter(path) as tif:
            common = {"photometric": "rgb", "metadata": None, "tile": (128, 128)}
            tif.write(tissue(), **common)
            tif.write(other, subfiletype=1, **common)
        slide = open_slide(path, mpp=0.5)
        assert slide.level_shapes == (tissue().shape[:2],)
        assert [scene.scan for scene in slide.scenes] == [True, False]
        assert not slide.notices


def test_two_pictures_without_words_are_two_scenes(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    first, second = tissue()[:400, :500], tissue()[500:1000, 700:1500]
    with tifffile.TiffWriter(path) as tif:
        for pixels in (first, halved(first), second, halved(second)):
            tif.write(pixels, photometric="rgb", metadata=None, tile=(64, 64))
    slide = open_slide(path, mpp=0.5)
    assert slide.picture.scene == 1
    assert slide.level_shapes == ((500, 800), (250, 400))
    assert len(slide.scenes) == 2
    other = open_slide(path, mpp=0.5, scene=0)
    assert other.level_shapes == ((400, 500), (200, 250))
    np.testing.assert_array_equal(whole(other), first)


@pytest.mark.parametrize("multiple", [16, 128])
@pytest.mark.parametrize("stated", [True, False])
@pytest.mark.parametrize("subifds", [True, False])
@pytest.mark.parametrize("layout", ["tiles", "strips"])
def test_padded_levels(
    tmp_path: Path, multiple: int, stated: bool, subifds: bool, layout: str
) -> None:
    pixels, path = tissue()[:450, :715], tmp_path / "a.tif"
    levels = [padded(halved(pixels, factor), multiple) for factor in (1, 2, 4, 8)]
    with tifffile.TiffWriter(path) as tif:
        for number, level in enumerate(levels):
            resolution = {"resolution": (20000 / 2**number,) * 2} if stated else {}
            tif.write(
                level, photometric="rgb", metadata=None, subfiletype=int(number > 0),
                subifds=3 if subifds and not number else None, resolutionunit=3, **resolution,
                **LAYOUTS[layout],
            )  # fmt: skip
    slide = open_slide(path, mpp=0.5)
    found = [factor[0] for factor in slide.factors]
    assert set(found) <= {1, 2, 4, 8}
    assert_levels_lie_right(slide, found)
    if stated or layout == "tiles":
        assert found == [1, 2, 4, 8]


def test_a_mask_is_no_scan(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tif:
        tif.write(tissue()[:300, :400], photometric="rgb", metadata=None)
        tif.write(np.ones((300, 400), bool), subfiletype=4, photometric="mask", metadata=None)
        tif.write(halved(tissue()[:300, :400]), subfiletype=1, photometric="rgb", metadata=None)
    slide = open_slide(path, mpp=0.5)
    assert slide.level_shapes == ((300, 400), (150, 200))
    assert [scene.scan for scene in slide.scenes] == [True, False]


def test_rounded_resolutions_state_whole_factors(tmp_path: Path) -> None:
    pixels, path = tissue()[:899, :1427], tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tif:
        for number, resolution in enumerate((20000, 5000, 1250, 312)):
            tif.write(
                padded(halved(pixels, 4**number), 16), photometric="rgb", metadata=None,
                subfiletype=int(number > 0), tile=(64, 64), resolution=(resolution, resolution),
                resolutionunit=3,
            )  # fmt: skip
    assert_levels_lie_right(open_slide(path), [1, 4, 16, 64])


def test_padded_levels_of_philips(tmp_path: Path) -> None:
    pixels = padded(tissue()[:900, :1430], 64)
    path = write_philips(tmp_path / "a.tiff", pixels, spacing='"0.00025" "0.00025"', levels=5)
    slide = open_slide(path)
    assert_levels_lie_right(slide, [1, 2, 4, 8, 16])
    assert [scene.name for scene in slide.scenes[1:]] == ["macro", "label"]


def test_a_level_whose_factor_cannot_be_told_is_left_out(tmp_path: Path) -> None:
    flat = np.full((900, 1430, 3), 240, np.uint8)
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tif:
        common = {"photometric": "rgb", "metadata": None}
        tif.write(flat, subifds=1, **common)
        tif.write(flat[:480, :736], subfiletype=1, **common)
    assert open_slide(path, mpp=0.5).level_shapes == ((900, 1430),)


def test_hamamatsu_macro_is_no_level(tmp_path: Path, picture: Make) -> None:
    path, decoded = write_ndpi(tmp_path / "a.ndpi", picture(240, 1024))
    data = bytearray(path.read_bytes())
    ours = np.float32(5).tobytes()  # the magnification of the last level
    at = data.rindex(b"\x8d\xff\x0b\x00\x01\x00\x00\x00" + ours)
    data[at + 8 : at + 12] = np.float32(-1).tobytes()
    path.write_bytes(data)
    slide = open_slide(path)
    assert slide.level_shapes == tuple(one.shape[:2] for one in decoded[:2])
    assert [(scene.name, scene.scan) for scene in slide.scenes] == [("0", True), ("macro", False)]


@pytest.mark.parametrize("content", [b"", b"II*\0\x08\0\0\0", b"anything"])
def test_an_olympus_index_is_no_slide(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "scan.vsi"
    tifffile.imwrite(path, tissue()[:64, :64], photometric="rgb")
    path.write_bytes(content or path.read_bytes())
    with pytest.raises(SlideError, match=r"scan.vsi is an Olympus .*index.*_scan_ .*OME-TIFF"):
        open_slide(path, mpp=0.5)
