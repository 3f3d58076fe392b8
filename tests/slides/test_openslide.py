"""The OpenSlide reader against the TIFF reader, tifffile and OpenSlide itself."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import openslide
import pytest
import tifffile
from imagecodecs import jpeg8_decode, jpeg8_encode
from tests.fakes import FakeModel

import napari_twostage as ts
from napari_twostage.cli.slide_info import describe_slide
from napari_twostage.errors import MissingPixelSizeError, ReadError, SlideError
from napari_twostage.geometry import Box
from napari_twostage.slides.openslide import open_with_openslide
from napari_twostage.slides.picture import Picture
from napari_twostage.slides.tiff import open_tiff

APERIO = "Aperio Image Library v11\r\n500x500 [0,0 500x500] (256x256) JPEG/YCC Q=80"


def write_tiles(path, tiles, description=f"{APERIO}|MPP = 0.25"):
    """Write 500 x 500 pixels as four JPEG tiles; an empty one was not scanned."""
    with tifffile.TiffWriter(path) as tif:
        tif.write(
            iter(tiles),
            shape=(500, 500, 3),
            dtype=np.uint8,
            tile=(256, 256),
            photometric="ycbcr",
            subsampling=(1, 1),
            compression="jpeg",
            description=description,
            metadata=None,
        )
    return path


@pytest.fixture
def tiles():
    noise = np.random.default_rng(0).integers(0, 256, (4, 256, 256, 3), dtype=np.uint8)
    return [bytes(jpeg8_encode(tile, 80, subsampling="444")) for tile in noise]


def test_the_real_slide_is_the_same_through_both_readers(real_slide):
    with open_with_openslide(real_slide) as slide, open_tiff(real_slide) as other:
        assert slide.level_shapes == other.level_shapes == ((2967, 2220),)
        assert slide.mpp == other.mpp == (0.499, 0.499)
        assert slide.mpp_source == "OpenSlide mpp"
        assert slide.format == "aperio through OpenSlide"
        assert slide.tile_shape(0) == (240, 240)
        assert (slide.channels, slide.dtype) == (3, np.uint8)
        boxes = [Box(900, 700, 1500, 1300), Box(2960, 2210, 2967, 2220), Box(-5, -7, 11, 13)]
        for box in boxes:
            np.testing.assert_array_equal(slide.read(box), other.read(box))


def test_beyond_the_edges_the_slide_is_reflected(real_slide):
    with open_with_openslide(real_slide) as slide:
        corner = slide.read(Box(2900, 2200, 2967, 2220))
        around = np.pad(corner, ((0, 30), (0, 15), (0, 0)), "reflect")
        np.testing.assert_array_equal(slide.read(Box(2900, 2200, 2997, 2235)), around)


def test_a_coarse_level_is_read_where_openslide_puts_it(write_svs, picture):
    path = write_svs(picture(701, 903))
    with open_with_openslide(path) as slide, openslide.OpenSlide(path) as other:
        assert slide.level_shapes == ((701, 903), (350, 451), (175, 225))
        whole = np.asarray(other.read_region((0, 0), 1, (451, 350)))[..., :3]
        np.testing.assert_array_equal(slide.read(Box(0, 0, 350, 451), 1), whole)
        assert slide.factors == ((1.0, 1.0), (2.0, 2.0), (4.0, 4.0))


def test_what_was_not_scanned_is_white(tmp_path, tiles):
    path = write_tiles(tmp_path / "a.svs", [tiles[0], b"", b"", tiles[3]])
    with open_with_openslide(path) as slide:
        pixels = slide.read(Box(0, 0, 500, 500))
    np.testing.assert_array_equal(pixels[:256, :256], jpeg8_decode(tiles[0]))
    np.testing.assert_array_equal(pixels[256:, 256:], jpeg8_decode(tiles[3])[:244, :244])
    assert (pixels[:256, 256:] == 255).all()
    assert (pixels[256:, :256] == 255).all()


def test_the_label_and_the_macro_picture_are_scenes(real_slide):
    with open_with_openslide(real_slide) as slide, openslide.OpenSlide(real_slide) as other:
        names = [scene.name for scene in slide.scenes]
        assert names == ["scan", *sorted(other.associated_images)]
        assert [scene.scan for scene in slide.scenes] == [True, *[False] * (len(names) - 1)]
        assert not slide.notices
        for name, image in other.associated_images.items():
            beside = open_with_openslide(real_slide, mpp=5, picture=Picture(scene=name))
            assert beside.level_shapes == (slide.scenes[names.index(name)].shape,)
            whole = beside.read(Box(0, 0, *beside.level_shapes[0]))
            np.testing.assert_array_equal(whole, np.asarray(image.convert("RGB")))
    with pytest.raises(MissingPixelSizeError):
        open_with_openslide(real_slide, picture=Picture(scene="label"))


@pytest.mark.parametrize("choice", [{"z": 1}, {"t": 1}, {"channel": 1}, {"channel": "DAPI"}])
def test_there_is_one_plane_to_choose(real_slide, choice):
    with pytest.raises(SlideError, match=r"svs has one .* was asked for; leave out"):
        open_with_openslide(real_slide, picture=Picture(**choice))


def test_threads_read_what_one_thread_reads(real_slide):
    boxes = [Box.at(170 * k % 2700, 290 * k % 2000, 200, 150) for k in range(24)]
    with open_with_openslide(real_slide) as slide, ThreadPoolExecutor(8) as pool:
        whole = slide.read(Box(0, 0, 2967, 2220))
        for box, found in zip(boxes, pool.map(slide.read, boxes), strict=True):
            np.testing.assert_array_equal(found, whole[box.slices])


def test_a_damaged_tile_costs_only_the_boxes_that_touch_it(tmp_path, tiles):
    path = write_tiles(tmp_path / "a.svs", [tiles[0], b"junk" * 100, tiles[2], tiles[3]])
    with open_with_openslide(path) as slide:
        for _ in range(2):  # OpenSlide itself refuses everything after its first error
            with pytest.raises(ReadError, match=r"^a\.svs cannot be read at rows 10 to 20, col"):
                slide.read(Box(10, 250, 20, 260))
            np.testing.assert_array_equal(slide.read(Box(0, 0, 256, 256)), jpeg8_decode(tiles[0]))


def test_without_a_pixel_size_the_user_has_to_give_one(tmp_path, tiles):
    path = write_tiles(tmp_path / "a.svs", tiles, description=APERIO)
    with pytest.raises(MissingPixelSizeError, match=r"a\.svs states no pixel size; pass mpp="):
        open_with_openslide(path)
    with open_with_openslide(path, mpp=(0.3, 0.4)) as slide:
        assert (slide.mpp, slide.mpp_source) == ((0.3, 0.4), "given by the user")


def test_the_fingerprint_names_the_pixels(tmp_path, tiles):
    names = []
    copies = [tiles, tiles, tiles[::-1]]
    for number, content in enumerate(copies):
        path = write_tiles(tmp_path / f"{number}.svs", content)
        with open_with_openslide(path) as slide:
            names.append(slide.fingerprint())
    assert names[0] == names[1] != names[2]


def test_without_openslide_the_error_says_how_to_get_it(monkeypatch, real_slide):
    monkeypatch.setitem(sys.modules, "openslide", None)
    with pytest.raises(SlideError, match=r"pip install 'napari-twostage\[openslide\]'$"):
        open_with_openslide(real_slide)


def test_what_is_no_slide_is_refused_in_one_line(tmp_path):
    (tmp_path / "a.mrxs").write_text("not a slide")
    with pytest.raises(SlideError, match=r"^a\.mrxs cannot be opened with OpenSlide .*[^\n]$"):
        open_with_openslide(tmp_path / "a.mrxs")
    with pytest.raises(SlideError, match="does not exist"):
        open_with_openslide(tmp_path / "b.mrxs")


# -- the scanned area -------------------------------------------------------------------------


def write_scan_on_a_large_plane(path, pixels, *, left, top, plane):
    """A Leica file whose scan lies at (left, top) of a plane of (width, height) pixels."""
    nanometres = 500
    macro = pixels[:256, :128]
    view = [value * nanometres for value in (*plane, left, top, *pixels.shape[1::-1])]
    settings = (
        "<scanSettings><objectiveSettings><objective>{}</objective></objectiveSettings>"
        "<illuminationSettings><numericalAperture>0.4</numericalAperture><illuminationSource>"
        "brightfield</illuminationSource></illuminationSettings></scanSettings>"
    )
    about = (
        '<creationDate>2020-01-01T00:00:00Z</creationDate><device model="Leica SCN400;Leica SCN" '
        'version="1.5"/>'
    )
    images = "".join(
        f'<image name="i{ifd}" uuid="u{ifd}">{about}<pixels sizeX="{p.shape[1]}" '
        f'sizeY="{p.shape[0]}"><dimension sizeX="{p.shape[1]}" sizeY="{p.shape[0]}" r="0" '
        f'ifd="{ifd}"/></pixels><view sizeX="{w}" sizeY="{h}" offsetX="{x}" offsetY="{y}" '
        f'spacingZ="0"/>{settings.format(objective)}</image>'
        for ifd, (p, objective, x, y, w, h) in enumerate(
            [
                (macro, 1.25, 0, 0, view[0], view[1]),
                (pixels, 20, view[2], view[3], view[4], view[5]),
            ]
        )
    )
    text = (
        '<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01" '
        f'uuid="u"><collection name="c" uuid="c" sizeX="{view[0]}" sizeY="{view[1]}">'
        f"<barcode>MTIz</barcode>{images}</collection></scn>"
    )
    with tifffile.TiffWriter(path, bigtiff=True) as tif:
        for number, page in enumerate((macro, pixels)):
            tif.write(
                page, photometric="rgb", tile=(256, 256), compression="jpeg", metadata=None,
                description=text if number == 0 else None,
            )  # fmt: skip
    return path


def test_geojson_lies_where_qupath_shows_the_scanned_area(tmp_path, picture):
    path = tmp_path / "scan.scn"
    write_scan_on_a_large_plane(path, picture(400, 300), left=700, top=1100, plane=(1400, 1800))
    with openslide.OpenSlide(path) as other:
        corner = [int(other.properties[f"openslide.bounds-{axis}"]) for axis in "xy"]
        size = [int(other.properties[f"openslide.bounds-{name}"]) for name in ("width", "height")]
    assert corner == [700, 1100]
    slide = open_with_openslide(path, mpp=0.5)
    assert slide.bounds == Box.at(*corner[::-1], *size[::-1])
    facts, lines = describe_slide(slide)
    assert facts["bounds"] == slide.bounds.as_list()
    assert any("from row 1,100, column 700; QuPath shows only these" in line for line in lines)
    seg = ts.segment(slide, FakeModel(), tmp_path / "a.zarr", region=slide.bounds, tissue=False)
    slide.close()
    again = ts.Segmentation.open(tmp_path / "a.zarr")  # the record has the bounds
    found = json.loads(ts.export(again, tmp_path / "a.geojson").read_text(encoding="utf-8"))
    whole = ts.export(seg, tmp_path / "b.geojson", crop=False).read_text(encoding="utf-8")
    assert found["napari-twostage"]["origin_px"] == corner
    assert found["features"]
    for cropped, plain in zip(found["features"], json.loads(whole)["features"], strict=True):
        moved, kept = (np.array(f["geometry"]["coordinates"][0]) for f in (cropped, plain))
        np.testing.assert_allclose(moved + corner, kept, atol=2e-4)


def test_a_slide_without_bounds_has_none(real_slide):
    with open_with_openslide(real_slide) as slide:
        assert slide.bounds is None
