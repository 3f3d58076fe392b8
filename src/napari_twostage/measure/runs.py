"""Runs of equal pixels in the rows of a block, and where runs of two rows touch.

Objects of a slide are a few pixels to thousands of them: runs are several times fewer than
pixels, and everything that is measured of a region adds up over its runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.measure.regions import packed, unpacked
from napari_twostage.utils.graphs import connect

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.geometry import Shape

    Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Runs:
    """Runs of a block, row by row; every pixel is in one.

    A contact is a stretch in which one run lies above one run of the next row. A contact begins
    wherever a run begins in either row.
    """

    shape: Shape
    begin: Numbers
    """Flat index of the first pixel of each: (n,)."""
    length: Numbers
    """Pixels of each."""
    value: NDArray[np.integer]
    """Label of each."""
    item: NDArray[np.integer]
    """Number that pixels of one region share: of the object, or the label itself."""
    above: Numbers
    """Upper run of each contact: (m,), row by row."""
    below: Numbers
    """Lower run of each contact."""
    contact: Numbers
    """Flat index of the first pixel of each contact, in the upper row."""
    width: Numbers
    """Pixels of each contact."""
    begins_above: NDArray[np.bool_]
    """Whether the upper run begins where the contact does. In this order these are all runs but
    those of the last row."""
    begins_below: NDArray[np.bool_]
    """Whether the lower run begins there. These are all runs but those of the first row."""

    @property
    def row(self) -> Numbers:
        """Row of each run."""
        return self.begin // self.shape[1]

    @property
    def column(self) -> Numbers:
        """First column of each run."""
        return self.begin % self.shape[1]

    def paint(self, values: NDArray[np.integer]) -> NDArray[np.integer]:
        """Image (height, width) in which every run has a value of its own."""
        return np.repeat(values, self.length).reshape(self.shape)


def find_runs(labels: NDArray[np.integer], items: NDArray[np.integer] | None = None) -> Runs:
    """Find the runs of a block of labels and the contacts between them.

    Parameters
    ----------
    labels : (height, width) int array
        At least one pixel.
    items : (height, width) int array, optional
        Numbers that tell apart neighbours of one label; equal numbers have equal labels. The
        labels themselves if None.

    Examples
    --------
    >>> found = find_runs(np.array([[1, 1, 0], [1, 0, 0]]))
    >>> found.value.tolist(), found.length.tolist()
    ([1, 0, 1, 0], [2, 1, 1, 2])
    >>> [list(pair) for pair in zip(found.above.tolist(), found.below.tolist())]
    [[0, 2], [0, 3], [1, 3]]
    """
    items = labels if items is None else items
    height, width = labels.shape
    starts = np.ones(labels.shape, bool)
    np.not_equal(items[:, 1:], items[:, :-1], out=starts[:, 1:])
    begin = np.flatnonzero(starts)
    contact = np.flatnonzero(starts[:-1] | starts[1:])
    begins_above = starts[:-1].ravel()[contact]
    begins_below = starts[1:].ravel()[contact]
    in_first_row = int(np.count_nonzero(starts[0]))
    return Runs(
        shape=(height, width),
        begin=begin,
        length=np.diff(begin, append=height * width),
        value=labels.ravel()[begin],
        item=items.ravel()[begin],
        above=np.cumsum(begins_above) - 1,
        below=np.cumsum(begins_below) + (in_first_row - 1),
        contact=contact,
        width=np.diff(contact, append=(height - 1) * width),
        begins_above=begins_above,
        begins_below=begins_below,
    )


def number_regions(runs: Runs) -> Numbers:
    """Number the regions of equal, edge-connected pixels; the region of each run, from 0.

    Background is numbered too. Regions are in the order of their first pixel.
    """
    same = runs.item[runs.above] == runs.item[runs.below]
    return connect(len(runs.begin), runs.above[same], runs.below[same])


def pack_runs(runs: Runs, numbers: Numbers) -> bytes:
    """Pack the runs of a block with the region of each; `unpack_runs` reads them."""
    values = np.zeros(int(numbers.max()) + 1, np.int64)
    values[numbers] = runs.value
    return b"".join(map(packed, (runs.length, numbers, values)))


def unpack_runs(data: bytes, shape: Shape) -> tuple[Runs, Numbers]:
    """Runs of a block of this shape, and the region of each.

    Raises
    ------
    ValueError
        If these are not the bytes of a block's runs.
    """
    columns = list(unpacked(data))
    if len(columns) != 3:
        raise ValueError(f"{len(columns)} columns")
    length, numbers, values = columns
    fits = len(length) == len(numbers) and int(length.sum()) == shape[0] * shape[1]
    if not fits or int(numbers.max(initial=0)) >= len(values):
        raise ValueError("it is not of this block")
    items = np.repeat(numbers.astype(np.int32), length).reshape(shape)
    runs = find_runs(values.astype(np.uint8)[items], items)
    return runs, runs.item.astype(np.int64)
