"""Why a place is uncertain, in one line: what meets there, how sure stage 1 was, what was done."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.method.tiling import TileState
from napari_twostage.method.uncertainty import expected_wrong_px
from napari_twostage.session.review import describe_doubt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_twostage.engine.segmentation import Segmentation
    from napari_twostage.models import LabelClass
    from napari_twostage.session.review import Review


def explain(
    seg: Segmentation, review: Review, pixel: tuple[float, float], around: Sequence[int]
) -> str:
    """Describe a pixel and its tile; reads memory only.

    Parameters
    ----------
    seg : Segmentation
        The result.
    review : Review
        Knows when tiles were refined.
    pixel : (float, float)
        Row and column on the fine grid.
    around : sequence of int
        Labels of the pixel and of its neighbourhood, the pixel's own first; empty if not known.

    Returns
    -------
    str
        ``nucleus border, 62 % sure · about 40 doubtful pixels in this tile``; empty beside the
        slide.
    """
    tile = int(pixel[0] // seg.tiles.tile_px), int(pixel[1] // seg.tiles.tile_px)
    if not all(0 <= part < length for part, length in zip(tile, seg.tiles.shape, strict=True)):
        return ""
    if (reason := seg.failures.get(tile)) is not None:
        return f"failed: {reason}"
    state = TileState(int(seg.states[tile]))
    if np.isnan(seg.scores[tile]):
        return "not segmented"
    where = describe_labels(around, seg.classes)
    sure = describe_sureness(seg, pixel)
    done = _done(state, review, tile) or ("accepted" if seg.accepted[tile] else "")
    if state is TileState.REFINED and sure:
        sure = f"was {sure}"  # of stage 1, which stage 2 has replaced
    doubt = _doubt(seg, tile)
    return " · ".join(filter(None, (", ".join(filter(None, (where, sure))), doubt, done)))


def describe_labels(around: Sequence[int], classes: Sequence[LabelClass]) -> str:
    """Name what meets in a neighbourhood.

    Examples
    --------
    >>> from napari_twostage.models.card import LabelClass
    >>> classes = LabelClass("nucleus", "#ffcc00", 1), LabelClass("gland", "#2ca02c", 2)
    >>> [describe_labels(around, classes) for around in ((0, 0), (0, 1), (1, 1), (2, 0, 1))]
    ['background', 'nucleus border', 'inside nucleus', 'between gland and nucleus']
    """
    names = {entry.value: entry.name for entry in classes}
    found = list(dict.fromkeys(value for value in around if value in names))
    if len(found) > 1:
        return f"between {' and '.join(names[value] for value in found[:2])}"
    if not found:
        return "background" if around else ""
    name = names[found[0]]
    return f"inside {name}" if all(value == found[0] for value in around) else f"{name} border"


def describe_sureness(seg: Segmentation, pixel: tuple[float, float]) -> str:
    """Mean probability of the likeliest class close to a pixel; empty if the map lacks it."""
    if seg.record.parameters.uncertainty != "tent":
        return ""
    cells = seg.uncertainty_map
    row, column = (
        min(int(part * step), length - 1)
        for part, step, length in zip(
            pixel,
            np.divide(cells.pixels.shape, seg.grid.shape),
            cells.pixels.shape,
            strict=True,
        )
    )
    doubt = int(cells.pixels[row, column])
    sure = f"{1 - doubt / 510:.0%}".replace("%", " %")
    # the map ends at a tent of 1, and that of three classes and more does not
    return f"at most {sure} sure" if doubt == 255 and len(seg.classes) > 1 else f"{sure} sure"


def _doubt(seg: Segmentation, tile: tuple[int, int]) -> str:
    measure = seg.record.parameters.uncertainty
    pixels = expected_wrong_px(measure, float(seg.scores[tile]), 1)
    if pixels is None:
        return ""
    return f"{describe_doubt(measure, pixels * seg.tiles.box(tile).area)} in this tile"


def _done(state: TileState, review: Review, tile: tuple[int, int]) -> str:
    if state is TileState.EDITED:
        return "edited"
    if state is not TileState.REFINED:
        return ""
    at = review.refined_at.get(tile)
    return "refined" if at is None else f"refined at {time.strftime('%H:%M', time.localtime(at))}"
