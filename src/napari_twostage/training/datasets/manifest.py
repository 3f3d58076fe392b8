"""Layout ``manifest``: ``manifest.csv``, ``images/`` and ``masks/``."""

from __future__ import annotations

import csv
from functools import partial
from io import StringIO
from pathlib import Path, PureWindowsPath

from napari_twostage.errors import reason_of
from napari_twostage.io.limited import read_limited
from napari_twostage.training.datasets.classes import Classes
from napari_twostage.training.datasets.image_files import read_classes, read_pair
from napari_twostage.training.datasets.samples import DatasetError, Sample, Samples
from napari_twostage.utils.values import shown

LONGEST = 1 << 26
"""Bytes of a manifest."""
LONGEST_PATH = 200
"""Characters of a file's name in a manifest."""


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


def manifest_samples(root: Path, split: str, classes: Classes, masks: str = "masks") -> Samples:
    """Samples of one split of a folder with ``manifest.csv``, ``images/`` and ``masks/``.

    Parameters
    ----------
    root : Path
        Folder of the data set; masks are PNGs with the stem of their image.
    split : str
        Value of the manifest's column ``split``, or ``all``.
    classes : Classes
        Classes of the masks.
    masks : str
        Name of the folder of the masks.
    """
    rows = [row for row in _rows(root) if split in (row["split"], "all")]
    if not rows:
        raise DatasetError(f"{root / 'manifest.csv'} lists no image of split '{split}'")
    read_mask = partial(read_classes, classes=classes)
    readers = {}
    for row in rows:
        image = root / "images" / row["file"]
        mask = root / masks / f"{Path(row['file']).stem}.png"
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
        file's own name if the manifest has no ``info``, or the same for all.

    Raises
    ------
    DatasetError
        If there is no manifest.
    """
    found = {row["file"]: (row.get("info") or "").split("|")[0] for row in _rows(Path(root))}
    if len(set(found.values())) == 1:
        return {file: file for file in found}
    return {file: group or file for file, group in found.items()}


def _rows(root: Path) -> list[dict[str, str]]:
    manifest = root / "manifest.csv"
    if not manifest.is_file():
        raise DatasetError(
            f"{manifest} is missing; name a folder with manifest.csv, images/, masks/"
        )
    try:
        text = read_limited(manifest, LONGEST).decode("utf-8-sig")
        reader = csv.DictReader(StringIO(text, newline=""))
        if missing := {"file", "split"} - set(reader.fieldnames or ()):
            raise DatasetError(f"{manifest} has no column {' and '.join(sorted(missing))}")
        rows = list(reader)
    except (OSError, ValueError, csv.Error) as error:
        raise DatasetError(f"{manifest} cannot be read: {reason_of(error)[:150]}") from error
    for number, row in enumerate(rows, start=2):
        if not _is_inside(row["file"]) or row["split"] is None:
            raise DatasetError(
                f"{manifest}, row {number}: expected a split and a file inside images/, found "
                f"{shown(row['file'])}; correct the row"
            )
    return rows


def _is_inside(file: str | None) -> bool:
    """Whether a name is that of a file in a folder or its subfolders."""
    if not file or len(file) > LONGEST_PATH or not file.isprintable():
        return False
    place = PureWindowsPath(file)  # slashes of either kind
    return not place.anchor and ".." not in place.parts
