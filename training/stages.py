"""The networks that a run trains, one after the other, and how each sees a batch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from napari_twostage.models.two_stage import TwoStage, coarsen
from training.batches import Batch, make_draw
from training.samplers import choose_tiles
from training.tiles import (
    refine_all,
    refine_tiles,
    run_coarse,
    score_tiles,
    take_images,
    take_tiles,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from torch import Tensor

    from napari_twostage.models.network import Network
    from training.config import StageConfig, TilesConfig, TrainConfig
    from training.datasets import Sample

    Forward = Callable[[Batch, np.random.Generator], tuple[Tensor, Tensor]]
    Predict = Callable[[Tensor], Tensor]

WINDOW_MULTIPLE = 64
"""Images of any size are filled up to whole multiples, which every network can halve."""


@dataclass(frozen=True)
class Stage:
    """One network being trained: what to run, what to change, on what."""

    name: str
    network: Network
    """The one whose weights change."""
    config: StageConfig
    seed: int
    steps: int
    draw: Callable[[int], Batch]
    """From a step to its batch."""
    forward: Forward
    """From a batch to logits (M, K, h, w) and their targets (M, h, w)."""
    predict: Predict
    """Fine uint8 images (N, H, W, 3) to logits (N, K, H, W) at the fine pixel size."""
    multiple_px: int = 1
    """What the sides of images to predict are filled up to a multiple of."""


def list_stages(config: TrainConfig, module: TwoStage, samples: Sequence[Sample]) -> list[Stage]:
    """List what is trained, in order."""
    parts = _crop_parts if config.whole_images is None else _whole_parts
    listed = []
    for index, stage in enumerate((config.stage1, config.stage2)):
        if stage is None:
            continue
        forward, predict = parts(config, module)[index]
        seed = config.seed + index
        listed.append(
            Stage(
                name=f"stage{index + 1}",
                network=(module.stage1, module.stage2)[index],
                config=stage,
                seed=seed,
                steps=stage.count_steps(len(samples)),
                draw=make_draw(samples, config, stage, seed),
                forward=forward,
                predict=predict,
                multiple_px=WINDOW_MULTIPLE if config.whole_images is None else 1,
            )
        )
    return listed


def _crop_parts(_: TrainConfig, module: TwoStage) -> list[tuple[Forward, Predict]]:
    """On crops, both stages are trained on what they predict at the fine pixel size."""
    coarse = coarse_at_full_size(module)
    return [
        (partial(_predict_and_compare, coarse), coarse),
        (partial(_predict_and_compare, module.refine), module.refine),
    ]


def _whole_parts(config: TrainConfig, module: TwoStage) -> list[tuple[Forward, Predict]]:
    """On whole images, stage 1 is trained at its own pixel size and stage 2 on a few tiles."""
    return [
        (partial(_coarse_and_compare, module), coarse_at_full_size(module)),
        (partial(_tiles_and_compare, module, config.tiles), partial(refine_all, module)),
    ]


def coarse_at_full_size(module: TwoStage) -> Predict:
    """Stage 1 from fine pixels to logits on fine pixels: averaged down, enlarged bilinearly."""

    def predict(images: Tensor) -> Tensor:
        logits = module.coarse(coarsen(images, module.ratio))
        return functional.interpolate(
            logits, scale_factor=module.ratio, mode="bilinear", align_corners=False
        )

    return module.coarse if module.ratio == 1 else predict


def _predict_and_compare(
    predict: Callable[[Tensor], Tensor], batch: Batch, _: np.random.Generator
) -> tuple[Tensor, Tensor]:
    return predict(batch.images), batch.masks


def _coarse_and_compare(
    module: TwoStage, batch: Batch, _: np.random.Generator
) -> tuple[Tensor, Tensor]:
    logits = module.coarse(coarsen(batch.images, module.ratio))
    return logits, coarsen_masks(batch.masks, module.ratio, max(2, logits.shape[1]))


def coarsen_masks(masks: Tensor, ratio: int, values: int) -> Tensor:
    """The commonest value of each block, the lowest of several: (N, H, W) to 1 / ratio of it."""
    if ratio == 1:
        return masks
    planes = functional.one_hot(masks, values).permute(0, 3, 1, 2).float()
    return functional.avg_pool2d(planes, ratio).argmax(dim=1)


def _tiles_and_compare(
    module: TwoStage, config: TilesConfig, batch: Batch, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    ratio = module.ratio
    coarse = run_coarse(module, batch.images)
    scores = score_tiles(coarse.logits, ratio, config.uncertainty)
    chosen = torch.from_numpy(choose_tiles(scores, config.selection, config.count, rng))
    logits = refine_tiles(
        module,
        take_images(batch.images, chosen, ratio),
        take_tiles(coarse.features, chosen, ratio),
    )
    return logits, take_tiles(batch.masks[:, None], chosen, ratio)[:, 0]
