"""Seconds of a frontier's rows: all in turn on the same images, round after round."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_twostage.method.tiling import TileGrid
from napari_twostage.method.uncertainty import labels
from napari_twostage.models.bundle import read_bundle
from napari_twostage.models.networks.fold import fold_normalisation, load_module
from napari_twostage.training.loop.stages import coarse_at_full_size
from napari_twostage.training.loop.validate import predict_whole
from napari_twostage.training.run.networks import load_trained_networks, prepare_inference
from napari_twostage.training.run.run_folder import BUNDLE
from training.frontier.trial_results import score_by
from training.item_timing import time_per_item

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_twostage.models.card import ModelCard
    from napari_twostage.models.networks.two_stage import TwoStage
    from napari_twostage.utils.timing import Timing
    from training.frontier.study import Trial

    Image = NDArray[np.uint8]
    Segment = Callable[[Image], Image]

BATCH = 8
"""Stage 2 windows per batch."""


def time_trials(
    rows: Mapping[str, tuple[Trial, float | None]],
    images: Sequence[Image],
    *,
    selector: str,
    rounds: int,
) -> dict[str, Timing]:
    """Time rows on the CPU, from a decoded image to labels at its own size.

    Parameters
    ----------
    rows : mapping
        By name: a finished trial, and the threshold above which tiles are refined; None for a
        single model, which reads each image whole.
    images : sequence of (H, W, 3) uint8 arrays
    selector : str
        Tile score; see `trial_results.score_tiles`.
    rounds : int
        Passes of each row over the images.
    """
    candidates = {
        name: make_segment(trial, threshold, selector) for name, (trial, threshold) in rows.items()
    }
    return time_per_item(candidates, images, rounds=rounds)


def make_segment(trial: Trial, threshold: float | None, selector: str) -> Segment:
    """Build a function that segments an image in memory: halo, selection, stitching, no disk."""
    if threshold is None:
        single = prepare_inference(load_trained_networks(trial.config, trial.folder))
        fold_normalisation(single)
        predict = coarse_at_full_size(single, trial.config.network.ratio)
        return partial(_run_single, predict, trial.config.stage1.halo_px)
    bundle = read_bundle(trial.folder / BUNDLE)
    module = prepare_inference(load_module(bundle))
    fold_normalisation(module)
    halo_px = trial.config.stage1.halo_px
    return partial(_run_two_stages, module, bundle.card, halo_px, selector, threshold)


def _run_single(
    predict: Callable[[torch.Tensor], torch.Tensor], halo_px: int, image: Image
) -> Image:
    with torch.inference_mode():
        return labels(predict_whole(predict, image, halo_px=halo_px))


def _run_two_stages(
    module: TwoStage, card: ModelCard, halo_px: int, selector: str, threshold: float, image: Image
) -> Image:
    with torch.inference_mode():
        coarse = coarse_at_full_size(module, card.ratio, module.coarse_maps)
        maps = predict_whole(coarse, image, halo_px=halo_px)
    logits = maps[: card.outputs] / card.temperature
    found = labels(logits)
    # on enlarged logits; the engine scores stage 1's own grid, with nearly the same result
    scores = score_by(logits, card.tile_px, selector, maps[-1])
    grid = TileGrid(found.shape, card.tile_px, card.halo_px)
    chosen = [(int(row), int(column)) for row, column in np.argwhere(scores > threshold)]
    if not chosen:
        return found
    reach = card.halo_px + card.tile_px
    padded = np.pad(image, ((card.halo_px, reach), (card.halo_px, reach), (0, 0)), mode="symmetric")
    for start in range(0, len(chosen), BATCH):
        chips = [grid.chip(tile) for tile in chosen[start : start + BATCH]]
        windows = [padded[chip.window.shift(card.halo_px, card.halo_px).slices] for chip in chips]
        with torch.inference_mode():
            refined = module.refine(torch.from_numpy(np.stack(windows)), card.halo_px).numpy()
        for chip, window in zip(chips, refined, strict=True):
            inside = chip.core.clip(grid.plane)
            core = inside.shift(-chip.core.top, -chip.core.left)
            found[inside.slices] = labels(window[:, *core.slices])
    return found
