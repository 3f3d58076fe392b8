"""Every layout of a data set, and `load_dataset`, which reads them all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_twostage.training.datasets import published
from napari_twostage.training.datasets.annotated_slides import slide_samples
from napari_twostage.training.datasets.classes import Classes
from napari_twostage.training.datasets.manifest import manifest_samples
from napari_twostage.training.datasets.paired_folders import folder_samples
from napari_twostage.training.datasets.reduce import reduce_samples
from napari_twostage.training.datasets.samples import DatasetError, Samples

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_BINARY: dict[str, Callable[[Path, str, int], Samples]] = {
    "bowl": published.bowl,
    "ph2": published.ph2,
    "kitti": published.kitti,
    "bdd100k": lambda root, split, _seed: published.bdd100k(root, split),
}
_MANIFEST = ("manifest", "glas", "monuseg")
LAYOUTS = (*_MANIFEST, *_BINARY, "folder", "slides")


def load_dataset(
    layout: str,
    root: str | Path,
    split: str,
    *,
    seed: int = 0,
    mpp: float | None = None,
    classes: Sequence[str] = (),
    masks: str = "masks",
    reduce: int = 1,
) -> Samples:
    """Find the images of a data set; each is decoded when it is indexed.

    Parameters
    ----------
    layout : str
        One of `LAYOUTS`; ``docs/training-data.md`` shows their folders.
    root : path
        The data set's folder.
    split : str
        ``train``, ``test`` or ``all``: the official split, or 70/30 (`splits.choose_split`).
    seed : int
        Seed of the 70/30 split.
    mpp : float, optional
        Micrometres per pixel of the model, for ``slides``; without it level 0 is read.
    classes : sequence of str
        ``name`` or ``name=#rrggbb``, in the order of the values 1, 2, ...; empty: one class.
    masks : str
        Folder of the masks, for ``manifest``: a set may have several kinds.
    reduce : int
        Images and masks are read at 1 / reduce of their resolution; see `reduce.reduce_samples`.

    Raises
    ------
    DatasetError
        If the layout is unknown, or the folder is not laid out that way.
    """
    root = Path(root)
    if layout not in LAYOUTS:
        raise DatasetError(f"there is no layout '{layout}'; use {', '.join(LAYOUTS)}")
    if not root.is_dir():
        raise DatasetError(f"{root} is no folder; name the folder of the data set")
    if seed < 0:
        raise DatasetError(f"seed is {seed}; use 0 or more")
    if reduce < 1:
        raise DatasetError(f"reduce is {reduce}; use 1 for images as they are, or more")
    kinds = Classes.parse(classes)
    return reduce_samples(_open_layout(layout, root, split, seed, mpp, kinds, masks), reduce)


def _open_layout(
    layout: str,
    root: Path,
    split: str,
    seed: int,
    mpp: float | None,
    kinds: Classes,
    masks: str,
) -> Samples:
    if layout in _MANIFEST:
        return manifest_samples(root, split, kinds, masks)
    if layout == "folder":
        return folder_samples(root, split, seed, kinds)
    if layout == "slides":
        return slide_samples(root, split, seed, kinds, mpp=mpp)
    if kinds.count > 1:
        raise DatasetError(
            f"{root}: layout {layout} has one class, {kinds.count} were named; name one or none"
        )
    return _BINARY[layout](root, split, seed)
