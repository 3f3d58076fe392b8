"""Make a bundle of a trained run: what of its card is measured.

Temperature, default threshold and refinement gain are measured on the images that the run held
out of the training split; the test split is not touched.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from napari_twostage.models import ModelCard, load_model
from napari_twostage.models.bundle import write_bundle
from napari_twostage.training.outcomes import Cost, Outcome, run_engine
from napari_twostage.training.validate import mean_dice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_twostage.training.datasets import Sample

LOSS_ALLOWED = 0.002
"""The default threshold may lose so much Dice against refining everything ..."""
COST_ALLOWED = 0.45
"""... unless that would cost more than this share of the dense run."""
THRESHOLDS = np.round(np.arange(0.005, 0.5, 0.005), 3)


def calibrate(
    folder: Path, card: ModelCard, tensors: dict[str, Tensor], samples: Sequence[Sample]
) -> ModelCard:
    """Measure temperature, default threshold and refinement gain, and write the bundle.

    Parameters
    ----------
    folder : path
        Of the bundle; replaced when all is measured.
    card : ModelCard
        What no measurement decides.
    tensors : dict
        State of the two-stage module.
    samples : sequence of Sample
        Images that the weights have not seen.

    Returns
    -------
    ModelCard
        The card that was written.
    """
    with tempfile.TemporaryDirectory() as scratch:
        # uncalibrated first: scores depend on the temperature
        outcomes = _outcomes(Path(scratch), card, tensors, samples)
        card = replace(card, temperature=round(fit_temperature(outcomes), 3))
        outcomes = _outcomes(Path(scratch), card, tensors, samples)
    cost = Cost.of(card)
    threshold = choose_threshold(outcomes, cost)
    card = replace(
        card,
        default_threshold=threshold,
        refinement_gain=round(refinement_gain(outcomes, threshold), 3),
    )
    write_bundle(folder, card, tensors)
    return card


def _outcomes(
    folder: Path, card: ModelCard, tensors: dict[str, Tensor], samples: Sequence[Sample]
) -> list[Outcome]:
    write_bundle(folder, card, tensors)
    return run_engine(load_model(folder), samples)


def fit_temperature(outcomes: list[Outcome]) -> float:
    """The temperature that makes stage 1's upsampled logits likeliest, given the truth.

    References
    ----------
    Guo et al., On calibration of modern neural networks, ICML 2017.
    """

    def loss(log_temperature: float) -> float:
        scale = np.exp(-log_temperature)
        return float(np.mean([_surprise(o.logits * scale, o.sample.mask) for o in outcomes]))

    return float(np.exp(minimize_scalar(loss, bounds=(-2, 2), method="bounded").x))


def _surprise(logits: NDArray[np.floating], truth: NDArray[np.uint8]) -> float:
    """Mean over all pixels of −log of the true class's probability, from (K, H, W) logits."""
    if len(logits) == 1:
        return float(np.mean(np.logaddexp(0, -logits[0] * (2.0 * truth - 1))))
    right = np.take_along_axis(logits, truth[None].astype(np.intp), axis=0)[0]
    return float(np.mean(logsumexp(logits, axis=0) - right))


def choose_threshold(outcomes: list[Outcome], cost: Cost) -> float:
    """The cheapest threshold that loses next to nothing against refining everything.

    Where even the highest refines more than may be spent, as a hardly trained model does, it is
    that one.
    """
    everything = _mean_dice(outcomes, -1.0)
    affordable = [t for t in THRESHOLDS if cost.relative(outcomes, t) <= COST_ALLOWED]
    good = [t for t in affordable if _mean_dice(outcomes, t) >= everything - LOSS_ALLOWED]
    return float(max(good) if good else min(affordable, default=THRESHOLDS[-1]))


def refinement_gain(outcomes: list[Outcome], threshold: float) -> float:
    """Share of stage 1's wrong pixels, in tiles above a threshold, that refining mends."""
    before = after = 0
    for outcome in outcomes:
        truth, mixed = outcome.sample.mask, outcome.at(threshold)
        inside = outcome.selected(threshold)
        before += int((outcome.coarse != truth)[inside].sum())
        after += int((mixed != truth)[inside].sum())
    return float(np.clip(1 - after / max(1, before), 0, 1))


def _mean_dice(outcomes: list[Outcome], threshold: float) -> float:
    return float(np.mean([mean_dice(o.at(threshold), o.sample.mask, o.classes) for o in outcomes]))
