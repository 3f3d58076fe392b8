"""The paper's four data sets, in the folders in which they are published.

Foregrounds are those of the published experiments: nuclei, lesions, and in the driving sets the
vehicles on more than two wheels: cars, trucks, buses, caravans, trailers and trains.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.training.datasets.image_files import (
    check_size,
    read_foreground,
    read_image,
    read_pair,
    read_values,
)
from napari_twostage.training.datasets.paired_folders import paired
from napari_twostage.training.datasets.samples import DatasetError, Samples
from napari_twostage.training.datasets.splits import check_split, choose_split

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_twostage.training.datasets.samples import Pair

KITTI_VEHICLES = range(26, 32)
"""Cityscapes' label ids: car, truck, bus, caravan, trailer, train."""
BDD_VEHICLES = range(13, 17)
"""Cityscapes' training ids: car, truck, bus, train."""
_KITTI_LABELS = 34
_BDD_LABELS = 19
_VOID = 255


def bowl(root: Path, split: str, seed: int) -> Samples:
    """Kaggle's 2018 Data Science Bowl, ``stage1_train``: a folder per image, a mask per nucleus."""
    cases = _cases(
        _inside(root, "stage1_train"), "images", "<id>/images/<id>.png, <id>/masks/*.png"
    )
    readers = {}
    for case in choose_split(cases, split, seed, root):
        image = _present(case / "images" / f"{case.name}.png")
        masks = sorted((case / "masks").glob("*.png"))
        if not masks:
            raise DatasetError(f"{image} has no mask; expected {case / 'masks'} to hold PNGs")
        readers[case.name] = partial(_read_united, image, masks)
    return Samples(readers)


def _read_united(image: Path, masks: list[Path]) -> Pair:
    pixels = read_image(image)
    union = np.zeros(pixels.shape[:2], np.uint8)
    for path in masks:
        mask = read_foreground(path)
        check_size(path, mask, pixels)
        union |= mask
    return pixels, union


def ph2(root: Path, split: str, seed: int) -> Samples:
    """PH2 as its authors share it: dermoscopic images and lesions as bitmaps in folders."""
    expected = "IMD*/IMD*_Dermoscopic_Image/IMD*.bmp, IMD*/IMD*_lesion/IMD*_lesion.bmp"
    folder = _inside(root, "PH2Dataset", "PH2 Dataset images")
    cases = _cases(folder, "{}_Dermoscopic_Image", expected)
    readers = {}
    for case in choose_split(cases, split, seed, root):
        name = case.name
        image = _present(case / f"{name}_Dermoscopic_Image" / f"{name}.bmp")
        mask = _present(case / f"{name}_lesion" / f"{name}_lesion.bmp")
        readers[name] = partial(read_pair, image, mask, read_foreground)
    return Samples(readers)


def kitti(root: Path, split: str, seed: int) -> Samples:
    """KITTI semantics: ``training/image_2`` and ``training/semantic``."""
    folder = _inside(root, "data_semantics", "training")
    pairs = paired(folder / "image_2", folder / "semantic")
    return _vehicles(choose_split(pairs, split, seed, root), KITTI_VEHICLES, _KITTI_LABELS)


def bdd100k(root: Path, split: str) -> Samples:
    """BDD100K's 10k images with ``sem_seg`` masks; ``test`` is the official val, with masks."""
    check_split(split, root)
    folder = _inside(root, "bdd100k")
    pairs = [
        pair
        for part, wanted in (("train", "train"), ("val", "test"))
        if split in (wanted, "all")
        for pair in paired(
            folder / "images" / "10k" / part, folder / "labels" / "sem_seg" / "masks" / part
        )
    ]
    return _vehicles(pairs, BDD_VEHICLES, _BDD_LABELS)


def _vehicles(pairs: list[tuple[Path, Path]], vehicles: range, labels: int) -> Samples:
    read_mask = partial(_read_labels, foreground=vehicles, labels=labels)
    return Samples(
        {image.stem: partial(read_pair, image, mask, read_mask) for image, mask in pairs}
    )


def _read_labels(path: Path, foreground: range, labels: int) -> NDArray[np.uint8]:
    values = read_values(path)
    known = (values < labels) | (values == _VOID)
    if values.ndim != 2 or not known.all():
        found = "colours" if values.ndim != 2 else f"the value {values[~known][0]}"
        raise DatasetError(f"{path} holds {found}; expected label ids 0 to {labels - 1} or {_VOID}")
    return np.asarray((values >= foreground.start) & (values < foreground.stop), np.uint8)


def _inside(root: Path, *folders: str) -> Path:
    """Descend into the folders that an archive unpacks to, as far as they exist."""
    for folder in folders:
        if (root / folder).is_dir():
            root = root / folder
    return root


def _cases(folder: Path, mark: str, expected: str) -> list[Path]:
    """Subfolders that hold one image each, recognised by a folder inside."""
    cases = sorted(path for path in folder.iterdir() if (path / mark.format(path.name)).is_dir())
    if not cases:
        raise DatasetError(f"{folder} holds none of what was expected: {expected}")
    return cases


def _present(path: Path) -> Path:
    if not path.is_file():
        raise DatasetError(f"{path} is missing; copy the data set again")
    return path
