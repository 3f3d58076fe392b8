"""Outlines of numbered regions along the edges of their pixels.

An outline is walked with its region on the left. It consists of straight runs of pixel edges, and
in the corner where a run ends exactly one run of the same region begins.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from shapely import LinearRing, Polygon

    from napari_twostage.geometry import Scale

EAST, SOUTH, WEST, NORTH = range(4)
"""Headings, each a right turn from the one before; rows count downwards."""


SIMPLIFY_PX = 0.49
"""Largest distance of a simplified outline from the pixel edges, in pixels of the fine grid.

The centre of a pixel is half a pixel from its edges. With a smaller tolerance no centre changes
sides, so rasterising a simplified outline returns exactly the original pixels.
"""


def trace(numbers: NDArray[np.integer], *, top: int = 0, left: int = 0) -> NDArray[np.object_]:
    """Outline every region as one polygon, with its holes.

    Parameters
    ----------
    numbers : (height, width) int array
        0 is background; every number from 1 to the largest is one 4-connected region.
    top, left : int
        Row and column of the first pixel, added to all coordinates.

    Returns
    -------
    (n,) array of Polygon
        Regions 1, 2, ... in pixel-edge coordinates (x, y), without points on straight lines. A
        shell starts at the top left corner of the region's first pixel and goes down. A hole starts
        at its top left corner and goes right.

    Examples
    --------
    >>> [polygon.wkt for polygon in trace(np.array([[1, 1], [1, 0]], np.int32))]
    ['POLYGON ((0 0, 0 2, 1 2, 1 1, 2 1, 2 0, 0 0))']
    """
    import shapely

    if not numbers.any():
        return np.zeros(0, object)
    runs = _find_runs(numbers)
    order, lengths = _walk(runs, _following(runs, numbers))
    corners = runs.start[order]
    rows, columns = np.divmod(corners, numbers.shape[1] + 1)
    points = np.stack([columns + left, rows + top], axis=1).astype(np.float64)
    rings = shapely.linearrings(points, indices=np.repeat(np.arange(len(lengths)), lengths))
    owners = runs.region[order[np.cumsum(lengths) - lengths]]

    # Rings come by their first corner, so a region's shell comes before its holes.
    grouped = np.argsort(owners, kind="stable")
    polygons = shapely.polygons(rings[grouped], indices=owners[grouped] - 1)
    found: NDArray[np.object_] = polygons
    return found


def simplified(outlines: NDArray[np.object_]) -> NDArray[np.object_]:
    """Simplify outlines as far as no pixel's centre changes sides; see `SIMPLIFY_PX`.

    Parts of a ring that do not meet are a pixel apart or more, so they cannot cross when each moves
    by less than half a pixel: the fast method of Douglas and Peucker leaves a polygon of one ring
    valid. Rings of one polygon may touch in a corner; those need the method that watches them.
    """
    import shapely

    found: NDArray[np.object_] = shapely.simplify(outlines, SIMPLIFY_PX, preserve_topology=False)
    several = shapely.get_num_interior_rings(outlines) > 0
    found[several] = shapely.simplify(outlines[several], SIMPLIFY_PX)
    return found


def at_level_0(
    outlines: NDArray[np.object_], downsample: Scale, origin: tuple[int, int] = (0, 0)
) -> NDArray[np.object_]:
    """Outlines in pixels of the slide's level 0, rounded to 1e-4 pixel.

    Parameters
    ----------
    outlines : (n,) array of Polygon
        Outlines on the fine grid.
    downsample : (float, float)
        Level-0 pixels per pixel of the fine grid (y, x).
    origin : (int, int)
        Pixel of level 0 (x, y) to count from.
    """
    import shapely

    if downsample == (1.0, 1.0) and origin == (0, 0):
        return outlines
    scale = downsample[1], downsample[0]
    moved: NDArray[np.object_] = shapely.transform(
        outlines, lambda points: (points * scale - origin).round(4)
    )
    return moved


def joined(parts: Sequence[Polygon]) -> Polygon:
    """Join the parts of a region that was cut along pixel edges, as if it had not been cut.

    Parameters
    ----------
    parts : sequence of Polygon
        Outlines in whole pixels, as `trace` returns them.
    """
    import shapely

    whole = shapely.union_all(parts)
    shell = _corners(whole.exterior, down=True)
    holes = [_corners(ring, down=False) for ring in whole.interiors]
    return shapely.Polygon(shell, sorted(holes, key=lambda ring: (ring[0, 1], ring[0, 0])))


def _corners(ring: LinearRing, *, down: bool) -> NDArray[np.float64]:
    """Corners (x, y) of a ring from its top left one on, first downwards or to the right."""
    points = np.rint(np.asarray(ring.coords)[:-1])
    ahead = np.roll(points, -1, axis=0) - points
    behind = points - np.roll(points, 1, axis=0)
    points = points[(ahead * behind).sum(axis=1) == 0]  # straight on, one is along the other
    first = int(np.lexsort((points[:, 0], points[:, 1]))[0])
    points = np.roll(points, -first, axis=0)
    if bool(points[1, 0] == points[0, 0]) != down:
        points = np.roll(points[::-1], 1, axis=0)
    return np.asarray(points, np.float64)


class _Runs(NamedTuple):
    """Straight runs of pixel edges; corner ``row * (width + 1) + column`` is a pixel's top left."""

    heading: NDArray[np.intp]
    region: NDArray[np.integer]
    """Number on the left of each."""
    start: NDArray[np.intp]
    """Corner that each begins in."""
    end: NDArray[np.intp]


