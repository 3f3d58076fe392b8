"""Membership of the regions of all blocks: the object that each turned out to be a part of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.int64]


class Members:
    """Regions numbered over all blocks, in the order in which they are added.

    Four bytes a region, and four more: a slide with ten million regions takes 80 MB.
    """

    def __init__(self) -> None:
        self._owner = np.zeros(1024, np.int32)
        self._object = np.zeros(1024, np.int32)
        self._count = 0

    def add(self, count: int) -> Numbers:
        """Add regions, each its own owner; returns their numbers: (count,)."""
        numbers = np.arange(self._count, self._count + count)
        self._count += count
        if self._count > len(self._owner):
            room = np.zeros(max(self._count, len(self._owner)), np.int32)
            self._owner = np.concatenate([self._owner, room])
            self._object = np.concatenate([self._object, room])
        self._owner[numbers] = numbers
        return numbers

    def join(self, regions: Numbers, owners: Numbers) -> None:
        """Make regions parts of others, and so all that are parts of them."""
        self._owner[regions] = owners

    def name(self, regions: Numbers, first: int) -> None:
        """Number objects, from `first`, by a region that owns all others of each."""
        self._object[regions] = np.arange(first, first + len(regions))

    def objects(self) -> NDArray[np.int32]:
        """Object of every region, by the region's number; 0 for those of none: (n,)."""
        owner = self._owner[: self._count]
        while True:
            further = owner[owner]
            if (further == owner).all():
                return self._object[owner]
            owner = further
