"""A data set of a few dark fields with bright squares."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("a", "b", "c", "d")


def make_dataset(folder: Path, side: int = 96) -> Path:
    """Write images, masks and a manifest; the last image is the test split."""
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    rng = np.random.default_rng(0)
    for name in NAMES:
        mask = np.zeros((side, side), bool)
        for top, left in rng.integers(0, side - 16, (8, 2)):
            mask[top : top + 16, left : left + 16] = True
        image = np.where(mask[..., None], 180, 40) + rng.integers(0, 30, (side, side, 3))
        Image.fromarray(image.astype(np.uint8)).save(folder / "images" / f"{name}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{name}.png")
    rows = [f"{name}.png,{'test' if name == NAMES[-1] else 'train'}" for name in NAMES]
    (folder / "manifest.csv").write_text("\n".join(["file,split", *rows]) + "\n")
    return folder


def scene(seed: int, height: int = 20, width: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of no meaning, and labels 0 to 33 in blocks."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    labels = rng.integers(0, 34, (height // 5, width // 5), dtype=np.uint8)
    return image, labels.repeat(5, 0).repeat(5, 1)


def save(path: Path, pixels: np.ndarray) -> None:
    """Write an image file and the folders it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def make_bowl(root: Path, count: int = 10) -> dict[str, np.ndarray]:
    """As Kaggle publishes it: RGBA images, a mask per nucleus; returns the united masks."""
    truth = {}
    for seed in range(count):
        image, labels = scene(seed)
        case = root / "stage1_train" / f"case{seed}"
        opaque = np.full_like(labels, 255)
        save(case / "images" / f"case{seed}.png", np.dstack([image, opaque]))
        for value in (1, 2, 3):
            save(case / "masks" / f"{value:x}.png", np.where(labels == value, 255, 0).astype("u1"))
        truth[case.name] = np.isin(labels, (1, 2, 3))
    return truth


def make_ph2(root: Path, count: int = 10) -> dict[str, np.ndarray]:
    """As its authors share it: bitmaps, lesions in one bit."""
    truth = {}
    for seed in range(count):
        name = f"IMD{seed:03d}"
        case = root / "PH2Dataset" / "PH2 Dataset images" / name
        image, labels = scene(seed)
        save(case / f"{name}_Dermoscopic_Image" / f"{name}.bmp", image)
        save(case / f"{name}_lesion" / f"{name}_lesion.bmp", labels > 16)
        save(case / f"{name}_roi" / f"{name}_R1_Label3.bmp", labels > 30)
        truth[name] = labels > 16
    return truth


def make_kitti(root: Path, count: int = 10) -> dict[str, np.ndarray]:
    """As the benchmark's archive unpacks; Cityscapes' ids."""
    truth = {}
    for seed in range(count):
        name = f"{seed:06d}_10"
        image, labels = scene(seed)
        save(root / "training" / "image_2" / f"{name}.png", image)
        save(root / "training" / "semantic" / f"{name}.png", labels)
        save(root / "testing" / "image_2" / f"{name}.png", image)
        truth[name] = (labels >= 26) & (labels <= 31)
    return truth


def make_bdd100k(root: Path) -> dict[str, dict[str, np.ndarray]]:
    """As the archives of 10k images and sem_seg masks unpack; training ids, 255 is void."""
    truth: dict[str, dict[str, np.ndarray]] = {"train": {}, "val": {}}
    for seed, part in enumerate(["train", "train", "train", "val", "val"]):
        image, labels = scene(seed)
        labels[labels > 18] = 255
        name = f"00{seed}-fade"
        base = root / "bdd100k"
        save(base / "images" / "10k" / part / f"{name}.jpg", image)
        save(base / "labels" / "sem_seg" / "masks" / part / f"{name}.png", labels)
        truth[part][name] = (labels >= 13) & (labels <= 16)
    return truth
