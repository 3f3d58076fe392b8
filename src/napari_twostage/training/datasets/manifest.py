"""Layout ``manifest``: ``manifest.csv``, ``images/`` and ``masks/``."""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path

from napari_twostage.training.datasets.classes import Classes
from napari_twostage.training.datasets.image_files import read_classes, read_pair
from napari_twostage.training.datasets.samples import DatasetError, Sample, Samples


def load_split(folder: str | Path, split: str) -> list[Sample]:
    """Load one split of a manifest folder into memory.

    Parameters
    ----------
    folder : path
        See `manifest_samples`.
    split : str
        Value of the manifest's column ``split``: ``train`` or ``test``.

    Raises
    ------
    DatasetError
        If the manifest, an image or a mask is missing, unreadable or of another size.
    """
    return list(manifest_samples(Path(folder), split, Classes()))


def manifest_samples(root: Path, split: str, classes: Classes) -> Samples:
    """Samples of one split of a folder with ``manifest.csv``, ``images/`` and ``masks/``.

    Parameters
    ----------
    root : Path
        Folder of the data set; masks are PNGs with the stem of their image.
    split : str
        Value of the manifest's column ``split``, or ``all``.
    classes : Classes
        Classes of the masks.
    """
    rows = [row for row in _rows(root) if split in (row["split"], "all")]
    if not rows:
        raise DatasetError(f"{root / 'manifest.csv'} lists no image of split '{split}'")
    read_mask = partial(read_classes, classes=classes)
    readers = {}
    for row in rows:
        image = root / "images" / row["file"]
        mask = root / "masks" / f"{Path(row['file']).stem}.png"
        for path in (image, mask):
            if not path.is_file():
                raise DatasetError(f"{path} is missing, though the manifest lists {row['file']}")
        readers[row["file"]] = partial(read_pair, image, mask, read_mask)
    return Samples(readers)


def groups(root: str | Path) -> dict[str, str]:
    """Group of each image, so that folds keep related images on one side.

    Returns
    -------
    dict of str to str
        Group by file: the first part of the manifest's ``info`` (GlaS: the patient), or the
        file's own name if the manifest has no ``info``.

    Raises
    ------
    DatasetError
        If there is no manifest.
    """
    return {
        row["file"]: (row.get("info") or "").split("|")[0] or row["file"]
        for row in _rows(Path(root))
    }


def _rows(root: Path) -> list[dict[str, str]]:
    manifest = root / "manifest.csv"
    if not manifest.is_file():
        raise DatasetError(
            f"{manifest} is missing; name a folder with manifest.csv, images/, masks/"
        )
    with manifest.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        if missing := {"file", "split"} - set(reader.fieldnames or ()):
            raise DatasetError(f"{manifest} has no column {' and '.join(sorted(missing))}")
        return list(reader)
