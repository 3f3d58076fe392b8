"""Objects of a class mask, touching ones told apart by the networks' object output.

Every pixel of a class is linked with some of its four neighbours, and an object is what hangs
together by links. Whether two pixels are linked follows from what lies within `REACH_PX` of them
and from nothing else. So the objects of a slide are the same however it is cut into blocks: link
each block with a margin of `REACH_PX`, and join what is linked across their borders.

The object output is a landscape, high in the middle of objects. Pixels above `SEED` are the
middles, and neighbours in a middle are linked. Each other pixel is linked with the neighbour that
lies highest above it, and so, step by step, with a middle or a lower summit. What hangs on a lower
summit goes to the nearest middle that can be reached within the class, and where there is none
close by, it is an object of its own. Last, a fragment of fewer than `FRAGMENT_PX` pixels is linked
with the larger object that it touches, across the highest pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.utils.graphs import connect

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.models.card import ModelCard, ObjectTarget

    Places = NDArray[np.int64]

SEED = 0.4
"""Depth above which pixels belong to the middle of an object; chosen on images held out of BOWL."""
LARGEST = 20.0
"""Absolute value from which on an output is certain; larger ones would overflow."""
HIGHEST = 254
"""Value of the largest depth, 1."""
DOUBLINGS = 5
"""A climb has at most 2 to this power steps."""
ATTACH_PX = 16
"""Steps within which a summit without a middle looks for one."""
SMOOTH_PX, BROAD_PX = 2, 6
"""Pixels at each side that smoothing takes in: of the landscape, and to decide in its plains."""
FRAGMENT_PX = 32
"""Pixels below which what touches a larger object is a fragment of it."""
REACH_PX = 2**DOUBLINGS + ATTACH_PX + SMOOTH_PX + BROAD_PX + 2 * FRAGMENT_PX + 3
"""Distance, in steps from pixel to pixel, within which everything lies that links follow from."""


def parted(
    maps: NDArray[np.float32], card: ModelCard
) -> tuple[NDArray[np.float32], NDArray[np.uint8] | None]:
    """Part what a network gives into logits and depth.

    Parameters
    ----------
    maps : (C, H, W) float32 array
        The card's `channels`.
    card : ModelCard
        Card of the model.

    Returns
    -------
    logits : (K, H, W) float32 array
    depth : (H, W) uint8 array or None
        Depth inside objects, `quantised`; None if the model has no object output.
    """
    if card.objects == "none":
        return maps, None
    return maps[:-1], depth_of(maps[-1], card.objects)


def depth_of(output: NDArray[np.float32], target: ObjectTarget) -> NDArray[np.uint8]:
    """Depth inside objects, `quantised`, from the object output (H, W) of a network."""
    held = np.clip(output, -LARGEST, LARGEST)
    return quantised(1 / (1 + np.exp(held if target == "boundary" else -held)))


def quantised(depth: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Depth in [0, 1] as whole numbers from 0 to `HIGHEST`."""
    scaled: NDArray[np.uint8] = np.rint(np.clip(depth, 0, 1) * HIGHEST).astype(np.uint8)
    return scaled


def separate(
    mask: NDArray[np.generic],
    depth: NDArray[np.uint8],
    *,
    joined: NDArray[np.bool_] | None = None,
    seed: float = SEED,
) -> NDArray[np.int32]:
    """Number the objects of a mask.

    Parameters
    ----------
    mask : (H, W) array
        Class of each pixel; 0 is background. An object is of one class.
    depth : (H, W) uint8 array
        High in the middle of an object, low at its edge: `quantised`.
    joined : (H, W) bool array, optional
        Pixels that are linked with all neighbours of their class, such as painted ones.
    seed : float
        Depth above which pixels are part of a middle.

    Returns
    -------
    (H, W) int32 array
        Numbers of objects from 1; 0 is the background.

    Notes
    -----
    A watershed by steepest ascent ("toboggan"; Fairfield 1990) in place of one that floods:
    flooding depends on what lies far away.
    """
    classes = np.pad(mask, 1)
    smooth = _smoothed(np.pad(depth, 1))
    first, second = _links(classes, smooth, seed, joined)
    inside = np.flatnonzero(classes)
    numbers = np.zeros(classes.size, np.int32)
    numbers[inside] = _components(inside, first, second, classes.size)
    into = _absorbing(numbers, inside, classes, smooth)
    kept = into == np.arange(len(into))
    numbers = (np.cumsum(kept, dtype=np.int32) - 1)[into][numbers]
    found: NDArray[np.int32] = numbers.reshape(classes.shape)[1:-1, 1:-1]
    return found


