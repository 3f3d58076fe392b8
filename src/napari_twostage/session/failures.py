"""Failed tiles in words: how many, why, and what they show."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_twostage.engine.segmentation import Segmentation
    from napari_twostage.method.tiling import Tile


def describe_failed(seg: Segmentation, failed: Mapping[Tile, str]) -> str:
    """Say in one line that tiles failed, what they show now, why, and what to do next.

    Reads labels from the disk.

    Parameters
    ----------
    seg : Segmentation
        The result.
    failed : mapping of tile to str
        Tiles, one or more, and why each failed.
    """
    labelled = sum(_has_labels(seg, tile) for tile in failed)
    reasons = list(dict.fromkeys(failed.values()))
    more = f" (and {len(reasons) - 1:,} more reasons)" if len(reasons) > 1 else ""
    kept = describe_kept(len(failed), labelled)
    return (
        f"{count_of_failed(len(failed))} and {kept}: {reasons[0]}{more}; "
        "press Retry under Review once the slide can be read"
    )


def count_of_failed(count: int) -> str:
    """Text: ``15 tiles failed``."""
    return f"{count:,} tile{'s' * (count != 1)} failed"


def describe_kept(failed: int, labelled: int) -> str:
    """Say what failed tiles show.

    Parameters
    ----------
    failed, labelled : int
        Number of failed tiles, and of those that hold labels of objects.

    Examples
    --------
    >>> describe_kept(15, 15), describe_kept(15, 4), describe_kept(1, 0)
    ('kept their coarse labels', '4 of them kept coarse labels', 'has no labels')
    """
    if not labelled:
        return "has no labels" if failed == 1 else "have no labels"
    if labelled < failed:
        return f"{labelled:,} of them kept coarse labels"
    return "kept its coarse labels" if failed == 1 else "kept their coarse labels"


def _has_labels(seg: Segmentation, tile: Tile) -> bool:
    """Whether a tile holds a pixel of an object."""
    if np.isnan(seg.scores[tile]):  # stage 1 could not read it, either
        return False
    return bool(seg.read_labels(seg.tiles.box(tile)).any())
