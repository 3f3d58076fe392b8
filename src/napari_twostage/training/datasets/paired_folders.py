"""Layout ``folder``: a folder of images and one of masks, paired by file stem."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from napari_twostage.training.datasets.image_files import SUFFIXES, read_classes, read_pair
from napari_twostage.training.datasets.samples import DatasetError, Samples
from napari_twostage.training.datasets.splits import choose_split

if TYPE_CHECKING:
    from pathlib import Path

    from napari_twostage.training.datasets.classes import Classes


def folder_samples(root: Path, split: str, seed: int, classes: Classes) -> Samples:
    """Samples of ``images/`` and ``masks/``; an image and its mask share the file stem."""
    pairs = paired(root / "images", root / "masks")
    read_mask = partial(read_classes, classes=classes)
    return Samples(
        {
            image.name: partial(read_pair, image, mask, read_mask)
            for image, mask in choose_split(pairs, split, seed, root)
        }
    )


def paired(images: Path, masks: Path) -> list[tuple[Path, Path]]:
    """Pair the image files of two folders by their stems, sorted by stem.

    Raises
    ------
    DatasetError
        If a folder is missing or empty, or a file has no partner or more than one.
    """
    image_of, mask_of = _by_stem(images), _by_stem(masks)
    for stem in sorted(image_of.keys() ^ mask_of.keys()):
        lone, other, what = (
            (image_of[stem], masks, "mask")
            if stem in image_of
            else (mask_of[stem], images, "image")
        )
        raise DatasetError(f"{lone} has no {what}; expected {other / stem} with an image's ending")
    return [(image_of[stem], mask_of[stem]) for stem in sorted(image_of)]


def _by_stem(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DatasetError(f"{folder} is missing; name a folder that holds {folder.name}/")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.suffix.lower() not in SUFFIXES:
            continue
        if path.stem in found:
            raise DatasetError(f"{path} and {found[path.stem].name} have one stem; keep one")
        found[path.stem] = path
    if not found:
        raise DatasetError(f"{folder} holds no image; expected files in {', '.join(SUFFIXES)}")
    return found
