"""Make a bundle of a trained run: ``python -m training.calibrate CONFIG --data D --run R --out B``.

Temperature, default threshold and refinement gain are measured on the images that the run held
out of the training split; the test split is not touched.
"""

from __future__ import annotations

import argparse
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors.torch import load_file
from scipy.optimize import minimize_scalar

from napari_twostage.models import LabelClass, ModelCard, load_model
from napari_twostage.models.build import build_network
from napari_twostage.models.bundle import write_bundle
from training.config import load_config
from training.datasets import hold_out, load_split
from training.metrics import dice
from training.outcomes import Cost, Outcome, run_engine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from training.datasets import Sample

LOSS_ALLOWED = 0.002
"""The default threshold may lose so much Dice against refining everything ..."""
COST_ALLOWED = 0.45
"""... unless that would cost more than this share of the dense run."""
THRESHOLDS = np.round(np.arange(0.005, 0.5, 0.005), 3)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the bundle."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True, help="folder of the finished training")
    parser.add_argument("--card", type=Path, required=True, help="TOML with the card's fixed part")
    parser.add_argument("--out", type=Path, required=True, help="folder of the bundle")
    options = parser.parse_args(arguments)
    config = load_config(options.config)
    _, validation = hold_out(
        load_split(options.data, config.data.split), config.data.validation_fraction, config.seed
    )
    tensors = {
        f"{stage}.{name}": tensor
        for stage in ("stage1", "stage2")
        for name, tensor in load_file(options.run / f"{stage}.safetensors").items()
    }
    card = draft_card(options.card)
    # uncalibrated first: scores depend on the temperature
    outcomes = _outcomes(options.out, card, tensors, validation)
    card = replace(card, temperature=round(fit_temperature(outcomes), 3))
    outcomes = _outcomes(options.out, card, tensors, validation)
    cost = Cost.of(card, build_network({**card.architecture, "outputs": card.outputs}))
    threshold = choose_threshold(outcomes, cost)
    card = replace(
        card,
        default_threshold=threshold,
        refinement_gain=round(refinement_gain(outcomes, threshold), 3),
    )
    write_bundle(options.out, card, tensors)


def draft_card(path: Path) -> ModelCard:
    """Read the part of a card that no measurement decides."""
    table = tomllib.loads(path.read_text())
    table["classes"] = tuple(LabelClass(**entry) for entry in table["classes"])
    for name in ("mpp_range", "mean", "std"):
        table[name] = tuple(table[name])
    return ModelCard(**table, default_threshold=0.5, refinement_gain=0.0)


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
        return float(
            np.mean(
                [
                    np.mean(np.logaddexp(0, -o.logits * scale * (2.0 * o.sample.mask - 1)))
                    for o in outcomes
                ]
            )
        )

    return float(np.exp(minimize_scalar(loss, bounds=(-2, 2), method="bounded").x))


def choose_threshold(outcomes: list[Outcome], cost: Cost) -> float:
    """The cheapest threshold that loses next to nothing against refining everything."""
    everything = _mean_dice(outcomes, -1.0)
    affordable = [t for t in THRESHOLDS if cost.relative(outcomes, t) <= COST_ALLOWED]
    good = [t for t in affordable if _mean_dice(outcomes, t) >= everything - LOSS_ALLOWED]
    return float(max(good) if good else min(affordable))


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
    return float(np.mean([dice(o.at(threshold), o.sample.mask) for o in outcomes]))


if __name__ == "__main__":
    main()
