"""Which images train and which test, where nobody has published a split."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from napari_twostage.training.datasets.sample import DatasetError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Item = TypeVar("Item")

SPLITS = ("train", "test", "all")
TRAIN_SHARE = 0.7
_FIRST_SEED = 123


def choose(items: Sequence[Item], split: str, seed: int, root: Path) -> list[Item]:
    """Take one side of the 70/30 split of a list, or all of it.

    The list, sorted by name, is shuffled by NumPy's Mersenne Twister seeded with 123 + `seed`;
    the first ⌊0.7 n⌋, but at least one, are for training. The published experiments did so,
    their seed being the number of the repetition; for KITTI and PH2, whose files they sorted,
    the split is therefore theirs.

    Parameters
    ----------
    items : sequence
        Sorted by name.
    split : str
        ``train``, ``test`` or ``all``.
    seed : int
        0 or more.
    root : Path
        The data set, for the error.

    Raises
    ------
    DatasetError
        If the split is unknown, or nothing is in it.
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
    """Refuse a split that no layout has."""
    if split not in SPLITS:
        raise DatasetError(f"{root} has no split '{split}'; use {', '.join(SPLITS)}")


def assign_folds(groups: Sequence[str], folds: int, seed: int) -> list[int]:
    """Deal images into folds of about one size, those of a group into the same one.

    Groups are dealt out the largest first, equal ones shuffled, each to the smallest fold so far.

    Parameters
    ----------
    groups : sequence of str
        Of each image: what it must not be parted from.
    folds : int
        2 or more.
    seed : int
        Of the shuffle.

    Returns
    -------
    list of int
        The fold of each image, from 0.
    """
    sizes = Counter(groups)
    names = sorted(sizes)
    shuffled = [names[place] for place in np.random.default_rng(seed).permutation(len(names))]
    filled, fold_of = [0] * folds, {}
    for name in sorted(shuffled, key=lambda name: -sizes[name]):
        fold_of[name] = filled.index(min(filled))
        filled[fold_of[name]] += sizes[name]
    return [fold_of[group] for group in groups]
