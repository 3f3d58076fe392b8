"""Splits and folds for data sets without a published split."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from napari_twostage.training.datasets.samples import DatasetError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Item = TypeVar("Item")

SPLITS = ("train", "test", "all")
TRAIN_SHARE = 0.7
_FIRST_SEED = 123


def choose_split(items: Sequence[Item], split: str, seed: int, root: Path) -> list[Item]:
    """Return one side of the 70/30 split of a list, or all of it.

    The list, sorted by name, is shuffled by NumPy's Mersenne Twister seeded with 123 + `seed`;
    the first ⌊0.7 n⌋, but at least one, are for training. The published experiments did the
    same, with the number of the repetition as seed; for KITTI and PH2, whose files they sorted,
    the split is identical to theirs.

    Parameters
    ----------
    items : sequence
        Sorted by name.
    split : str
        ``train``, ``test`` or ``all``.
    seed : int
        0 or more.
    root : Path
        Folder of the data set, for the error message.

    Raises
    ------
    DatasetError
        If the split is unknown or empty.
    """
    check_split(split, root)
    order = np.random.RandomState(_FIRST_SEED + seed).permutation(len(items))
    count = max(1, int(TRAIN_SHARE * len(items)))
    chosen = {"train": order[:count], "test": order[count:], "all": np.arange(len(items))}[split]
    if not len(chosen):
        raise DatasetError(
            f"{root} has nothing for split '{split}': it holds {len(items)}, of which the first "
            "70 % are for training; add some, or use split all"
        )
    return [items[index] for index in chosen]


def check_split(split: str, root: Path) -> None:
    """Raise `DatasetError` for an unknown split."""
    if split not in SPLITS:
        raise DatasetError(f"{root} has no split '{split}'; use {', '.join(SPLITS)}")


def assign_folds(groups: Sequence[str], folds: int, seed: int) -> list[int]:
    """Assign images to folds of similar size, keeping each group in one fold.

    The largest group comes first, equal ones in random order; each goes to the smallest fold so
    far.

    Parameters
    ----------
    groups : sequence of str
        Group of each image, such as its patient.
    folds : int
        2 or more.
    seed : int
        Seed of the shuffle.

    Returns
    -------
    list of int
        Fold of each image, from 0.
    """
    sizes = Counter(groups)
    names = sorted(sizes)
    shuffled = [names[place] for place in np.random.default_rng(seed).permutation(len(names))]
    filled, fold_of = [0] * folds, {}
    for name in sorted(shuffled, key=lambda name: -sizes[name]):
        fold_of[name] = filled.index(min(filled))
        filled[fold_of[name]] += sizes[name]
    return [fold_of[group] for group in groups]
