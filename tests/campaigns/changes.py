"""Edits and undos that campaigns make, in an order of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_twostage import Box

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable

    from napari_twostage import Segmentation

SHAPE = (120, 150)
"""Rows and columns of the slides: 8 × 10 tiles, 4 × 5 coarse windows."""
UNSET = 255


class Change(NamedTuple):
    """An edit, or an undo if it has no box."""

    box: Box | None = None
    labels: np.ndarray | None = None

    def apply(self, seg: Segmentation) -> None:
        """Make the change."""
        if self.box is None or self.labels is None:
            seg.undo_edit()
        else:
            seg.edit(self.box, self.labels)


def random_changes(rng: random.Random, count: int) -> tuple[Change, ...]:
    """Edits of all sizes, also one over the other, and undos between them."""
    pixels, changes, standing = np.random.default_rng(rng.randrange(2**32)), [], 0
    while len(changes) < count:
        if standing and rng.random() < 0.35:
            changes.append(Change())
            standing -= 1
            continue
        height, width = (rng.choice((1, 9, 31, side)) for side in SHAPE)
        top, left = rng.randint(0, SHAPE[0] - height), rng.randint(0, SHAPE[1] - width)
        labels = pixels.choice(np.array([0, 1, 1, UNSET], np.uint8), (height, width))
        changes.append(Change(Box.at(top, left, height, width), labels))
        standing += 1
    return tuple(changes)


def changes_made(reports: list[Any]) -> tuple[int, int]:
    """Fewest and most changes that a result may show after a victim of `changing`."""
    return reports.count("end"), reports.count("begin")


def boxes_after(changes: Iterable[Change]) -> list[Box]:
    """Boxes of the edits that stand after some changes."""
    boxes: list[Box] = []
    for change in changes:
        if change.box is None:
            boxes.pop()
        else:
            boxes.append(change.box)
    return boxes
