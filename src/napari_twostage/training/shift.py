"""Shift of the stages' logits, fitted on images held out from training.

Crops are placed on foreground more often than whole images hold it, and stage 2 sees windows with a
thin rim: both make a network too bold or too shy. One number a class corrects it, added to the bias
of the last convolution.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import expit, log_softmax, softmax

from napari_twostage.models.networks.refiner import LocalRefiner
from napari_twostage.training.loop.stages import coarse_at_full_size
from napari_twostage.training.loop.tiles import refine_windows
from napari_twostage.training.loop.validate import predict_whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from napari_twostage.models.networks.base import Network
    from napari_twostage.models.networks.two_stage import TwoStage
    from napari_twostage.training.config import TrainConfig
    from napari_twostage.training.datasets import Sample

    Values = NDArray[np.float64]
    Logits = NDArray[np.float32]

MOST_PIXELS = 3_000_000
"""Pixels that a fit looks at: every so many of all."""
MOST_SHIFT = 5.0


def shift_stages(module: TwoStage, config: TrainConfig, samples: Sequence[Sample]) -> None:
    """Shift the logits of both stages to those that make the truth likeliest.

    Parameters
    ----------
    module : TwoStage
        Both stages, trained; their last biases are changed.
    config : TrainConfig
    samples : sequence of Sample
        Images that were not trained on.
    """
    if config.whole_images is not None or config.kind == "joint":
        return  # as in the paper
    _add(module.stage1, stage1_shift(module, config, samples))
    if config.stage2 is not None and not isinstance(module.stage2, LocalRefiner):
        side, rim = config.stage2.crop_px, config.stage2.halo_px
        with torch.inference_mode():
            shift = fit_shift(
                (predict_windows(module, sample.image, side, rim), sample.mask)
                for sample in samples
            )
        _add(module.stage2, shift)


def stage1_shift(module: TwoStage, config: TrainConfig, samples: Iterable[Sample]) -> Values:
    """Fit the shift (K,) of stage 1, or of a single model, on images that it reads whole."""
    coarse, halo = coarse_at_full_size(module, config.network.ratio), config.stage1.halo_px
    device = module.mean.device
    with torch.inference_mode():
        return fit_shift(
            (predict_whole(coarse, sample.image, halo_px=halo, device=device), sample.mask)
            for sample in samples
        )


@torch.no_grad()
def _add(network: Network, shift: Values) -> None:
    bias = network.last.bias
    if bias is not None:
        bias[: len(shift)] += torch.from_numpy(shift).to(bias)


def predict_windows(module: TwoStage, image: NDArray[np.uint8], side: int, rim: int) -> Logits:
    """Logits (K, H, W) of stage 2, window by window as the engine reads them."""
    core, (height, width) = side - 2 * rim, image.shape[:2]
    pads = [(rim, rim + -length % core) for length in (height, width)]
    padded = torch.from_numpy(np.pad(image, [*pads, (0, 0)], mode="symmetric"))[None]
    whole = refine_windows(module, padded.to(module.mean.device), side, rim)[0]
    return np.asarray(whole[:, :height, :width].cpu().numpy())


def fit_shift(pairs: Iterable[tuple[Logits, NDArray[np.uint8]]]) -> Values:
    """Fit the shift of logits that maximises the likelihood of the truth, beside a temperature.

    The temperature is fitted with it, for else confident pixels would decide, and is not returned.

    Parameters
    ----------
    pairs : iterable of (K, H, W) float array and (H, W) uint8 array
        Logits of images, and class values.

    Returns
    -------
    (K,) float array
        What to add to the logits; 0 for the background of several classes.

    References
    ----------
    Platt, Probabilistic outputs for support vector machines, 1999; for several classes the same
    with one bias each (Guo et al., On calibration of modern neural networks, ICML 2017).
    """
    found = [(logits.reshape(len(logits), -1), truth.ravel()) for logits, truth in pairs]
    step = max(1, sum(len(truth) for _, truth in found) // MOST_PIXELS)
    logits = np.concatenate([one[:, ::step] for one, _ in found], axis=1).astype(np.float64)
    truth = np.concatenate([one[::step] for _, one in found])
    likelihood = _one_class if len(logits) == 1 else _several
    free = max(1, len(logits) - 1)
    start = np.concatenate([[1.0], np.zeros(free)])
    bounds = [(0.05, 20.0), *[(-MOST_SHIFT, MOST_SHIFT)] * free]
    scale, *bias = minimize(
        likelihood, start, args=(logits, truth), jac=True, method="L-BFGS-B", bounds=bounds
    ).x
    shift = np.array(bias) / scale
    return shift if len(logits) == 1 else np.concatenate([[0.0], shift])


def _one_class(values: Values, logits: Values, truth: NDArray[np.uint8]) -> tuple[float, Values]:
    """Mean of −log of the true class's probability, and its gradient."""
    right = (truth > 0).astype(float)
    z = values[0] * logits[0] + values[1]
    error = expit(z) - right
    gradient = np.array([np.mean(error * logits[0]), np.mean(error)])
    return float(np.mean(np.logaddexp(0, z) - right * z)), gradient


def _several(values: Values, logits: Values, truth: NDArray[np.uint8]) -> tuple[float, Values]:
    """The same for one channel a class, the background first."""
    z = values[0] * logits
    z[1:] += values[1:, None]
    places = truth.astype(np.intp), np.arange(len(truth))
    error = softmax(z, axis=0)
    error[places] -= 1
    gradient = np.concatenate([[(error * logits).sum(axis=0).mean()], error[1:].mean(axis=1)])
    return float(-log_softmax(z, axis=0)[places].mean()), gradient
