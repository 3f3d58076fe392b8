"""Inference on whole images with one stage and with two, as in the paper.

An image is resized to a square. Stage 1 sees all of it at 1 / ratio; the square is cut into
ratio × ratio tiles, so that stage 2 sees inputs of the same size as stage 1. The same code measures
quality and seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from napari_twostage.errors import TwoStageError
from napari_twostage.method.uncertainty import MEASURES, probabilities
from napari_twostage.models.cost import count_macs
from napari_twostage.models.networks import refiner
from napari_twostage.models.networks.two_stage import coarsen
from napari_twostage.training.datasets.resize import resize_image
from napari_twostage.training.loop.tiles import (
    Coarse,
    forward_coarse,
    forward_fine,
    score_tiles,
    take_images,
    take_tiles,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from napari_twostage.models.networks.two_stage import TwoStage

UPSAMPLING = ("nearest", "bilinear")


class InferenceError(TwoStageError):
    """An image size or a rule that does not fit the model."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Rules by which two stages share an image; the defaults are those of the paper's runs."""

    size_px: int = 768
    """Side of the square that every image is resized to."""
    threshold: float = 0.25
    """Refine tiles whose mean uncertainty, in [0, 1], exceeds this; 0 refines all."""
    measure: str = "tent"
    """One of `napari_twostage.method.uncertainty.MEASURES`."""
    stray_padding: bool = False
    """Pool scores as the published code did: shifted up and left by one pixel, zeros outside."""
    upsampling: str = "nearest"
    """Upsampling of stage 1's logits if some tile is refined; otherwise it is bilinear."""

    def __post_init__(self) -> None:
        for name, found, known in (
            ("measure", self.measure, MEASURES),
            ("upsampling", self.upsampling, UPSAMPLING),
        ):
            if found not in known:
                raise InferenceError(f"{name} is '{found}'; use one of {', '.join(known)}")


@dataclass(frozen=True)
class Stage1Result:
    """Stage 1's result for an image."""

    image: Tensor
    """(1, S, S, 3) uint8."""
    coarse: Coarse
    """Logits and features (1, ..., S / ratio, S / ratio)."""
    scores: NDArray[np.float32]
    """Mean uncertainty of each tile (ratio, ratio)."""


@dataclass(frozen=True)
class Segmented:
    """Result of both stages for an image."""

    logits: Tensor
    """(K, S, S)."""
    chosen: NDArray[np.bool_]
    """(ratio, ratio) tiles that stage 2 refined."""


def enlarge_logits(logits: Tensor, shape: tuple[int, int]) -> Tensor:
    """Resize (K, H, W) logits to (K, *shape) bilinearly, pixel centres aligned."""
    return refiner.enlarge(logits[None], shape)[0]


def run_two_stages(module: TwoStage, image: NDArray[np.uint8], rules: Rules) -> Segmented:
    """Run both stages on an (H, W, 3) image; `StageMacs.spent` counts, and tables time, this."""
    first = run_stage1(module, image, rules)
    chosen = select_tiles(first.scores, rules.threshold)
    refined = run_stage2(module, first, chosen)
    return Segmented(compose(first, chosen, refined, rules.upsampling), chosen)


def run_single(module: TwoStage, image: NDArray[np.uint8], size_px: int) -> Tensor:
    """Run stage 1 alone on an (H, W, 3) image: the control of the same cost.

    Returns
    -------
    (K, size_px, size_px) tensor
        Logits; at a ratio above 1 they are enlarged bilinearly.
    """
    pixels = _load(module, image, size_px)
    with torch.inference_mode():
        logits = module.coarse(coarsen(pixels, module.ratio))[0]
        return logits if module.ratio == 1 else enlarge_logits(logits, (size_px, size_px))


def run_stage1(module: TwoStage, image: NDArray[np.uint8], rules: Rules) -> Stage1Result:
    """Run stage 1 on the whole image, and score the uncertainty of each tile.

    Raises
    ------
    InferenceError
        If tiles would not hold whole coarse pixels.
    """
    if rules.size_px % module.ratio**2:
        raise InferenceError(
            f"size_px is {rules.size_px}; at ratio {module.ratio} it must be a multiple of "
            f"{module.ratio**2}, so that tiles hold whole coarse pixels"
        )
    pixels = _load(module, image, rules.size_px)
    with torch.inference_mode():
        coarse = forward_coarse(module, pixels)
    scores = _score(coarse.logits, module.ratio, rules)
    return Stage1Result(pixels, coarse, scores.reshape(module.ratio, module.ratio))


