"""Whole images in tiles: what stage 1 says of them, what stage 2 makes of them.

As in the paper, and unlike in the engine: images have one size, and context comes from stage 1
over the whole image. The networks' inputs are made by the functions that the engine uses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
import torch
from torch.nn import functional

from napari_twostage.method.uncertainty import MEASURES, tile_statistics
from napari_twostage.models.networks.two_stage import TwoStage, coarsen

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from napari_twostage.models.networks.base import Network


class Coarse(NamedTuple):
    """Stage 1 over a batch of whole images."""

    features: Tensor
    """(N, F, H / ratio, W / ratio), what enters Model 1's last convolution."""
    logits: Tensor
    """(N, K, H / ratio, W / ratio)."""


def run_coarse(module: TwoStage, images: Tensor) -> Coarse:
    """Run stage 1 on (N, H, W, 3) uint8 images averaged down by the ratio, without gradients."""
    with torch.no_grad():
        features = module.stage1.features(module.normalise(coarsen(images, module.ratio)))
        return Coarse(features, module.stage1.classify(features))


def score_tiles(logits: Tensor, ratio: int, uncertainty: str) -> NDArray[np.float32]:
    """Mean uncertainty of each tile: (N, K, h, w) logits to (N, ratio²), row by row."""
    values = logits.float().cpu().numpy()
    tile_px, measure = values.shape[-1] // ratio, MEASURES[uncertainty]
    return np.stack([tile_statistics(image, tile_px, measure).score.ravel() for image in values])


def take_tiles(maps: Tensor, chosen: Tensor, ratio: int) -> Tensor:
    """Take tiles of each image, of which there are ratio × ratio.

    Parameters
    ----------
    maps : (N, C, H, W) tensor
        H and W are multiples of `ratio`.
    chosen : (N, k) int tensor
        Indices of tiles, row by row.

    Returns
    -------
    (N · k, C, H / ratio, W / ratio) tensor
    """
    chosen = chosen.to(maps.device)
    owners = torch.arange(len(maps), device=maps.device)[:, None]
    grid = maps.unflatten(-2, (ratio, -1)).unflatten(-1, (ratio, -1)).permute(0, 2, 4, 1, 3, 5)
    taken: Tensor = grid[owners, chosen // ratio, chosen % ratio]
    return taken.flatten(0, 1)


def join_tiles(tiles: Tensor, ratio: int) -> Tensor:
    """Put all tiles of images together: (N, ratio², C, h, w) to (N, C, ratio · h, ratio · w)."""
    grid: Tensor = tiles.unflatten(1, (ratio, ratio)).permute(0, 3, 1, 4, 2, 5)
    return grid.flatten(4, 5).flatten(2, 3)


def take_images(images: Tensor, chosen: Tensor, ratio: int) -> Tensor:
    """Take tiles as `take_tiles` does, of images with channels last."""
    return take_tiles(images.permute(0, 3, 1, 2), chosen, ratio).permute(0, 2, 3, 1)


def refine_tiles(module: TwoStage, tiles: Tensor, context: Tensor) -> Tensor:
    """Run stage 2 on tiles, each with Model 1's features of the same place.

    Parameters
    ----------
    tiles : (M, H, W, 3) uint8 tensor
    context : (M, F, H / ratio, W / ratio) tensor
        Not looked at where the module is without context.

    Returns
    -------
    (M, K, H, W) float tensor
        Logits.
    """
    network = cast("Network", module.stage2)  # whole images are not trained on with a refiner
    features = network.features(module.normalise(tiles))
    if module.context:
        features = features + functional.interpolate(
            context, size=features.shape[-2:], mode="nearest"
        )
    return network.classify(features)


def refine_all(module: TwoStage, images: Tensor) -> Tensor:
    """Run both stages on (N, H, W, 3) uint8 images, every tile refined: (N, K, H, W) logits."""
    ratio = module.ratio
    every = torch.arange(ratio**2).expand(len(images), -1)
    context = take_tiles(run_coarse(module, images).features, every, ratio)
    logits = refine_tiles(module, take_images(images, every, ratio), context)
    return join_tiles(logits.unflatten(0, (len(images), -1)), ratio)