def _find_runs(numbers: NDArray[np.integer]) -> _Runs:
    """Find all runs, heading by heading."""
    padded = np.pad(numbers, 1)
    stride = numbers.shape[1] + 1
    above, below = padded[:-1, 1:], padded[1:, 1:]
    before, after = padded[1:, :-1], padded[1:, 1:]
    # both list their edges in the order in which a run passes them
    rows, columns = np.divmod(np.flatnonzero(above != below), stride)
    down_columns, down_rows = np.divmod(np.flatnonzero((before != after).T), len(numbers) + 1)
    found = []
    for heading, left, at, step in (
        (EAST, above, (rows, columns), 1),
        (SOUTH, after, (down_rows, down_columns), stride),
        (WEST, below, (rows, columns), 1),
        (NORTH, before, (down_rows, down_columns), stride),
    ):
        region = left[at]
        corner = at[0] * stride + at[1]
        corner, region = corner[region > 0], region[region > 0]
        # an edge continues the run of the one listed before it
        goes_on = (corner[1:] == corner[:-1] + step) & (region[1:] == region[:-1])
        begins, ends = np.append(True, ~goes_on), np.append(~goes_on, True)
        first, last = corner[begins], corner[ends] + step
        start, end = (first, last) if heading in (EAST, SOUTH) else (last, first)
        found.append((np.full(len(first), heading), region[begins], start, end))
    return _Runs(*map(np.concatenate, zip(*found, strict=True)))


def _following(runs: _Runs, numbers: NDArray[np.integer]) -> NDArray[np.intp]:
    """Find the run that continues each run's outline.

    It turns right where the pixel ahead on the right is of the region. Where two pixels of one
    region meet in a corner only, it thereby keeps to its own pixel's neighbours, so that no ring
    touches itself.
    """
    padded = np.pad(numbers, 1)
    stride = padded.shape[1]
    rows, columns = np.divmod(runs.end, numbers.shape[1] + 1)
    ahead = np.array([stride + 1, stride, 0, 1])  # of east, south, west, north, from the top left
    right = padded.ravel()[rows * stride + columns + ahead[runs.heading]] == runs.region
    turned = (runs.heading + np.where(right, 1, -1)) % 4
    bounds = np.searchsorted(runs.heading, np.arange(5))
    found = np.empty(len(turned), np.intp)
    for heading, (first, last) in enumerate(pairwise(bounds.tolist())):
        there = np.flatnonzero(turned == heading)
        begin, end = runs.start[first:last], runs.end[there]
        if heading in (SOUTH, NORTH):  # they are listed column by column
            begin, end = (
                corner % (stride - 1) * (len(numbers) + 1) + corner // (stride - 1)
                for corner in (begin, end)
            )
        found[there] = first + np.searchsorted(begin, end)
    return found


def _walk(runs: _Runs, following: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Order runs ring by ring, each from its top left corner; and count those of each ring."""
    downwards = np.flatnonzero((runs.heading == SOUTH) | (runs.heading == EAST))
    candidates = downwards[np.argsort(runs.start[downwards], kind="stable")].tolist()
    next_run = following.tolist()
    walked = bytearray(len(next_run))
    order: list[int] = []
    lengths: list[int] = []
    for candidate in candidates:
        if walked[candidate]:
            continue
        before = len(order)
        run = candidate
        while not walked[run]:
            walked[run] = 1
            order.append(run)
            run = next_run[run]
        lengths.append(len(order) - before)
    return np.array(order, np.intp), np.array(lengths, np.intp)
