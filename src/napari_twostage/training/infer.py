"""A whole image through two stages, as in the paper, and through one: the same code times both.

An image is resized to a square. Stage 1 sees all of it at 1 / ratio; the square is cut into
ratio × ratio tiles, so that stage 2 sees inputs of the same size as stage 1 did.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from napari_twostage.method.uncertainty import MEASURES, probabilities
from napari_twostage.models.cost import count_macs
from napari_twostage.models.networks import refiner
from napari_twostage.models.networks.two_stage import coarsen
from napari_twostage.training.tiles import (
    Coarse,
    refine_tiles,
    run_coarse,
    score_tiles,
    take_images,
    take_tiles,
)
from napari_twostage.training.whole import resize_image

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from napari_twostage.models.networks.two_stage import TwoStage

UPSAMPLING = ("nearest", "bilinear")


class InferenceError(ValueError):
    """An image size or a rule that does not fit the model."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How two stages share an image; the defaults are what the paper ran."""

    size_px: int = 768
    """Side of the square that every image is resized to."""
    threshold: float = 0.25
    """Refine tiles whose mean uncertainty, in [0, 1], exceeds this; 0 refines all."""
    measure: str = "tent"
    """One of `napari_twostage.method.uncertainty.MEASURES`."""
    stray_padding: bool = False
    """Pool scores as the published code did: from one pixel too far up and left, the outside
    counting as certain."""
    upsampling: str = "nearest"
    """Of stage 1's logits where some tile is refined; where none is, they are bilinear."""

    def __post_init__(self) -> None:
        for name, found, known in (
            ("measure", self.measure, MEASURES),
            ("upsampling", self.upsampling, UPSAMPLING),
        ):
            if found not in known:
                raise InferenceError(f"{name} is '{found}'; use one of {', '.join(known)}")


@dataclass(frozen=True)
class Rough:
    """What stage 1 makes of an image."""

    image: Tensor
    """(1, S, S, 3) uint8."""
    coarse: Coarse
    """Logits and features (1, ..., S / ratio, S / ratio)."""
    scores: NDArray[np.float32]
    """Mean uncertainty of each tile (ratio, ratio)."""


@dataclass(frozen=True)
class Segmented:
    """An image after both stages."""

    logits: Tensor
    """(K, S, S)."""
    chosen: NDArray[np.bool_]
    """The tiles that stage 2 refined (ratio, ratio)."""


def enlarge(logits: Tensor, shape: tuple[int, int]) -> Tensor:
    """Resize (K, H, W) logits to (K, *shape) bilinearly, pixel centres aligned."""
    return refiner.enlarge(logits[None], shape)[0]


def run_two_stages(module: TwoStage, image: NDArray[np.uint8], rules: Rules) -> Segmented:
    """Both stages over an (H, W, 3) image; what `StageMacs.spent` and the clock measure."""
    rough = run_stage1(module, image, rules)
    chosen = choose(rough.scores, rules.threshold)
    refined = run_stage2(module, rough, chosen)
    return Segmented(compose(rough, chosen, refined, rules.upsampling), chosen)


def run_single(module: TwoStage, image: NDArray[np.uint8], size_px: int) -> Tensor:
    """Stage 1 alone over an (H, W, 3) image: the control of the same cost.

    Returns
    -------
    (K, size_px, size_px) tensor
        Logits, those at 1 / ratio of the resolution enlarged bilinearly.
    """
    pixels = _load(module, image, size_px)
    with torch.inference_mode():
        logits = module.coarse(coarsen(pixels, module.ratio))[0]
        return logits if module.ratio == 1 else enlarge(logits, (size_px, size_px))


def run_stage1(module: TwoStage, image: NDArray[np.uint8], rules: Rules) -> Rough:
    """Stage 1 over the whole image, and how unsure it is of each tile.

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
        coarse = run_coarse(module, pixels)
    scores = _score(coarse.logits, module.ratio, rules)
    return Rough(pixels, coarse, scores.reshape(module.ratio, module.ratio))


def _load(module: TwoStage, image: NDArray[np.uint8], size_px: int) -> Tensor:
    """Resize an (H, W, 3) image and put it beside the weights: (1, size_px, size_px, 3)."""
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


def choose(scores: NDArray[np.float32], threshold: float) -> NDArray[np.bool_]:
    """The tiles that score above a threshold; all at 0, though a sure tile may score just that."""
    return np.asarray(scores > threshold) if threshold > 0 else np.ones(scores.shape, np.bool_)


def run_stage2(module: TwoStage, rough: Rough, chosen: NDArray[np.bool_]) -> Tensor:
    """Stage 2 over the chosen tiles, row by row: (n, K, S / ratio, S / ratio) logits.

    Context is stage 1's features of the whole image, cut to the tile, as in the paper.
    """
    ratio = module.ratio
    side = rough.image.shape[1] // ratio
    found = [rough.coarse.logits.new_empty((0, rough.coarse.logits.shape[1], side, side))]
    with torch.inference_mode():
        # a row's worth at once: less memory than the baseline takes, and no slower
        for batch in torch.from_numpy(np.flatnonzero(chosen)).split(ratio):
            pixels = take_images(rough.image, batch[None], ratio)
            context = take_tiles(rough.coarse.features, batch[None], ratio)
            found.append(refine_tiles(module, pixels, context))
    return torch.cat(found)


def compose(
    rough: Rough, chosen: NDArray[np.bool_], refined: Tensor, upsampling: str = "nearest"
) -> Tensor:
    """Stage 2's logits where there are some, stage 1's elsewhere.

    Parameters
    ----------
    rough : Rough
    chosen : (ratio, ratio) bool array
    refined : (n, K, S / ratio, S / ratio) tensor
        Stage 2's logits of the n chosen tiles, row by row.
    upsampling : str
        One of `UPSAMPLING`, for what is not refined; bilinear wherever no tile is chosen.

    Returns
    -------
    (K, S, S) tensor
    """
    size, side = rough.image.shape[1], refined.shape[-1]
    logits = rough.coarse.logits
    with torch.inference_mode():
        if upsampling == "bilinear" or not chosen.any():
            whole = enlarge(logits[0], (size, size))
        else:
            whole = functional.interpolate(logits, size=(size, size), mode="nearest")[0]
        for (row, column), tile in zip(np.argwhere(chosen) * side, refined, strict=True):
            whole[:, row : row + side, column : column + side] = tile
    return whole


@dataclass(frozen=True)
class StageMacs:
    """Multiply-accumulates of the two networks on inputs of the same size."""

    coarse: int
    """Of stage 1, over an image."""
    tile: int
    """Of stage 2, over a tile; its context is at hand."""

    @classmethod
    def of(cls, module: TwoStage, size_px: int) -> StageMacs:
        """Count both networks of a module."""
        side = size_px // module.ratio
        shape = (1, 3, side, side)
        return cls(count_macs(module.stage1, shape), count_macs(module.stage2, shape))

    def spent(self, tiles: int) -> int:
        """Multiply-accumulates of an image of which so many tiles were refined."""
        return self.coarse + tiles * self.tile


def prepare(module: TwoStage, device: str = "cpu") -> TwoStage:
    """Make a module ready to run: the baseline and the proposal are tuned alike."""
    module.eval().requires_grad_(requires_grad=False)
    return module.to(device).to(memory_format=torch.channels_last)
