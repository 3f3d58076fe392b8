"""Agreement of a model's two stages on a part of a slide, and the threshold that follows.

For models that nobody has calibrated: stage 2 stands for the truth, of which there is none.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.engine.api import segment
from napari_twostage.errors import ModelError
from napari_twostage.method.selection import EVERYTHING

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.engine.segmentation import Segmentation
    from napari_twostage.geometry import Box
    from napari_twostage.method.tiling import Tile
    from napari_twostage.models.model import Model
    from napari_twostage.slides.base import Slide

FOUND = 0.8
"""Share of the pixels whose label stage 2 changes that the chosen tiles hold."""
FEWEST_TILES = 16
STEPS = 1000
"""Thresholds from 0 to 1 that are chosen from."""


@dataclass(frozen=True)
class StageAgreement:
    """Agreement of the stages' labels, and the threshold chosen from it."""

    dice: float
    """Dice of stage 1's labels against stage 2's, all classes together; NaN if neither has any."""
    threshold: float
    fraction: float
    """Share of the tiles that score above the threshold."""
    found: float
    """Share of the pixels whose label stage 2 changes that lie in these tiles."""
    n_tiles: int


def stage_agreement(
    model: Model, slide: Slide, region: Box, *, progress: bool = False
) -> StageAgreement:
    """Run both stages over a region, every tile of it, and compare their labels.

    The threshold is the highest whose tiles hold `FOUND` of the pixels that stage 2 changes.

    Parameters
    ----------
    model : Model
    slide : Slide
    region : Box
        On the slide's level 0.
    progress : bool
        Show bars on stderr.

    Raises
    ------
    ModelError
        If the region has fewer tiles than `FEWEST_TILES`.
    TwoStageError
        If slide and model do not fit, or there is no tissue.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch) / "agreement.twostage.zarr"
        seg = segment(slide, model, folder, refine="none", region=region, progress=progress)
        tiles = [(int(row), int(column)) for row, column in np.argwhere(~np.isnan(seg.scores))]
        if len(tiles) < FEWEST_TILES:
            raise ModelError(
                f"{len(tiles)} tiles of the region hold tissue, expected {FEWEST_TILES} or more to "
                f"choose a threshold from; name a larger region, or one with more tissue"
            )
        scores = np.array([seg.scores[tile] for tile in tiles])
        coarse = [_labels(seg, tile) for tile in tiles]
        seg.refine(EVERYTHING, progress=progress)
        fine = [_labels(seg, tile) for tile in tiles]
    return _agreement(scores, coarse, fine)


def _agreement(
    scores: NDArray[np.float32],
    coarse: list[NDArray[np.uint8]],
    fine: list[NDArray[np.uint8]],
) -> StageAgreement:
    changed = np.array([int((a != b).sum()) for a, b in zip(coarse, fine, strict=True)])
    threshold = _threshold(scores, changed)
    chosen = scores > threshold
    both = sum(int(((a == b) & (a > 0)).sum()) for a, b in zip(coarse, fine, strict=True))
    either = sum(int((a > 0).sum() + (b > 0).sum()) for a, b in zip(coarse, fine, strict=True))
    return StageAgreement(
        dice=2 * both / either if either else float("nan"),
        threshold=threshold,
        fraction=float(chosen.mean()),
        found=float(changed[chosen].sum() / changed.sum()) if changed.any() else 1.0,
        n_tiles=len(scores),
    )


def _threshold(scores: NDArray[np.float32], changed: NDArray[np.integer]) -> float:
    """Highest threshold, in thousandths, whose tiles hold `FOUND` of the changed pixels."""
    if not changed.any():
        return float(np.ceil(scores.max() * STEPS) / STEPS)
    order = np.argsort(-scores, kind="stable")
    within = np.cumsum(changed[order])
    last = int(np.searchsorted(within, FOUND * within[-1]))
    below = np.ceil(float(scores[order][last]) * STEPS) - 1  # tiles score above a threshold
    return max(0.0, float(below / STEPS))


def _labels(seg: Segmentation, tile: Tile) -> NDArray[np.uint8]:
    return seg.read_labels(seg.tiles.box(tile))
