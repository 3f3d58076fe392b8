"""The card of a model: drafted from the configuration, then measured after the training.

Temperature, default threshold and refinement gain are measured on the images that the run held
out of the training split; the test split is not used.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from napari_twostage.method.uncertainty import GAIN, block_areas
from napari_twostage.models import LabelClass, ModelCard, load_model
from napari_twostage.models.bundle import write_bundle
from napari_twostage.training.config import ClassConfig, ConfigError
from napari_twostage.training.datasets import mpp_range
from napari_twostage.training.evaluation.metrics import mean_dice
from napari_twostage.training.evaluation.outcomes import Cost, Outcome, run_engine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_twostage.training.config import TrainConfig
    from napari_twostage.training.datasets import Sample

LOSS_ALLOWED = 0.005
"""Dice that the default threshold may lose against refining everything ..."""
COST_ALLOWED = 0.7
"""... within this share of the dense run's cost."""
THRESHOLDS = np.round(np.arange(0.005, 0.5, 0.005), 3)
GAIN_THRESHOLDS = np.array([float(f"{value:.2g}") for value in np.geomspace(1e-5, 0.2, 60)])
"""Candidates for models whose score is the gain, which is small."""
MOST_SHIFT = 5.0
"""Largest change of the gain's logits."""
GAIN_BIAS = "stage1.last.bias"
UNMEASURED: dict[str, Any] = {"default_threshold": 0.5, "refinement_gain": 0.0}
COLOURS = ("#ffb000", "#648fff", "#dc267f", "#fe6100", "#785ef0")
"""Default class colours, distinguishable with any colour vision."""
FOREGROUND = (ClassConfig(name="foreground"),)


def draft_card(config: TrainConfig, data: Path) -> ModelCard:
    """Draft the card of a run from its configuration, with placeholders for measured values.

    A tile is a training crop of stage 2 less the halo, unless [card] states another size.

    Raises
    ------
    ModelError
        If sizes do not fit together.
    """
    stated, fine_mpp = config.card, (config.card and config.card.fine_mpp) or config.data.mpp
    last = config.stage1 if config.kind == "joint" else config.stage2
    if stated is None or fine_mpp is None or last is None:
        raise ConfigError("a card needs a [card], a pixel size and two stages")
    network, whole = config.network, config.whole_images
    halo = 0 if whole else stated.halo_px
    window = whole.size_px // int(network.ratio) if whole else last.crop_px
    return ModelCard(
        name=stated.name,
        version=stated.version,
        description=stated.description,
        architecture={"name": network.architecture, **network.options},
        fine_architecture=None
        if network.fine_options is None
        else {"name": network.architecture, **network.fine_options},
        refiner=network.refiner,
        classes=tuple(
            LabelClass(entry.name, entry.color or COLOURS[(value - 1) % len(COLOURS)], value)
            for value, entry in enumerate(config.data.classes or FOREGROUND, start=1)
        ),
        fine_mpp=fine_mpp,
        mpp_range=stated.mpp_range or mpp_range(fine_mpp),
        ratio=int(network.ratio),
        fine_ratio=network.fine_ratio,
        tile_px=stated.tile_px or window - 2 * halo,
        halo_px=halo,
        coarse_window_px=stated.coarse_window_px,
        coarse_halo_px=stated.coarse_halo_px,
        objects=network.objects,
        mean=network.mean,
        std=network.std,
        gain_output=config.gain is not None,
        uncertainty=stated.uncertainty or ("tent" if config.gain is None else "gain"),
        least_object_um2=stated.least_object_um2,
        training_data=stated.training_data or data.absolute().name,
        licence=stated.licence,
        **UNMEASURED,
    )


def calibrate(
    folder: Path,
    card: ModelCard,
    tensors: dict[str, Tensor],
    samples: Sequence[Sample],
    *,
    progress: bool = True,
) -> ModelCard:
    """Measure temperature, default threshold and refinement gain, and write the bundle.

    The gain output, if there is one, is shifted so that it expects as many corrected pixels as
    there are: its crops hold foreground more often than whole images do.

    Parameters
    ----------
    folder : path
        Folder of the bundle.
    card : ModelCard
        Card with placeholders, from `draft_card`.
    tensors : dict
        State of the two-stage module.
    samples : sequence of Sample
        Images that were not trained on.
    progress : bool
        Show progress bars on stderr.

    Returns
    -------
    ModelCard
        The card that was written.
    """
    with tempfile.TemporaryDirectory() as scratch:
        # first without calibration: scores depend on the temperature
        first = replace(card, uncertainty=GAIN) if card.gain_output else card
        outcomes = _outcomes(Path(scratch), first, tensors, samples, progress=progress)
        card = replace(card, temperature=round(fit_temperature(outcomes), 3))
        if card.gain_output:
            tensors = shift_gain(tensors, outcomes)
        outcomes = _outcomes(Path(scratch), card, tensors, samples, progress=progress)
    cost = Cost.of(card)
    candidates = GAIN_THRESHOLDS if card.uncertainty == GAIN else THRESHOLDS
    threshold = choose_threshold(outcomes, cost, candidates)
    card = replace(
        card,
        default_threshold=threshold,
        refinement_gain=round(refinement_gain(outcomes, threshold), 3),
    )
    write_bundle(folder, card, tensors)
    return card


