"""Layouts: small faithful folders give their masks, and broken ones a line that names the file."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.training.make_dataset import (
    make_bdd100k,
    make_bowl,
    make_dataset,
    make_kitti,
    make_ph2,
    save,
    scene,
)

from napari_twostage.training.datasets import (
    LAYOUTS,
    DatasetError,
    groups,
    hold_out,
    load_dataset,
)
from napari_twostage.training.datasets.splits import choose_split

if TYPE_CHECKING:
    from pathlib import Path

MAKERS = {"bowl": make_bowl, "ph2": make_ph2, "kitti": make_kitti}


def refused(message: str, layout: str, root: Path, **options) -> None:
    """Loading, or decoding every sample, raises one line that holds `message`."""
    with pytest.raises(DatasetError, match=message) as caught:
        list(load_dataset(layout, root, "all", **options))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("layout", MAKERS)
def test_published_folders_give_their_masks(tmp_path: Path, layout: str) -> None:
    truth = MAKERS[layout](tmp_path)
    samples = load_dataset(layout, tmp_path, "all")
    assert [name.removesuffix(".png") for name in samples.names] == sorted(truth)
    for seed, sample in enumerate(samples):
        np.testing.assert_array_equal(sample.image, scene(seed)[0])
        np.testing.assert_array_equal(sample.mask, truth[sample.name.removesuffix(".png")])
        assert sample.image.dtype == sample.mask.dtype == np.uint8


@pytest.mark.parametrize("layout", MAKERS)
def test_the_split_is_70_to_30_and_complete(tmp_path: Path, layout: str) -> None:
    MAKERS[layout](tmp_path)
    train, test, everything = (
        load_dataset(layout, tmp_path, split, seed=2).names for split in ("train", "test", "all")
    )
    assert len(train) == 7
    assert sorted(train + test) == sorted(everything)
    assert load_dataset(layout, tmp_path, "train", seed=2).names == train
    assert load_dataset(layout, tmp_path, "train", seed=3).names != train


def test_the_split_is_the_published_one(tmp_path: Path) -> None:
    # the first of RandomState(123).choice(200, 200, replace=False), as the experiments drew
    drawn = np.random.RandomState(123).choice(200, 200, replace=False)
    assert choose_split(range(200), "train", 0, tmp_path) == drawn[:140].tolist()
    assert choose_split(range(200), "test", 0, tmp_path) == drawn[140:].tolist()


def test_bdd100k_keeps_its_official_split(tmp_path: Path) -> None:
    truth = make_bdd100k(tmp_path)
    for split, part in (("train", "train"), ("test", "val")):
        samples = load_dataset("bdd100k", tmp_path, split)
        assert list(samples.names) == sorted(truth[part])
        for sample in samples:
            np.testing.assert_array_equal(sample.mask, truth[part][sample.name])
    assert len(load_dataset("bdd100k", tmp_path, "all")) == 5


@pytest.mark.parametrize("folders", [1, 2])
def test_a_folder_within_the_archive_will_do(tmp_path: Path, folders: int) -> None:
    make_ph2(tmp_path)
    inner = tmp_path.joinpath(*("PH2Dataset", "PH2 Dataset images")[:folders])
    assert len(load_dataset("ph2", inner, "all")) == 10


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        ("manifest", r"manifest\.csv is missing"),
        ("glas", r"manifest\.csv is missing"),
        ("monuseg", r"manifest\.csv is missing"),
        ("bowl", "<id>/images/<id>.png"),
        ("ph2", "_Dermoscopic_Image"),
        ("kitti", "image_2 is missing"),
        ("bdd100k", "images/10k/train is missing"),
        ("folder", "images is missing"),
        ("slides", "holds no slide"),
    ],
)
def test_a_wrong_folder_says_what_was_expected(tmp_path: Path, layout: str, expected: str) -> None:
    assert layout in LAYOUTS
    (tmp_path / "something").mkdir()
    refused(f"{re.escape(str(tmp_path))}.*{expected}", layout, tmp_path)
    refused("is no folder", layout, tmp_path / "nowhere")


BROKEN = [
    (make_bowl, "bowl", "case3/images/case3.png", r"case3\.png is missing"),
    (make_bowl, "bowl", "case3/masks", r"case3\.png has no mask"),
    (make_ph2, "ph2", "IMD003.bmp", r"IMD003\.bmp is missing"),
    (make_ph2, "ph2", "IMD003_lesion.bmp", r"_lesion\.bmp is missing"),
    (
        make_kitti,
        "kitti",
        "training/image_2/000003_10.png",
        r"semantic/000003_10\.png has no image",
    ),
    (make_kitti, "kitti", "semantic/000003_10.png", r"image_2/000003_10\.png has no mask"),
    (make_bdd100k, "bdd100k", "train/000-fade.jpg", r"000-fade\.png has no image"),
    (make_bdd100k, "bdd100k", "val/003-fade.png", r"003-fade\.jpg has no mask"),
]


@pytest.mark.parametrize(("make", "layout", "part", "message"), BROKEN)
def test_what_is_missing_is_named(tmp_path: Path, make, layout, part, message) -> None:
    make(tmp_path)
    [path] = [path for path in tmp_path.rglob("*") if str(path).endswith(part)]
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    refused(message, layout, tmp_path)


@pytest.mark.parametrize(
    ("make", "layout", "part"),
    [
        (make_bowl, "bowl", "case3/masks/2.png"),
        (make_ph2, "ph2", "IMD003_lesion.bmp"),
        (make_kitti, "kitti", "semantic/000003_10.png"),
        (make_bdd100k, "bdd100k", "val/003-fade.png"),
    ],
)
def test_a_mask_of_another_size_or_damaged_is_named(tmp_path: Path, make, layout, part) -> None:
    make(tmp_path)
    [path] = [path for path in tmp_path.rglob("*") if str(path).endswith(part)]
    whole = path.read_bytes()
    save(path, np.zeros((19, 30), np.uint8))
    refused(f"{path.name} is 30x19, its image 30x20", layout, tmp_path)
    path.write_bytes(whole[: len(whole) // 2])
    refused(f"{path.name} cannot be read", layout, tmp_path)
    path.write_bytes(b"")
    refused(f"{path.name} cannot be read", layout, tmp_path)


@pytest.mark.parametrize(("make", "layout"), [(make_kitti, "kitti"), (make_bdd100k, "bdd100k")])
def test_labels_of_no_class_are_named(tmp_path: Path, make, layout) -> None:
    make(tmp_path)
    path = next(path for path in sorted(tmp_path.rglob("*.png")) if path.parent.name != "image_2")
    save(path, np.full((20, 30), 77, np.uint8))
    refused(f"{path.name} holds the value 77", layout, tmp_path)
    save(path, scene(0)[0])
    refused(f"{path.name} holds colours", layout, tmp_path)


# -- folder ---------------------------------------------------------------------------------


def write_folder(root: Path, mask: np.ndarray | Image.Image, ending: str = "png") -> np.ndarray:
    image, _ = scene(0)
    save(root / "images" / "a.png", image)
    (root / "masks").mkdir(exist_ok=True)
    picture = mask if isinstance(mask, Image.Image) else Image.fromarray(mask)
    picture.save(root / "masks" / f"a.{ending}")
    return image


@pytest.mark.parametrize("ending", ["png", "bmp", "tif", "gif"])
@pytest.mark.parametrize("high", [1, 255])
def test_masks_of_one_class_hold_1_or_255(tmp_path: Path, ending: str, high: int) -> None:
    inside = scene(0)[1] > 16
    write_folder(tmp_path, (inside * high).astype(np.uint8), ending)
    [sample] = load_dataset("folder", tmp_path, "all")
    np.testing.assert_array_equal(sample.mask, inside)


def test_masks_of_several_classes_hold_their_values(tmp_path: Path) -> None:
    labels = scene(0)[1] % 4
    write_folder(tmp_path, labels)
    [sample] = load_dataset("folder", tmp_path, "all", classes=["a", "b", "c"])
    np.testing.assert_array_equal(sample.mask, labels)
    refused(r"masks/a\.png holds the value 3; expected .* 1 to 2", "folder", tmp_path,
            classes=["a", "b"])  # fmt: skip
    refused(r"masks/a\.png holds the value 2; expected .* 1 \(or 255\)", "folder", tmp_path)


def test_masks_in_colours(tmp_path: Path) -> None:
    labels = scene(0)[1] % 3
    colours = np.array([[0, 0, 0], [255, 0, 0], [0, 128, 255]], np.uint8)
    write_folder(tmp_path, colours[labels])
    classes = ["tumour=#ff0000", "stroma=#0080ff"]
    [sample] = load_dataset("folder", tmp_path, "all", classes=classes)
    np.testing.assert_array_equal(sample.mask, labels)
    refused(r"masks/a\.png holds the colour #0080ff", "folder", tmp_path, classes=classes[:1])


def test_palettes_are_indices_and_grey_saved_as_colours_is_grey(tmp_path: Path) -> None:
    labels = scene(0)[1] % 3
    palette = Image.fromarray(labels).convert("P")
    palette.putpalette([9, 9, 9, 200, 0, 0, 0, 200, 0])
    for mask in (palette, np.repeat(labels[..., None], 3, axis=2)):
        write_folder(tmp_path, mask)
        [sample] = load_dataset("folder", tmp_path, "all", classes=["a", "b"])
        np.testing.assert_array_equal(sample.mask, labels)


def test_16_bit_images_are_seen_as_the_engine_sees_them(tmp_path: Path) -> None:
    write_folder(tmp_path, np.zeros((20, 30), np.uint8))
    (tmp_path / "images" / "a.png").unlink()
    ramp = np.linspace(100, 600, 600).reshape(20, 30).astype(np.uint16)
    tifffile.imwrite(tmp_path / "images" / "a.tif", ramp)
    [sample] = load_dataset("folder", tmp_path, "all")
    assert sample.image.shape == (20, 30, 3)
    assert sample.image[0, 0, 0] == 0
    assert sample.image[-1, -1, 0] == 255


def test_transparent_pixels_are_white(tmp_path: Path) -> None:
    image = write_folder(tmp_path, np.zeros((20, 30), np.uint8))
    alpha = np.full(image.shape[:2], 255, np.uint8)
    alpha[0] = 0
    save(tmp_path / "images" / "a.png", np.dstack([image, alpha]))
    [sample] = load_dataset("folder", tmp_path, "all")
    assert (sample.image[0] == 255).all()
    np.testing.assert_array_equal(sample.image[1:], image[1:])


def test_two_files_of_one_stem_are_refused(tmp_path: Path) -> None:
    image = write_folder(tmp_path, np.zeros((20, 30), np.uint8))
    save(tmp_path / "images" / "a.bmp", image)
    refused(r"images/a\.png and a\.bmp have one stem", "folder", tmp_path)


# -- what all layouts share -----------------------------------------------------------------


def test_nothing_is_decoded_before_it_is_asked_for(tmp_path: Path) -> None:
    folder = make_dataset(tmp_path / "set")
    (folder / "images" / "b.png").write_bytes(b"")
    samples = load_dataset("manifest", folder, "train")
    assert samples.names == ("a.png", "b.png", "c.png")
    assert samples[0].name == samples[-3].name == "a.png"
    assert [sample.name for sample in samples[::2]] == ["a.png", "c.png"]
    rest, held = hold_out(samples, 0.34, seed=0)
    assert len(rest) + len(held) == len(samples)
    with pytest.raises(DatasetError, match=r"b\.png"):
        samples[1]
    with pytest.raises(IndexError):
        samples[3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layout": "coco"}, "no layout 'coco'; use manifest, "),
        ({"split": "validation"}, "no split 'validation'"),
        ({"seed": -1}, "seed is -1"),
        ({"classes": ["a", "b"]}, "layout bowl has one class, 2 were named"),
        ({"classes": ["a", "a"]}, "used twice"),
        ({"classes": ["a=#ff0000", "b=#FF0000"]}, "used twice"),
        ({"classes": ["a=#000000"]}, "black"),
        ({"classes": ["a=red"]}, "'a=red' is neither"),
    ],
)
def test_options_that_make_no_sense(tmp_path: Path, options: dict, message: str) -> None:
    make_bowl(tmp_path)
    values = {"layout": "bowl", "root": tmp_path, "split": "train", **options}
    with pytest.raises(DatasetError, match=message):
        load_dataset(**values)


def test_a_single_image_cannot_be_split(tmp_path: Path) -> None:
    make_bowl(tmp_path, count=1)
    assert len(load_dataset("bowl", tmp_path, "train")) == 1
    with pytest.raises(DatasetError, match="nothing for split 'test'"):
        load_dataset("bowl", tmp_path, "test")


@given(st.integers(1, 400), st.integers(0, 5))
def test_every_item_is_on_one_side(count: int, seed: int) -> None:
    train = choose_split(range(count), "train", seed, "here")
    test = choose_split(range(count), "test", seed, "here") if count > 1 else []
    assert sorted(train + test) == list(range(count))
    assert len(train) == max(1, int(0.7 * count))


def test_groups_are_patients_or_files(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text(
        "file,split,info\na.png,train,patient3|benign|healthy\nb.png,test,patient3|x|y\nc.png,test,\n"
    )
    assert groups(tmp_path) == {"a.png": "patient3", "b.png": "patient3", "c.png": "c.png"}
    # what all share groups nothing
    (tmp_path / "manifest.csv").write_text("file,split,info\na.png,train,x|1\nb.png,train,x|2\n")
    assert groups(tmp_path) == {"a.png": "a.png", "b.png": "b.png"}
    (tmp_path / "manifest.csv").write_text("name\na.png\n")
    with pytest.raises(DatasetError, match="has no column file and split"):
        groups(tmp_path)
