"""Stages of a run: the networks trained one after the other, and how each sees a batch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch.nn import functional

from napari_twostage.models.networks.base import trim
from napari_twostage.models.networks.refiner import enlarge
from napari_twostage.models.networks.two_stage import TwoStage, coarsen
from napari_twostage.training.config import ConfigError
from napari_twostage.training.datasets import CachedSamples
from napari_twostage.training.loop.batches import Batch, make_draw
from napari_twostage.training.loop.mistakes import Mistakes
from napari_twostage.training.loop.tiles import (
    choose_tiles,
    forward_coarse,
    forward_fine,
    refine_all,
    score_tiles,
    take_images,
    take_tiles,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from torch import Tensor, nn

    from napari_twostage.training.config import StageConfig, TilesConfig, TrainConfig
    from napari_twostage.training.datasets import Sample

    Forward = Callable[[Batch, np.random.Generator], "Compared"]
    Predict = Callable[[Tensor], Tensor]


class Compared(NamedTuple):
    """Output of a network, and what it should be."""

    logits: Tensor
    """(M, K, h, w)."""
    masks: Tensor
    """(M, h, w) class values."""
    soft_targets: Tensor | None = None
    """(M, K, h, w) class probabilities of a teacher."""
    object_logits: Tensor | None = None
    """(M, h, w)."""
    objects: Tensor | None = None
    """(M, h, w) target of the object output, in [0, 1]."""


@dataclass(frozen=True)
class Stage:
    """One network to train: its data, its forward pass, its schedule."""

    name: str
    network: nn.Module
    """Network whose weights are trained."""
    config: StageConfig
    seed: int
    steps: int
    draw: Callable[[int], Batch]
    """Function from a step to its batch."""
    forward: Forward
    """Function from a batch to its logits and targets."""
    predict: Predict
    """Function from fine uint8 images (N, H, W, 3) to logits (N, K, H, W)."""
    multiple_px: int = 1
    """Image sides are padded to a multiple of this for prediction."""
    samples: Sequence[Sample] = ()
    """Training images."""
    mistakes: Mistakes = field(default_factory=Mistakes)
    """Pixels on which `draw` places crops once they are known."""


def list_stages(config: TrainConfig, module: TwoStage, samples: Sequence[Sample]) -> list[Stage]:
    """List the stages of a run, in training order."""
    samples = CachedSamples(samples)  # both stages draw each many times
    parts = _whole_parts if config.whole_images is not None else _crop_parts
    listed = []
    for index, (part, stage) in enumerate(
        zip(parts(config, module), (config.stage1, config.stage2), strict=False)
    ):
        if stage is None:
            continue
        seed = config.seed + index
        mistakes = Mistakes(config.data.error_share if config.whole_images is None else 0.0)
        listed.append(
            Stage(
                name=part.name,
                network=part.network,
                config=stage,
                seed=seed,
                steps=stage.count_steps(len(samples)),
                draw=make_draw(samples, config, stage, seed, mistakes),
                forward=part.forward,
                predict=part.predict,
                multiple_px=part.multiple_px,
                samples=samples,
                mistakes=mistakes,
            )
        )
    return listed


class _Part(NamedTuple):
    """Network of a stage with its forward passes, before its schedule is known."""

    name: str
    network: nn.Module
    forward: Forward
    predict: Predict
    multiple_px: int = 1
    """See `Stage`."""


def _crop_parts(config: TrainConfig, module: TwoStage) -> list[_Part]:
    """Stages for crops: both are trained on their predictions at the fine pixel size."""
    fine_px, ratio = module.window_multiple, config.network.ratio
    if config.kind == "joint":
        _require_whole("stage1", config.stage1, fine_px)
        both = partial(_both_and_compare, module)
        return [_Part("joint", module, both, module.refine, fine_px)]
    coarse, coarse_px = coarse_at_full_size(module, ratio), module.stage1.stride * math.ceil(ratio)
    maps = coarse_at_full_size(module, ratio, module.coarse_maps)
    _require_halo(config, coarse_px)
    if ratio == 1:  # otherwise a crop is padded after it is reduced
        _require_whole("stage1", config.stage1, coarse_px)
    if config.stage2 is not None:
        _require_whole("stage2", config.stage2, fine_px)
    return [
        _Part(
            "stage1",
            module.stage1,
            partial(_predict_and_compare, module, maps, config.stage1.halo_px),
            coarse,
            coarse_px,
        ),
        _Part(
            "stage2",
            module.stage2,
            partial(
                _predict_and_compare,
                module,
                module.refine_maps,
                config.stage2.halo_px if config.stage2 else 0,
            ),
            module.refine,
            fine_px,
        ),
    ]


def _require_halo(config: TrainConfig, coarse_px: int) -> None:
    """Raise if the engine would use a rim of stage 1's windows that its crops leave unlearnt.

    Crops are padded on the right and below to what the network halves; windows never are.
    """
    stage, card, ratio = config.stage1, config.card, config.network.ratio
    padded = -stage.crop_px % coarse_px
    needed = math.ceil((stage.halo_px + padded) / ratio)
    if card is not None and padded and card.coarse_halo_px < needed:
        raise ConfigError(
            f"card.coarse_halo_px: expected {needed} or more, since crops of stage 1 are padded by "
            f"{padded} pixels beside their halo of {stage.halo_px}, found {card.coarse_halo_px}; "
            f"correct it, or take a stage1.crop_px that is a multiple of {coarse_px}"
        )


def _require_whole(name: str, stage: StageConfig, unit_px: int) -> None:
    """Raise if crops cannot be halved as often as the networks need."""
    if stage.crop_px % unit_px:
        raise ConfigError(
            f"{name}.crop_px: expected a multiple of {unit_px}, for the networks to halve, "
            f"found {stage.crop_px}; correct it"
        )


def _whole_parts(config: TrainConfig, module: TwoStage) -> list[_Part]:
    """Stages for whole images: stage 1 at its own pixel size, stage 2 on a few tiles."""
    coarse = coarse_at_full_size(module, module.ratio)
    return [
        _Part("stage1", module.stage1, partial(_coarse_and_compare, module), coarse),
        _Part(
            "stage2",
            module.stage2,
            partial(_tiles_and_compare, module, config.tiles),
            partial(refine_all, module),
        ),
    ]


def coarse_at_full_size(module: TwoStage, ratio: float, coarse: Predict | None = None) -> Predict:
    """Build stage 1 as a function from fine images to logits at the fine pixel size.

    Images are reduced by the ratio; logits are enlarged bilinearly.

    Parameters
    ----------
    module : TwoStage
    ratio : float
        1 or more; may be fractional, and need not be the module's.
    coarse : callable, optional
        Function from coarse images to the maps that are enlarged; `module.coarse` by default.
    """
    stage1 = coarse or module.coarse

    def predict(images: Tensor) -> Tensor:
        small = _reduce(images, ratio)
        height, width = small.shape[1:3]
        logits = stage1(pad_to_multiple(small, module.stage1.stride))
        return enlarge(logits[..., :height, :width], images.shape[1:3])

    return stage1 if ratio == 1 else predict


def _reduce(images: Tensor, ratio: float) -> Tensor:
    """Average blocks as slides do, or resample if the sides are no multiple of the ratio."""
    sides = images.shape[1:3]
    if ratio == int(ratio) and not any(length % int(ratio) for length in sides):
        return coarsen(images, int(ratio))
    small = functional.interpolate(
        images.permute(0, 3, 1, 2).float(),
        [round(length / ratio) for length in sides],
        mode="bilinear",
        antialias=True,
    )
    return small.round().to(torch.uint8).permute(0, 2, 3, 1)


def pad_to_multiple(images: Tensor, multiple: int) -> Tensor:
    """Repeat the last row and column until the sides are a multiple of `multiple`."""
    below, right = (-length % multiple for length in images.shape[1:3])
    if not below and not right:
        return images
    planes = images.permute(0, 3, 1, 2).float()
    filled = functional.pad(planes, (0, right, 0, below), mode="replicate")
    return filled.to(torch.uint8).permute(0, 2, 3, 1)


def _both_and_compare(module: TwoStage, batch: Batch, _: np.random.Generator) -> Compared:
    """Concatenate both outputs, so that their losses weigh the same."""
    coarse, refined = module.run_both(batch.images)
    both = torch.cat([enlarge(coarse, batch.images.shape[1:3]), refined])
    return Compared(both, torch.cat([batch.masks, batch.masks]))


def _predict_and_compare(
    module: TwoStage, maps: Predict, halo_px: int, batch: Batch, _: np.random.Generator
) -> Compared:
    predicted = trim(maps(batch.images), halo_px)
    logits, object_logits = module.part(predicted)
    soft, objects = (
        part if part is None else trim(part, halo_px)
        for part in (batch.soft_targets, batch.objects)
    )
    return Compared(logits, trim(batch.masks, halo_px), soft, object_logits, objects)


def _coarse_and_compare(module: TwoStage, batch: Batch, _: np.random.Generator) -> Compared:
    logits = module.coarse(coarsen(batch.images, module.ratio))
    masks = coarsen_masks(batch.masks, module.ratio, max(2, logits.shape[1]))
    return Compared(logits, masks)


def coarsen_masks(masks: Tensor, ratio: int, values: int) -> Tensor:
    """Most frequent value of each ratio × ratio block, (N, H, W); the lowest value wins a tie."""
    if ratio == 1:
        return masks
    planes = functional.one_hot(masks, values).permute(0, 3, 1, 2).float()
    return functional.avg_pool2d(planes, ratio).argmax(dim=1)


def _tiles_and_compare(
    module: TwoStage, config: TilesConfig, batch: Batch, rng: np.random.Generator
) -> Compared:
    ratio = module.ratio
    coarse = forward_coarse(module, batch.images)
    scores = score_tiles(coarse.logits, ratio, config.uncertainty)
    chosen = torch.from_numpy(choose_tiles(scores, config.selection, config.count, rng))
    logits = forward_fine(
        module,
        take_images(batch.images, chosen, ratio),
        take_tiles(coarse.features, chosen, ratio),
    )
    return Compared(logits, take_tiles(batch.masks[:, None], chosen, ratio)[:, 0])