def _outcomes(
    folder: Path,
    card: ModelCard,
    tensors: dict[str, Tensor],
    samples: Sequence[Sample],
    *,
    progress: bool,
) -> list[Outcome]:
    write_bundle(folder, card, tensors)
    return run_engine(load_model(folder, precision="f32"), samples, progress=progress)


def fit_temperature(outcomes: list[Outcome]) -> float:
    """Temperature that maximises the likelihood of the truth under stage 1's upsampled logits.

    References
    ----------
    Guo et al., On calibration of modern neural networks, ICML 2017.
    """

    def loss(log_temperature: float) -> float:
        scale = np.exp(-log_temperature)
        return float(
            np.mean([_negative_log_likelihood(o.logits * scale, o.sample.mask) for o in outcomes])
        )

    return float(np.exp(minimize_scalar(loss, bounds=(-2, 2), method="bounded").x))


def _negative_log_likelihood(logits: NDArray[np.floating], truth: NDArray[np.uint8]) -> float:
    """Mean over all pixels of −log of the true class's probability, from (K, H, W) logits."""
    if len(logits) == 1:
        return float(np.mean(np.logaddexp(0, -logits[0] * (2.0 * truth - 1))))
    right = np.take_along_axis(logits, truth[None].astype(np.intp), axis=0)[0]
    return float(np.mean(logsumexp(logits, axis=0) - right))


def shift_gain(tensors: dict[str, Tensor], outcomes: list[Outcome]) -> dict[str, Tensor]:
    """Shift the gain's logits so that as many pixels are expected to be corrected as are.

    Parameters
    ----------
    tensors : dict
        State of the two-stage module.
    outcomes : list of Outcome
        Images that were not trained on, scored by the gain.

    Returns
    -------
    dict
        The state, with another bias of the last output of stage 1.
    """
    expected = sum(
        float((one.scores * block_areas(one.coarse.shape, one.tiles.tile_px)).sum())
        for one in outcomes
    )
    corrected = sum(
        int(((one.coarse != one.sample.mask) & (one.refined == one.sample.mask)).sum())
        for one in outcomes
    )
    shift = float(np.clip(np.log((corrected + 1) / (expected + 1)), -MOST_SHIFT, MOST_SHIFT))
    bias = tensors[GAIN_BIAS].clone()
    bias[-1] += shift
    return {**tensors, GAIN_BIAS: bias}


def choose_threshold(
    outcomes: list[Outcome], cost: Cost, candidates: NDArray[np.float64] = THRESHOLDS
) -> float:
    """Highest affordable threshold that loses at most `LOSS_ALLOWED` against refining everything.

    It must do so on each data set, where there are several: they differ in what refining brings.
    If there is none, the lowest affordable one is chosen; if none is affordable, as for a hardly
    trained model, the highest of all.
    """
    sets = _by_source(outcomes)
    everything = [_mean_dice(each, -1.0) for each in sets]
    affordable = [t for t in candidates if cost.relative(outcomes, t) <= COST_ALLOWED]
    good = [
        t
        for t in affordable
        if all(
            _mean_dice(each, t) >= best - LOSS_ALLOWED
            for each, best in zip(sets, everything, strict=True)
        )
    ]
    return float(max(good) if good else min(affordable, default=candidates[-1]))


def _by_source(outcomes: list[Outcome]) -> list[list[Outcome]]:
    names = sorted({outcome.sample.source for outcome in outcomes})
    return [[one for one in outcomes if one.sample.source == name] for name in names]


def refinement_gain(outcomes: list[Outcome], threshold: float) -> float:
    """Share of stage 1's wrong pixels, in tiles above a threshold, that refinement corrects."""
    before = after = 0
    for outcome in outcomes:
        truth, mixed = outcome.sample.mask, outcome.at(threshold)
        inside = outcome.selected(threshold)
        before += int((outcome.coarse != truth)[inside].sum())
        after += int((mixed != truth)[inside].sum())
    return float(np.clip(1 - after / max(1, before), 0, 1))


def _mean_dice(outcomes: list[Outcome], threshold: float) -> float:
    return float(np.mean([mean_dice(o.at(threshold), o.sample.mask, o.classes) for o in outcomes]))
