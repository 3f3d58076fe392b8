"""Changes by refinement: objects and pixels of the refined tiles, against the coarse labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
from scipy import ndimage

from napari_twostage.measure.blocks import BLOCK_PX, block_rows, read_pixels, tiles_of
from napari_twostage.measure.objects import least_pixels
from napari_twostage.result.unrefined import UnrefinedResult

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.geometry import Box
    from napari_twostage.measure.blocks import BlockPixels, ProgressCallback
    from napari_twostage.result.result import Result

SAME = 0.5
"""Intersection over union from which on two objects are the same one."""
MARGIN_PX = BLOCK_PX // 6
"""Pixels around a block in which its objects are looked at; larger ones are compared in part."""


class ObjectChanges(NamedTuple):
    """Numbers of objects that differ between two label images."""

    found: int = 0
    """Objects of which there was nothing before."""
    dropped: int = 0
    """Objects of which nothing is left."""
    reshaped: int = 0
    """Objects that share less than `SAME` with each one that was there before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefinementChanges:
    """What refinement has changed, in all tiles that are refined now."""

    tiles: int
    pixels: int
    """Pixels of these tiles, inside the slide."""
    changed: int
    """Those of them that have another label than before."""
    objects: ObjectChanges

    def describe(self) -> str:
        """One line: ``92 tiles: 412 objects changed, 3.1 % of their pixels``."""
        tiles = f"{self.tiles:,} tile{'s' * (self.tiles != 1)}"
        count = sum(self.objects)
        objects = f"{count:,} object{'s' * (count != 1)}"
        share = 100 * self.changed / max(1, self.pixels)
        return f"{tiles}: {objects} changed, {share:.2g} % of their pixels"

    def describe_objects(self) -> str:
        """One line that says what became of the objects."""
        found, dropped, reshaped = self.objects
        return (
            f"{found:,} new, {dropped:,} gone, {reshaped:,} of another shape: those that share "
            "less than half of their area with each object before"
        )


def refinement_changes(
    result: Result, progress: ProgressCallback = lambda _: None
) -> RefinementChanges:
    """Compare the labels of all refined tiles with the coarse ones; edits are left out.

    Parameters
    ----------
    result : Result
        Result to measure.
    progress : callable
        Called with the share done, in [0, 1], after each block.
    """
    before, refined = UnrefinedResult(result), result.refined
    states = result.states, before.states
    blocks = [
        box
        for row in block_rows(result)
        for box in row
        if refined[tiles_of(result, box).slices].any()
    ]
    least = max(1, least_pixels(result.least_object_um2, result.grid.pixel_area_um2))
    pixels = changed = 0
    objects = np.zeros(3, np.int64)
    for number, box in enumerate(blocks, 1):
        wide = box.grow(MARGIN_PX).clip(result.grid.shape)
        now = read_pixels(result, wide, states[0])
        then = read_pixels(before, wide, states[1])
        own = box.shift(-wide.top, -wide.left)
        inside = _pixels_of(result, box, refined)
        differ = (now.labels != then.labels)[own.slices] & inside
        pixels += int(inside.sum())
        changed += int(differ.sum())
        if differ.any():
            objects += object_changes(_Regions.of(then, least), _Regions.of(now, least), own)
        progress(number / len(blocks))
    return RefinementChanges(
        tiles=int(refined.sum()),
        pixels=pixels,
        changed=changed,
        objects=ObjectChanges(*objects.tolist()),
    )


def _pixels_of(result: Result, box: Box, tiles: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels of a block that lie in some tiles: (height, width)."""
    size = result.tiles.tile_px
    chosen = tiles[tiles_of(result, box).slices].repeat(size, 0).repeat(size, 1)
    return chosen[: box.height, : box.width]


class _Regions(NamedTuple):
    """Regions of an image that are large enough to be objects."""

    numbers: NDArray[np.intp]
    """(H, W) number of each pixel's region, from 1; 0 for none."""
    sizes: NDArray[np.int64]
    """(n + 1,) pixels of each region; 0 for number 0."""

    @classmethod
    def of(cls, pixels: BlockPixels, least: int) -> Self:
        """Regions of at least so many pixels."""
        numbers = _numbered(pixels)
        sizes = np.bincount(numbers.ravel())
        sizes[0] = 0
        kept = sizes >= least
        renumbered = np.where(kept, np.cumsum(kept), 0)
        return cls(renumbered[numbers], np.concatenate([[0], sizes[kept]]))

    def begun_in(self, box: Box) -> NDArray[np.bool_]:
        """Regions whose first pixel lies in a box: (n + 1,), so each is counted in one block."""
        found, first = np.unique(self.numbers, return_index=True)
        rows, columns = np.unravel_index(first, self.numbers.shape)
        inside = (rows >= box.top) & (rows < box.bottom)
        inside &= (columns >= box.left) & (columns < box.right)
        begun = np.zeros(len(self.sizes), bool)
        begun[found] = inside
        begun[0] = False
        return begun


def _numbered(pixels: BlockPixels) -> NDArray[np.intp]:
    """Objects of a block, numbered from 1; 0 is background: (H, W)."""
    labels = pixels.labels
    if pixels.items is not labels:
        numbers = np.zeros(labels.shape, np.intp)
        foreground = labels > 0
        _, numbers[foreground] = np.unique(pixels.items[foreground], return_inverse=True)
        numbers[foreground] += 1
        return numbers
    numbers, count = np.zeros(labels.shape, np.intp), 0
    for value in np.unique(labels[labels > 0]):
        found, more = ndimage.label(labels == value)
        numbers[found > 0] = found[found > 0] + count
        count += more
    return numbers


def object_changes(before: _Regions, now: _Regions, own: Box) -> NDArray[np.int64]:
    """Count the `ObjectChanges` of the regions that begin in a part of two images."""
    both = (before.numbers > 0) & (now.numbers > 0)
    width = len(before.sizes)
    pairs, shared = np.unique(now.numbers[both] * width + before.numbers[both], return_counts=True)
    ours, theirs = np.divmod(pairs, width)
    alike = shared / (now.sizes[ours] + before.sizes[theirs] - shared)
    best = np.zeros(len(now.sizes))
    np.maximum.at(best, ours, alike)
    left = np.zeros(width, bool)
    left[theirs] = True
    begun = now.begun_in(own)
    return np.array(
        [
            (begun & (best == 0)).sum(),
            (before.begun_in(own) & ~left).sum(),
            (begun & (best > 0) & (best < SAME)).sum(),
        ]
    )