def lines_between(labels: NDArray[np.integer], numbers: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Pixels along which objects of one label touch: those above and left of another object.

    Parameters
    ----------
    labels, numbers : (H, W) int array
        Class and object of each pixel.
    """
    lines = np.zeros(labels.shape, bool)
    for here, there in (
        ((slice(None, -1), slice(None)), (slice(1, None), slice(None))),
        ((slice(None), slice(None, -1)), (slice(None), slice(1, None))),
    ):
        lines[here] |= (labels[here] == labels[there]) & (numbers[here] != numbers[there])
    return lines


def _absorbing(
    numbers: NDArray[np.int32],
    inside: Places,
    classes: NDArray[np.generic],
    smooth: NDArray[np.int32],
) -> NDArray[np.int32]:
    """Object that each object becomes part of, by its number: itself, unless it is a fragment."""
    small = np.bincount(numbers[inside], minlength=1) < FRAGMENT_PX
    flat, height = classes.ravel(), smooth.ravel()
    into = np.arange(len(small), dtype=np.int32)
    pixels = inside[small[numbers[inside]]]
    large = (flat != 0) & ~small[numbers]
    width = classes.shape[1]
    pairs = _between(pixels, large, flat, (-width, -1, 1, width))
    own, other = (np.concatenate(ends) for ends in zip(*pairs, strict=True))
    passes = np.lexsort((-other, -own, np.minimum(height[own], height[other])))
    into[numbers[own[passes]]] = numbers[other[passes]]  # the last assignment wins: the highest
    return into


def _components(inside: Places, first: Places, second: Places, size: int) -> NDArray[np.int32]:
    """Component of each pixel inside, from 1."""
    place = np.zeros(size, np.int64)
    place[inside] = np.arange(len(inside))
    return connect(len(inside), place[first], place[second]).astype(np.int32) + 1


def _links(
    classes: NDArray[np.generic],
    smooth: NDArray[np.int32],
    seed: float,
    joined: NDArray[np.bool_] | None,
) -> tuple[Places, Places]:
    """Pairs of linked pixels, as places in the flattened image; it has a margin of background."""
    width = classes.shape[1]
    steps = (-width, -1, 1, width)
    flat = classes.ravel()
    middle = ((smooth > seed * HIGHEST * 256) & (classes != 0)).ravel()
    outer = np.flatnonzero((flat != 0) & ~middle)
    upwards = np.arange(flat.size)
    upwards[outer] = _highest_neighbour(outer, steps, flat, _landscape(smooth).ravel())
    arrives = _arrives(upwards, outer, middle)
    _go_to_nearest(upwards, outer[~arrives[outer]], arrives, steps, flat)
    climbing = outer[upwards[outer] != outer]
    pairs = [(climbing, upwards[climbing])]
    for alike in (middle, (flat != 0) & ~arrives):
        pairs += _between(np.flatnonzero(alike), alike, flat, steps[2:])
    if joined is not None:
        painted = np.flatnonzero(np.pad(joined, 1).ravel() & (flat != 0))
        pairs += _between(painted, flat != 0, flat, steps)
    return np.concatenate([one for one, _ in pairs]), np.concatenate([two for _, two in pairs])


def _smoothed(depth: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Landscape times 256, smoothed by a binomial of 5 pixels: whole numbers, so exact."""
    from scipy import ndimage

    binomial = np.array([1, 4, 6, 4, 1])
    rows = ndimage.correlate1d(depth.astype(np.int32), binomial, 0, mode="constant")
    return np.asarray(ndimage.correlate1d(rows, binomial, 1, mode="constant"), np.int32)


def _landscape(smooth: NDArray[np.int32]) -> NDArray[np.int64]:
    """Landscape without plains: among equals the mean of a wider neighbourhood decides."""
    from scipy import ndimage

    box = np.ones(2 * BROAD_PX + 1, np.int64)
    rows = ndimage.correlate1d(smooth.astype(np.int64), box, 0, mode="constant")
    broad = ndimage.correlate1d(rows, box, 1, mode="constant")
    return (smooth.astype(np.int64) << 32) + np.asarray(broad, np.int64)


def _highest_neighbour(
    pixels: Places, steps: tuple[int, ...], flat: NDArray[np.generic], key: NDArray[np.int64]
) -> Places:
    """Highest neighbour of the same class if it is higher than the pixel, else the pixel."""
    best, height = pixels.copy(), key[pixels].copy()
    own = flat[pixels]
    for step in steps:
        there = pixels + step
        higher = (flat[there] == own) & (key[there] > height)
        best[higher] = there[higher]
        height[higher] = key[there[higher]]
    return best


def _arrives(upwards: Places, outer: Places, middle: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether each pixel's climb ends in a middle within its steps."""
    top = upwards.copy()
    for _ in range(DOUBLINGS):
        top[outer] = top[top[outer]]
    arrives = middle.copy()
    arrives[outer] = middle[top[outer]]
    return arrives


def _go_to_nearest(
    upwards: Places,
    lost: Places,
    arrives: NDArray[np.bool_],
    steps: tuple[int, ...],
    flat: NDArray[np.generic],
) -> None:
    """Lead pixels that arrive nowhere to the nearest that do, step by step, in place."""
    for _ in range(ATTACH_PX):
        reached, towards = np.zeros(len(lost), bool), lost.copy()
        for step in steps:
            there = lost + step
            new = ~reached & arrives[there] & (flat[there] == flat[lost])
            towards[new] = there[new]
            reached |= new
        if not reached.any():
            return
        upwards[lost[reached]] = towards[reached]
        arrives[lost[reached]] = True
        lost = lost[~reached]


def _between(
    pixels: Places, among: NDArray[np.bool_], flat: NDArray[np.generic], steps: tuple[int, ...]
) -> list[tuple[Places, Places]]:
    """Pairs of pixels and their neighbours that are among some, of the same class."""
    pairs = []
    for step in steps:
        there = pixels + step
        linked = among[there] & (flat[there] == flat[pixels])
        pairs.append((pixels[linked], there[linked]))
    return pairs
