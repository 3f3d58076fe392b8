"""Annotated slides: the pixels of inference, the masks that were drawn, and errors that name."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from tests.export.fakes import FakeSegmentation
from tests.fakes import CLASSES, FakeModel, make_card, noise

import napari_twostage as ts
from napari_twostage.engine.api import working_grid
from napari_twostage.geometry import Box
from napari_twostage.slides.view import View
from napari_twostage.training.datasets import DatasetError, Samples, load_dataset, mpp_range
from napari_twostage.training.datasets import annotated_slides as slides_module
from napari_twostage.training.datasets.annotated_slides import pieces, training_grid

if TYPE_CHECKING:
    from pathlib import Path

    from napari_twostage.slides.base import Slide

SIZE = (310, 420)


def write_slide(path: Path, *, mpp: float | None = 0.5, pixels: np.ndarray | None = None) -> Path:
    """Write an OME-TIFF of one level."""
    path.parent.mkdir(parents=True, exist_ok=True)
    size = {} if mpp is None else {"PhysicalSizeX": mpp, "PhysicalSizeY": mpp}
    tifffile.imwrite(
        path, noise(*SIZE) if pixels is None else pixels, photometric="rgb", tile=(64, 64),
        metadata={"axes": "YXS", **size},
    )  # fmt: skip
    return path


def polygon(left: float, top: float, right: float, bottom: float, name: str | None = None) -> dict:
    """Make a rectangle as QuPath writes it."""
    ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
    properties: dict = {"objectType": "annotation", "isLocked": False}
    if name is not None:
        properties["classification"] = {"name": name, "color": [200, 0, 0]}
    geometry = {"type": "Polygon", "coordinates": [ring]}
    return {"type": "Feature", "id": "x", "geometry": geometry, "properties": properties}


def annotate(path: Path, *features: dict) -> Path:
    path.write_text(json.dumps({"type": "FeatureCollection", "features": list(features)}))
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with one slide that nobody has annotated."""
    write_slide(tmp_path / "set" / "one.ome.tif")
    return tmp_path / "set"


def load(root: Path, *classes: str, mpp: float | None = None) -> Samples:
    return load_dataset("slides", root, "all", classes=classes, mpp=mpp)


def whole_mask(root: Path, *classes: str, mpp: float | None = None) -> np.ndarray:
    """The mask of a slide whose only region is the whole slide."""
    [sample] = load(root, *classes, mpp=mpp)
    return sample.mask


EVERYWHERE = polygon(0, 0, SIZE[1], SIZE[0], "Region*")


# -- pixels ---------------------------------------------------------------------------------


@pytest.mark.parametrize("mpp", [0.5, 0.4, 0.26, 1.0, 1.3])
def test_pixels_are_those_of_inference(root: Path, mpp: float) -> None:
    annotate(root / "one.geojson", polygon(33, 41, 300, 222), polygon(310, 50, 400, 300))
    slide = ts.open_slide(root / "one.ome.tif")
    card = make_card(fine_mpp=mpp, mpp_range=mpp_range(mpp))
    seen = View(slide, working_grid(slide, card))
    [sample] = load(root, mpp=mpp)
    left, top = (int(part) for part in sample.name.split()[1].split(","))
    box = Box.at(top, left, *sample.mask.shape)
    np.testing.assert_array_equal(sample.image, seen.read(box))
    assert seen.grid.box.contains(box)


@given(
    slide_mpp=st.floats(0.1, 2),
    mpp=st.floats(0.1, 4),
    levels=st.lists(st.integers(2, 4), max_size=3),
)
def test_the_grid_is_that_of_inference(slide_mpp: float, mpp: float, levels: list[int]) -> None:
    planes = [np.zeros((64, 96, 3), np.uint8)]
    for _ in levels:
        planes.append(planes[-1][::2, ::2])
    slide = ts.open_slide(planes, mpp=slide_mpp)
    card = make_card(fine_mpp=mpp, mpp_range=mpp_range(mpp))
    assert training_grid(slide, mpp) == working_grid(slide, card)


