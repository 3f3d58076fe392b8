"""Two stages over whole images, cut into tiles as in the paper.

Unlike in the engine, all images have one size, and context comes from stage 1 over the whole
image. The functions that build the networks' inputs are those of the engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
import torch
from torch.nn import functional

from napari_twostage.method.uncertainty import tile_statistics
from napari_twostage.models.networks.two_stage import TwoStage, coarsen

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from napari_twostage.models.networks.base import Network


class Coarse(NamedTuple):
    """Stage 1's output for a batch of whole images."""

    features: Tensor
    """(N, F, H / ratio, W / ratio): the input of stage 1's last convolution."""
    logits: Tensor
    """(N, K, H / ratio, W / ratio)."""


def forward_coarse(module: TwoStage, images: Tensor) -> Coarse:
    """Run stage 1 without gradients on (N, H, W, 3) uint8 images, averaged down by the ratio."""
    with torch.no_grad():
        features = module.stage1.features(module.normalise(coarsen(images, module.ratio)))
        return Coarse(features, module.stage1.classify(features))


def score_tiles(logits: Tensor, ratio: int, uncertainty: str) -> NDArray[np.float32]:
    """Mean uncertainty of each tile, row by row: (N, K, h, w) logits to (N, ratio²)."""
    values = logits.float().cpu().numpy()
    tile_px = values.shape[-1] // ratio
    return np.stack(
        [tile_statistics(image, tile_px, uncertainty).score.ravel() for image in values]
    )


def take_tiles(maps: Tensor, chosen: Tensor, ratio: int) -> Tensor:
    """Cut the chosen tiles out of images that hold ratio × ratio tiles each.

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
    """Join all tiles into images: (N, ratio², C, h, w) to (N, C, ratio · h, ratio · w)."""
    grid: Tensor = tiles.unflatten(1, (ratio, ratio)).permute(0, 3, 1, 4, 2, 5)
    return grid.flatten(4, 5).flatten(2, 3)


def take_images(images: Tensor, chosen: Tensor, ratio: int) -> Tensor:
    """Cut tiles as `take_tiles` does, from images with channels last."""
    return take_tiles(images.permute(0, 3, 1, 2), chosen, ratio).permute(0, 2, 3, 1)


def forward_fine(module: TwoStage, tiles: Tensor, context: Tensor) -> Tensor:
    """Run stage 2 on tiles, each with stage 1's features of the same place.

    Parameters
    ----------
    tiles : (M, H, W, 3) uint8 tensor
    context : (M, F, H / ratio, W / ratio) tensor
        Ignored if the module has no context.

    Returns
    -------
    (M, K, H, W) float tensor
        Logits.
    """
    network = cast("Network", module.stage2)  # a local refiner is trained on crops only
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
    context = take_tiles(forward_coarse(module, images).features, every, ratio)
    logits = forward_fine(module, take_images(images, every, ratio), context)
    return join_tiles(logits.unflatten(0, (len(images), -1)), ratio)


def refine_windows(module: TwoStage, images: Tensor, window_px: int, halo_px: int) -> Tensor:
    """Run stage 2 on the engine's windows, side by side over images.

    Parameters
    ----------
    module : TwoStage
    images : (N, H, W, 3) uint8 tensor
        Each side is twice the halo and whole tiles.
    window_px, halo_px : int
        Side of a window, and the width of its rim that is context.

    Returns
    -------
    (N, K, H - 2 halo_px, W - 2 halo_px) float32 tensor
        Logits.
    """
    tile = window_px - 2 * halo_px
    windows = images.unfold(1, window_px, tile).unfold(2, window_px, tile)
    count, rows, columns = windows.shape[:3]
    pixels = windows.permute(0, 1, 2, 4, 5, 3).flatten(0, 2)
    parts = [
        module.refine(pixels[first : first + WINDOWS], halo_px).float()
        for first in range(0, len(pixels), WINDOWS)
    ]
    maps = torch.cat(parts).unflatten(0, (count, rows, columns))
    grid: Tensor = maps.permute(0, 3, 1, 4, 2, 5)
    return grid.flatten(4, 5).flatten(2, 3)


WINDOWS = 16
"""Windows that `refine_windows` computes at once."""
NEXT_TO_NOTHING = 1e-12
"""Weight of a tile without any uncertainty: drawn only if there is no other."""


def choose_tiles(
    scores: NDArray[np.floating], selection: str, count: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Choose the tiles of each image that stage 2 is trained on, without replacement.

    Parameters
    ----------
    scores : (N, T) float array
        Mean uncertainty of each image's tiles, 0 or more.
    selection : str
        ``random``: uniform; ``weighted``: drawn one after another, with probability
        proportional to the score; ``highest``: those with the highest scores.
    count : int
        Tiles per image, at most T.
    rng : Generator

    Returns
    -------
    (N, count) int array
        Indices of tiles, in the order they were drawn.
    """
    if selection == "highest":
        return np.argsort(-scores, axis=1, kind="stable")[:, :count]
    rates = np.ones_like(scores) if selection == "random" else scores
    # of exponential clocks, each rings first with a probability proportional to its rate
    clocks = rng.exponential(size=scores.shape) / np.maximum(rates, NEXT_TO_NOTHING)
    return np.argsort(clocks, axis=1)[:, :count]
