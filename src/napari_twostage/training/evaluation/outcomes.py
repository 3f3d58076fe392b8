"""Engine results on images with known ground truth, tile by tile, and their cost."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from napari_twostage.engine.api import segment
from napari_twostage.method.resample_labels import upsample
from napari_twostage.method.selection import EVERYTHING
from napari_twostage.models.cost import count_macs
from napari_twostage.models.networks.build import build_two_stage
from napari_twostage.slides import open_slide

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_twostage.method.ranking import Ranking
    from napari_twostage.method.tiling import TileGrid
    from napari_twostage.models.card import ModelCard
    from napari_twostage.models.model import Model
    from napari_twostage.models.networks.two_stage import TwoStage
    from napari_twostage.training.datasets import Sample

SIDE_PX = 256
"""Side of the image on which multiply-accumulates are counted; any gives the same per pixel."""


@dataclass(frozen=True)
class Outcome:
    """One image through both stages, every tile refined; any selection follows from it."""

    sample: Sample
    logits: NDArray[np.float32]
    """(K, H, W) calibrated logits of stage 1, upsampled."""
    coarse: NDArray[np.uint8]
    """(H, W) labels of stage 1."""
    refined: NDArray[np.uint8]
    """(H, W) labels of stage 2 everywhere."""
    coarse_logits: NDArray[np.float16]
    """(K, h, w) on stage 1's own grid, from which scores are computed."""
    ranking: Ranking
    """The engine's scores and expectations of the tiles."""
    tiles: TileGrid

    @property
    def scores(self) -> NDArray[np.float32]:
        """(rows, columns) score of each tile."""
        return self.ranking.statistics.score

    @property
    def classes(self) -> int:
        """Number of foreground classes."""
        return max(1, len(self.logits) - 1)

    def at(self, threshold: float) -> NDArray[np.uint8]:
        """(H, W) labels of two stages at a threshold."""
        return np.where(self.selected(threshold), self.refined, self.coarse)

    def count(self, threshold: float) -> int:
        """Number of tiles that score above a threshold."""
        return int((self.scores > threshold).sum())

    def selected(self, threshold: float) -> NDArray[np.bool_]:
        """(H, W) mask of the tiles that score above a threshold."""
        side = self.tiles.tile_px
        chosen = np.kron(self.scores > threshold, np.ones((side, side), bool))
        return np.asarray(chosen[: self.coarse.shape[0], : self.coarse.shape[1]])


def run_engine(model: Model, samples: Sequence[Sample], *, progress: bool = True) -> list[Outcome]:
    """Run the engine over images, exactly as for users; see `run_image`."""
    bar = tqdm(samples, desc="engine", unit="image", disable=not progress)
    return [run_image(model, sample) for sample in bar]


def run_image(model: Model, sample: Sample) -> Outcome:
    """Run the engine over an image: the coarse pass, then refinement of every tile."""
    mpp = (
        model.card.fine_mpp,
        model.card.fine_mpp,
    )  # read without resampling
    with tempfile.TemporaryDirectory() as folder:
        seg = segment(
            open_slide(sample.image, mpp=mpp),
            model,
            Path(folder) / "out.zarr",
            tissue=False,
            refine="none",
        )
        coarse = seg.read_labels(seg.grid.box)
        coarse_logits = seg.read_logits(seg.coarse_grid.box)
        logits = upsample(seg.read_logits, seg.coarse_grid.shape, seg.grid.box, model.card.ratio)
        seg.refine(EVERYTHING)
        refined = seg.read_labels(seg.grid.box)
        return Outcome(sample, logits, coarse, refined, coarse_logits, seg.ranking, seg.tiles)


@dataclass(frozen=True)
class Cost:
    """Multiply-accumulates of two stages as a share of the dense run's.

    The dense run reads each image whole with one network of stage 2's architecture (stage 1's if
    stage 2 is a local refiner) and needs no halo. Stage 1 costs its share of the pixels, stage 2
    its windows including their halo, even beyond the image.
    """

    dense: float
    """Multiply-accumulates of the dense run, per pixel."""
    coarse: float
    """Multiply-accumulates of stage 1, per fine pixel."""
    tile: float
    """Multiply-accumulates of stage 2, per tile."""

    @classmethod
    def of(cls, card: ModelCard) -> Cost:
        """Count the multiply-accumulates of a model."""
        module = build_two_stage(card)
        side = card.window_px
        shape = (1, 3, side, side)
        coarse = count_macs(module.stage1, shape) / side**2
        full = coarse if card.refiner else count_macs(module.stage2, shape) / side**2
        tile = count_macs(_Refine(module, card.halo_px), shape)
        return cls(full, coarse / card.ratio**2, tile)

    def relative(self, outcomes: list[Outcome], threshold: float | None) -> float:
        """Cost of two stages at a threshold over these images; None for stage 1 alone."""
        pixels = sum(outcome.coarse.size for outcome in outcomes)
        spent = pixels * self.coarse
        if threshold is not None:
            spent += self.tile * sum(outcome.count(threshold) for outcome in outcomes)
        return spent / (pixels * self.dense)


def count_single(module: TwoStage, ratio: float) -> float:
    """Multiply-accumulates per fine pixel of stage 1 alone, read at 1 / ratio of the resolution."""
    return count_macs(module.stage1, (1, 3, SIDE_PX, SIDE_PX)) / SIDE_PX**2 / ratio**2


class _Refine(nn.Module):
    """Stage 2 as a module that takes float images, as `count_macs` needs it."""

    def __init__(self, module: TwoStage, halo_px: int) -> None:
        super().__init__()
        self.module = module
        self.halo_px = halo_px

    def forward(self, images: Tensor) -> Tensor:
        """Refine (N, 3, H, W) windows."""
        return self.module.refine(images.permute(0, 2, 3, 1).to(torch.uint8), self.halo_px)