def test_without_an_mpp_level_0_is_read(root: Path) -> None:
    annotate(root / "one.geojson", EVERYWHERE, polygon(10, 10, 60, 60))
    [sample] = load(root)
    np.testing.assert_array_equal(sample.image, noise(*SIZE))


@given(st.integers(0, 5000), st.integers(0, 5000), st.integers(1, 5000), st.integers(1, 5000))
def test_pieces_partition_an_area(top: int, left: int, height: int, width: int) -> None:
    area = Box.at(top, left, height, width)
    cut = list(pieces(area))
    assert sum(piece.area for piece in cut) == area.area
    assert all(area.contains(piece) for piece in cut)
    assert not any(a.intersect(b).area for a in cut for b in cut if a is not b)
    for side, whole in (("height", height), ("width", width)):
        assert max(getattr(piece, side) for piece in cut) <= slides_module.PIECE_PX
        smallest = min(getattr(piece, side) for piece in cut)
        assert smallest >= min(whole, slides_module.PIECE_PX // 2)


def test_pieces_show_the_area_without_seams(root: Path, monkeypatch) -> None:
    annotate(root / "one.geojson", EVERYWHERE, polygon(70, 41.5, 300, 222.2))
    [whole] = load(root)
    monkeypatch.setattr(slides_module, "PIECE_PX", 100)
    cut = load(root)
    assert len(cut) == 4 * 5
    image, mask = np.zeros_like(whole.image), np.zeros_like(whole.mask)
    for sample in cut:
        left, top = (int(part) for part in sample.name.split()[1].split(","))
        place = Box.at(top, left, *sample.mask.shape).slices
        image[place], mask[place] = sample.image, sample.mask
    np.testing.assert_array_equal(image, whole.image)
    np.testing.assert_array_equal(mask, whole.mask)


# -- annotations ----------------------------------------------------------------------------


def test_names_become_classes_and_holes_stay_open(root: Path) -> None:
    ring = polygon(100, 100, 200, 200, "stroma")
    ring["geometry"]["coordinates"].append(
        [[140, 140], [160, 140], [160, 160], [140, 160], [140, 140]]
    )
    annotate(root / "one.geojson", EVERYWHERE, polygon(20, 30, 60, 90, "tumour"), ring)
    expected = np.zeros(SIZE, np.uint8)
    expected[30:90, 20:60] = 1
    expected[100:200, 100:200] = 2
    expected[140:160, 140:160] = 0
    np.testing.assert_array_equal(whole_mask(root, "tumour", "stroma"), expected)


def test_the_smaller_annotation_is_on_top(root: Path) -> None:
    features = [polygon(20, 30, 220, 230, "a"), polygon(50, 50, 70, 70, "b")]
    for order in (features, features[::-1]):
        annotate(root / "one.geojson", EVERYWHERE, *order)
        mask = whole_mask(root, "a", "b")
        assert mask[60, 60] == 2
        assert (mask == 1).sum() == 200 * 200 - 20 * 20


def test_annotations_of_a_single_class_need_no_name(root: Path) -> None:
    annotate(
        root / "one.geojson", EVERYWHERE, polygon(20, 30, 60, 90), polygon(90, 90, 99, 99, "x")
    )
    for classes in ((), ("x",)):
        assert (whole_mask(root, *classes) == 1).sum() == 40 * 60 + 81


def test_regions_are_what_is_annotated(root: Path) -> None:
    annotate(
        root / "one.geojson",
        polygon(10.4, 20.4, 110.6, 80.6, "Region*"), polygon(200, 100, 300, 300, "Region 2"),
        polygon(50, 0, 250, 310),
    )  # fmt: skip
    first, second = load(root)
    assert first.name == "one.ome.tif 11,21 99x59"  # whole pixels only
    np.testing.assert_array_equal(first.mask, np.arange(11, 110) >= np.full((59, 1), 50))
    assert second.name == "one.ome.tif 200,100 100x200"


def test_a_region_without_annotations_is_background(root: Path) -> None:
    annotate(root / "one.geojson", EVERYWHERE)
    assert not whole_mask(root).any()


def test_without_regions_the_bounding_box_grows_by_a_margin(root: Path) -> None:
    annotate(root / "one.geojson", polygon(100, 90, 200, 150), polygon(180, 160, 250, 200.5))
    [sample] = load(root)
    assert sample.name == f"one.ome.tif 36,26 {150 + 2 * 64}x{111 + 2 * 64}"


@pytest.mark.parametrize("form", ["list", "feature", "gz", "names"])
def test_other_forms_of_geojson(root: Path, form: str) -> None:
    feature = polygon(100, 90, 200, 150, "a")
    text = {
        "list": [feature],
        "feature": feature,
        "gz": {"type": "FeatureCollection", "features": [feature]},
        "names": [feature | {"properties": {"classification": {"names": ["a"]}}}],
    }[form]
    if form == "gz":
        (root / "one.geojson.gz").write_bytes(gzip.compress(json.dumps(text).encode()))
    else:
        (root / "one.geojson").write_text(json.dumps(text))
    [sample] = load(root, "a")
    assert (sample.mask == 1).sum() == 100 * 60


# -- round trips ----------------------------------------------------------------------------


def labels(shape: tuple[int, int], seed: int = 3) -> np.ndarray:
    """Blobs of two classes, some of single pixels."""
    red, green, _ = np.moveaxis(noise(*shape, seed=seed, blob_px=7), -1, 0)
    return np.where(red > 150, 1, np.where(green > 160, 2, 0)).astype(np.uint8)


@pytest.mark.parametrize("mpp", [0.5, 0.75, 1.0, 1.3])
@pytest.mark.parametrize(
    "ending",
    ["geojson", "geojson.gz", "labels.ome.tif", "labels.ome.zarr"],
)
def test_exported_labels_come_back(root: Path, mpp: float, ending: str) -> None:
    grid = training_grid(ts.open_slide(root / "one.ome.tif"), mpp)
    plane = labels(grid.shape)
    seg = FakeSegmentation(plane, downsample=grid.downsample, slide_mpp=(0.5, 0.5), tile_px=32)
    assert seg.grid.shape == grid.shape
    ts.export(seg, root / f"one.{ending}")
    for sample in load(root, "nucleus", "gland", mpp=mpp):
        left, top = (int(part) for part in sample.name.split()[1].split(","))
        box = Box.at(top, left, *sample.mask.shape)
        np.testing.assert_array_equal(sample.mask, plane[box.slices])
        outside = plane.copy()
        outside[box.slices] = 0
        assert not outside.any()


@pytest.mark.parametrize("mpp", [0.5, 1.0])
def test_a_segmentation_becomes_training_data(root: Path, tmp_path: Path, mpp: float) -> None:
    card = make_card(classes=CLASSES, fine_mpp=mpp, mpp_range=mpp_range(mpp))
    path = root / "one.ome.tif"
    seg = ts.segment(path, FakeModel(card), tmp_path / "out", refine="all", tissue=False)
    ts.export(seg, root / "one.geojson")
    [sample] = load(root, *(kind.name for kind in CLASSES), mpp=mpp)
    truth = seg.read_labels(seg.grid.box, 0)
    assert set(np.unique(truth)) == {0, 1, 2}
    np.testing.assert_array_equal(sample.mask, truth)
    np.testing.assert_array_equal(sample.image, seg.view(seg.grid).read(seg.grid.box))


@pytest.mark.parametrize("factor", [1, 2])
def test_a_plain_label_image_covers_its_slide(root: Path, factor: int) -> None:
    plane = labels(SIZE)[::factor, ::factor]
    tifffile.imwrite(root / "one.labels.tif", plane)
    [sample] = load(root, "a", "b")
    left, top = (int(part) for part in sample.name.split()[1].split(","))
    box = Box.at(top, left, *sample.mask.shape)
    full = plane.repeat(factor, 0).repeat(factor, 1)
    np.testing.assert_array_equal(sample.mask, full[box.slices])


# -- splits and errors ----------------------------------------------------------------------


def test_a_slide_is_on_one_side_of_the_split(tmp_path: Path, monkeypatch) -> None:
    for name in "abcde":
        write_slide(tmp_path / f"{name}.ome.tif")
        annotate(tmp_path / f"{name}.geojson", EVERYWHERE, polygon(9, 9, 99, 99))
    monkeypatch.setattr(slides_module, "PIECE_PX", 200)
    sides = [
        {name.split()[0] for name in load_dataset("slides", tmp_path, split).names}
        for split in ("train", "test")
    ]
    assert [len(side) for side in sides] == [3, 2]
    assert not sides[0] & sides[1]


def refused(message: str, root: Path, *classes: str) -> None:
    with pytest.raises(DatasetError, match=message) as caught:
        list(load(root, *classes))
    assert "\n" not in str(caught.value)


BOWTIE = {"type": "Polygon", "coordinates": [[[0, 0], [90, 90], [90, 0], [0, 90], [0, 0]]]}


@pytest.mark.parametrize(
    ("feature", "message"),
    [
        (polygon(0, 0, 9, 9, "b"), "feature 1 is of class 'b'; the classes are a, c"),
        (polygon(0, 0, 9, 9), "feature 1 has no class; the classes are a, c"),
        (polygon(0, 0, 9, 9) | {"geometry": BOWTIE}, "feature 1 is no valid polygon"),
        (polygon(0, 0, 9, 9) | {"geometry": None}, "feature 1 has no geometry"),
        (
            polygon(0, 0, 9, 9)
            | {"geometry": {"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}},
            "feature 1 has no geometry",
        ),
        (
            polygon(0, 0, 9, 9) | {"geometry": {"type": "Polygon", "coordinates": []}},
            "feature 1 is no valid polygon .it is empty",
        ),
        (
            polygon(0, 0, 9, 9) | {"geometry": {"type": "Point", "coordinates": [1, 1]}},
            "feature 1 is a Point",
        ),
        (polygon(5000, 5000, 5100, 5100, "a"), "annotates nothing within its slide"),
        (polygon(5000, 5000, 5100, 5100, "Region*"), "covers no pixel of its slide"),
    ],
)
def test_features_that_cannot_be_used(root: Path, feature: dict, message: str) -> None:
    annotate(root / "one.geojson", feature)
    refused(r"one\.geojson.*" + message, root, "a", "c")


def test_regions_that_are_no_rectangles(root: Path) -> None:
    region = polygon(0, 0, 9, 9, "Region*")
    region["geometry"]["coordinates"] = [[[0, 0], [90, 0], [0, 90], [0, 0]]]
    annotate(root / "one.geojson", region)
    refused(r"one\.geojson, feature 1 .Region\*. is no upright rectangle", root)


def test_annotation_files_that_cannot_be_used(root: Path) -> None:
    path = annotate(root / "one.geojson")
    refused(r"one\.geojson annotates nothing", root)
    for text in ("", "{", "7", '{"features": 7}', "[7]", "\x00"):
        path.write_text(text)
        refused(r"one\.geojson (is no readable GeoJSON|holds no list)", root)


def test_several_classes_must_be_listed(root: Path) -> None:
    annotate(root / "one.geojson", polygon(0, 0, 9, 9, "a"), polygon(0, 0, 9, 9, "b"))
    refused("annotations of the classes a, b; list", root)


def test_partners_are_named(root: Path) -> None:
    refused(r"one\.ome\.tif has no annotation; expected one\.geojson", root)
    annotate(root / "two.geojson")
    (root / "one.ome.tif").unlink()
    refused(r"two\.geojson has no slide", root)
    write_slide(root / "two.tif")
    write_slide(root / "two.ome.tif")
    refused(r"two\.tif and two\.ome\.tif have one stem", root)


def test_slides_that_cannot_be_used(root: Path) -> None:
    annotate(root / "one.geojson", polygon(0, 0, 99, 99))
    path = write_slide(root / "one.ome.tif", mpp=None)
    refused(r"one\.ome\.tif states no pixel size; convert", root)
    path.write_bytes(path.read_bytes()[:100])
    refused(r"one\.ome\.tif cannot be used", root)


def test_a_damaged_tile_is_named_when_it_is_read(root: Path) -> None:
    annotate(root / "one.geojson", polygon(0, 0, 99, 99))
    samples = load(root)
    path = root / "one.ome.tif"
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(DatasetError, match=r"one\.ome\.tif cannot be read"):
        samples[0]


def test_label_images_that_cannot_be_used(root: Path) -> None:
    path = root / "one.labels.tif"
    tifffile.imwrite(path, np.ones(SIZE, np.uint8)[:100])
    refused(r"one\.labels\.tif is 420x100 pixels, which do not cover its slide's 420x310", root)
    tifffile.imwrite(path, np.full(SIZE, 2, np.uint8))
    refused(r"one\.labels\.tif holds the value 2; .* up to 1", root)
    tifffile.imwrite(path, np.zeros(SIZE, np.uint8))
    refused(r"one\.labels\.tif labels nothing", root)
    tifffile.imwrite(path, np.zeros((*SIZE, 3), np.uint8), photometric="rgb")
    refused(r"one\.labels\.tif has colours", root)
    path.write_bytes(b"II*\0")
    refused(r"one\.labels\.tif cannot be read", root)


@pytest.mark.parametrize("mpp", [0, -1, float("nan"), float("inf")])
def test_mpp_must_be_a_size(root: Path, mpp: float) -> None:
    with pytest.raises(DatasetError, match="name micrometres per pixel above 0"):
        load(root, mpp=mpp)


def test_a_class_may_be_called_region(root: Path) -> None:
    annotate(root / "one.geojson", polygon(50, 60, 250, 300, "Region of interest"))
    [sample] = load(root, "Region of interest")
    assert (sample.mask == 1).sum() == 200 * 240


# -- slides that QuPath crops ------------------------------------------------------------------


@pytest.mark.parametrize("stated", [None, [0, 0], [60, 40]])
def test_annotations_of_a_cropped_slide_lie_where_they_were_drawn(
    root: Path, monkeypatch: pytest.MonkeyPatch, stated: list[int] | None
) -> None:
    bounds = Box(40, 60, 300, 400)

    def cropped(path: Path, **options: int) -> Slide:
        slide = ts.open_slide(path, **options)
        slide.bounds = bounds
        return slide

    monkeypatch.setattr(slides_module, "open_slide", cropped)
    left, top = (bounds.left, bounds.top) if stated is None else stated
    file = annotate(
        root / "one.geojson",
        polygon(0 - left, 0 - top, SIZE[1] - left, SIZE[0] - top, "Region*"),
        polygon(100 - left, 70 - top, 130 - left, 90 - top),
    )
    if stated is not None:  # as our own exports do
        collection = json.loads(file.read_text())
        collection["napari-twostage"] = {"origin_px": stated}
        file.write_text(json.dumps(collection))
    expected = np.zeros(SIZE, np.uint8)
    expected[70:90, 100:130] = 1
    np.testing.assert_array_equal(whole_mask(root), expected)


@pytest.mark.parametrize("origin", [[1], "ab", [1, None], [1e300, 0], [True, 1]])
def test_an_origin_that_is_no_pixel_is_refused(root: Path, origin: object) -> None:
    file = annotate(root / "one.geojson", EVERYWHERE, polygon(1, 1, 9, 9))
    collection = json.loads(file.read_text()) | {"napari-twostage": {"origin_px": origin}}
    file.write_text(json.dumps(collection))
    with pytest.raises(DatasetError, match=r"origin_px is .*export again"):
        load(root)