def _load(module: TwoStage, image: NDArray[np.uint8], size_px: int) -> Tensor:
    """Resize an (H, W, 3) image and copy it to the module's device: (1, size_px, size_px, 3)."""
    pixels = torch.from_numpy(np.array(resize_image(image, size_px)))
    return pixels[None].to(module.mean.device)


def _score(logits: Tensor, ratio: int, rules: Rules) -> NDArray[np.float32]:
    """Mean uncertainty of the tiles of (1, K, H, H) logits."""
    if not rules.stray_padding:
        return score_tiles(logits, ratio, rules.measure)
    unsure = MEASURES[rules.measure](probabilities(logits[0].float().cpu().numpy()))
    side = logits.shape[-1] // ratio
    pooled: NDArray[np.float32] = functional.avg_pool2d(
        torch.from_numpy(unsure)[None], kernel_size=side, padding=1
    ).numpy()
    return pooled


def select_tiles(scores: NDArray[np.float32], threshold: float) -> NDArray[np.bool_]:
    """Mask of the tiles above a threshold; all at 0, even those that score exactly 0."""
    return np.asarray(scores > threshold) if threshold > 0 else np.ones(scores.shape, np.bool_)


def run_stage2(module: TwoStage, first: Stage1Result, chosen: NDArray[np.bool_]) -> Tensor:
    """Run stage 2 on the chosen tiles, row by row: (n, K, S / ratio, S / ratio) logits.

    Context is stage 1's features of the whole image, cut to the tile, as in the paper.
    """
    ratio = module.ratio
    side = first.image.shape[1] // ratio
    found = [first.coarse.logits.new_empty((0, first.coarse.logits.shape[1], side, side))]
    with torch.inference_mode():
        # one row of tiles at once: less memory than the baseline needs, and no slower
        for batch in torch.from_numpy(np.flatnonzero(chosen)).split(ratio):
            pixels = take_images(first.image, batch[None], ratio)
            context = take_tiles(first.coarse.features, batch[None], ratio)
            found.append(forward_fine(module, pixels, context))
    return torch.cat(found)


def compose(
    first: Stage1Result, chosen: NDArray[np.bool_], refined: Tensor, upsampling: str = "nearest"
) -> Tensor:
    """Combine stage 2's logits of the chosen tiles with stage 1's elsewhere.

    Parameters
    ----------
    first : Stage1Result
    chosen : (ratio, ratio) bool array
    refined : (n, K, S / ratio, S / ratio) tensor
        Stage 2's logits of the n chosen tiles, row by row.
    upsampling : str
        One of `UPSAMPLING`, for unrefined tiles; always bilinear if no tile is chosen.

    Returns
    -------
    (K, S, S) tensor
    """
    size, side = first.image.shape[1], refined.shape[-1]
    logits = first.coarse.logits
    with torch.inference_mode():
        if upsampling == "bilinear" or not chosen.any():
            whole = enlarge_logits(logits[0], (size, size))
        else:
            whole = functional.interpolate(logits, size=(size, size), mode="nearest")[0]
        for (row, column), tile in zip(np.argwhere(chosen) * side, refined, strict=True):
            whole[:, row : row + side, column : column + side] = tile
    return whole


@dataclass(frozen=True)
class StageMacs:
    """Multiply-accumulates of both networks on inputs of the same size."""

    coarse: int
    """Multiply-accumulates of stage 1, per image."""
    tile: int
    """Multiply-accumulates of stage 2, per tile, with its context given."""

    @classmethod
    def of(cls, module: TwoStage, size_px: int) -> StageMacs:
        """Count both networks of a module."""
        side = size_px // module.ratio
        shape = (1, 3, side, side)
        return cls(count_macs(module.stage1, shape), count_macs(module.stage2, shape))

    def spent(self, tiles: int) -> int:
        """Multiply-accumulates of an image with this number of refined tiles."""
        return self.coarse + tiles * self.tile
