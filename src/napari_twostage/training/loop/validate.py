"""Validation Dice of a stage during its training."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_twostage.method.uncertainty import labels
from napari_twostage.training.evaluation.metrics import mean_dice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from napari_twostage.training.datasets import Sample
    from napari_twostage.training.loop.stages import Stage


def validate(
    stage: Stage, averaged: nn.Module, samples: Sequence[Sample], device: torch.device
) -> float | None:
    """Mean Dice per image of the averaged weights on whole images; None without images."""
    if not len(samples):
        return None
    scores = []
    with predicting(stage, averaged, device) as predict:
        for sample in samples:
            logits = predict(sample.image)
            scores.append(mean_dice(labels(logits), sample.mask, max(1, len(logits) - 1)))
    return float(np.mean(scores))


@contextmanager
def predicting(
    stage: Stage, averaged: nn.Module, device: torch.device
) -> Iterator[Callable[[NDArray[np.uint8]], NDArray[np.float32]]]:
    """Function from a whole image to logits, by the averaged weights; then training goes on."""
    trained = {key: value.clone() for key, value in stage.network.state_dict().items()}
    stage.network.load_state_dict(averaged.state_dict())
    stage.network.eval()
    with torch.inference_mode():
        yield lambda image: predict_whole(
            stage.predict,
            image,
            multiple=stage.multiple_px,
            halo_px=stage.config.halo_px,
            device=device,
        )
    stage.network.load_state_dict(trained)


def predict_whole(
    predict: Callable[[Tensor], Tensor],
    image: NDArray[np.uint8],
    *,
    multiple: int = 64,
    halo_px: int = 0,
    device: torch.device | str = "cpu",
) -> NDArray[np.float32]:
    """Logits (K, H, W) of a whole image as one window, padded by reflection.

    Parameters
    ----------
    predict : callable
        Function from (1, H, W, 3) images to logits.
    image : (H, W, 3) uint8 array
    multiple : int
        Divisor of the window's sides.
    halo_px : int
        Width of the rim that a network trained with a halo never learnt to label.
    device : torch.device or str
    """
    height, width = image.shape[:2]
    pads = [(halo_px, halo_px + -(length + 2 * halo_px) % multiple) for length in (height, width)]
    padded = np.pad(image, [*pads, (0, 0)], mode="symmetric")
    logits = predict(torch.from_numpy(padded)[None].to(device))[0]
    inner = logits[:, halo_px : halo_px + height, halo_px : halo_px + width]
    result: NDArray[np.float32] = inner.float().cpu().numpy()
    return result
