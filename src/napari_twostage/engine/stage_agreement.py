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
from napari_twostage.method.agreement import TileChanges
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
    return _agreement(TileChanges.count(scores, coarse, fine))


def _agreement(changes: TileChanges) -> StageAgreement:
    within = np.concatenate([[0], np.cumsum(changes.changed[changes.order])])
    count = int(np.searchsorted(within, FOUND * within[-1]))
    threshold = changes.threshold(count)
    chosen = changes.scores > threshold
    return StageAgreement(
        dice=float(changes.dice()[0]),
        threshold=threshold,
        fraction=float(chosen.mean()),
        found=float(changes.changed[chosen].sum() / within[-1]) if within[-1] else 1.0,
        n_tiles=len(changes),
    )


def _labels(seg: Segmentation, tile: Tile) -> NDArray[np.uint8]:
    return seg.read_labels(seg.tiles.box(tile))
