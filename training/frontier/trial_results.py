"""Results of trials on their test images; measured once, then cached beside the runs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tqdm import tqdm

from napari_twostage.method.uncertainty import GAIN, labels, tile_statistics
from napari_twostage.models import load_model
from napari_twostage.models.bundle import read_bundle
from napari_twostage.training.evaluation.outcomes import Cost, Outcome, count_single, run_image
from napari_twostage.training.loop.stages import coarse_at_full_size
from napari_twostage.training.loop.validate import predict_whole
from napari_twostage.training.run.images import open_samples
from napari_twostage.training.run.networks import load_trained_networks, prepare_inference
from napari_twostage.training.run.run_folder import BUNDLE
from training.frontier.learned import describe_tiles, fit
from training.frontier.tallies import (
    SMOOTH,
    Counts,
    ImageTally,
    count_pixels,
    count_tiles,
    dice_of,
    sum_tiles,
)
from training.result_cache import fingerprint, read_cached, write_cached
from training.single_shift import shift_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_twostage.method.uncertainty import TileStatistics
    from napari_twostage.models.card import ModelCard
    from napari_twostage.models.model import Model
    from napari_twostage.training.datasets import Sample
    from training.frontier.learned import ChangeModel
    from training.frontier.study import Trial

SELECTORS = ("tent", "entropy", "expected gain", "learned", "learned gain", "gain output")
"""Tile scores: mean uncertainty by two measures, the expected gain of correcting the expected
errors (`expected_gain`), the changes that a `learned.ChangeModel` predicts, these as a share of
the image's foreground, and the output of stage 1 that some models have for it."""
SIMPLE = ("tent", "entropy", "expected gain")
"""Selectors that need nothing but stage 1's logits."""
FORMAT = 5
"""Version of the cached files."""


@dataclass(frozen=True)
class Single:
    """Pixel counts of a single model's labels of an image."""

    name: str
    group: str
    pixels: int
    true_positives: int
    predicted: int
    truth: int

    @property
    def dice(self) -> float:
        """Dice at the image's own size."""
        return dice_of(self.true_positives, self.predicted, self.truth)


@dataclass(frozen=True)
class Costs:
    """Multiply-accumulates of a candidate."""

    per_px: float
    """Multiply-accumulates per fine pixel of a single model, or of stage 1."""
    tile: float
    """Multiply-accumulates of refining a tile; 0 for single models."""


def count_costs(trial: Trial) -> Costs:
    """Count the multiply-accumulates of a trial's networks."""
    if trial.single:
        module = load_trained_networks(trial.config, trial.folder)
        return Costs(count_single(module, trial.config.network.ratio), 0.0)
    cost = Cost.of(read_bundle(trial.folder / BUNDLE).card)
    return Costs(cost.coarse, cost.tile)


def measure_single(trial: Trial) -> list[Single]:
    """Segment the test images whole with one network."""

    def compute() -> list[Any]:
        module = prepare_inference(load_trained_networks(trial.config, trial.folder))
        predict = coarse_at_full_size(module, trial.config.network.ratio)
        samples, groups = trial.open_test()
        halo = trial.config.stage1.halo_px
        shift = shift_of(module, trial.config, trial.data)
        rows = []
        with torch.inference_mode():
            for sample, group in zip(_bar(samples, trial), groups, strict=True):
                logits = predict_whole(predict, sample.image, halo_px=halo)
                counts = count_pixels(labels(logits + shift[:, None, None]), sample.mask)
                rows.append(asdict(Single(sample.name, group, sample.mask.size, *counts)))
        return rows

    return [Single(**row) for row in _cached(trial.folder / "test single.json", trial, compute)]


def measure_two_stages(trial: Trial) -> list[ImageTally]:
    """Run the engine on the test images, every tile refined, and count pixels per tile."""

    def compute() -> list[Any]:
        model = load_model(trial.folder / BUNDLE, precision="f32")
        selector = _learn(trial, model)
        samples, groups = trial.open_test()
        return [
            _to_json(_tally_outcome(run_image(model, sample), group, selector, model.card))
            for sample, group in zip(_bar(samples, trial), groups, strict=True)
        ]

    return [_from_json(row) for row in _cached(trial.folder / "test tiles.json", trial, compute)]


def _learn(trial: Trial, model: Model) -> ChangeModel:
    """Fit the learned selector on the images that the run held out and calibrated on."""
    _, held_out = open_samples(trial.config, trial.data)
    features, changed = [], []
    for sample in _bar(held_out, trial):
        found = run_image(model, sample)
        features.append(describe_tiles(found.logits, found.tiles.tile_px))
        changed.append(sum_tiles(found.coarse != found.refined, found.tiles.tile_px))
    return fit(features, changed)


def _tally_outcome(
    found: Outcome, group: str, selector: ChangeModel, card: ModelCard
) -> ImageTally:
    tile_px, mask = card.tile_px, found.sample.mask
    coarse, refined, changed = count_tiles(found.coarse, found.refined, mask, tile_px)
    scores = {
        name: score_by(found.coarse_logits, card.coarse_tile_px, name).ravel() for name in SIMPLE
    }
    scores["learned"] = selector.predict(describe_tiles(found.logits, tile_px))
    if card.uncertainty == GAIN:
        scores["gain output"] = found.scores.ravel().astype(np.float64)
    scores["learned gain"] = scores["learned"] / expected_size(found.ranking.statistics)
    nothing = np.zeros(found.tiles.shape, bool)
    return ImageTally(
        name=found.sample.name,
        group=group,
        shape=found.tiles.shape,
        pixels=mask.size,
        truth=int((mask > 0).sum()),
        coarse=coarse,
        refined=refined,
        changed=changed,
        expected=(found.ranking.expected_dice(nothing), found.ranking.expected_dice(~nothing)),
        scores=scores,
    )


def expected_gain(statistics: TileStatistics) -> NDArray[np.float64]:
    """First-order gain in the image's Dice from correcting each tile's expected wrong pixels.

    Dice is 2 TP / S, with TP the true positives and S the sum of predicted and true foreground.
    A corrected false negative adds one to both, which gains (2 − Dice) / S; a corrected false
    positive takes one from S, which gains Dice / S. All are expectations under stage 1's
    calibrated probabilities.
    """
    total = expected_size(statistics)
    dice = (2 * float(statistics.true_positives.sum()) + SMOOTH) / total
    missed, wrong = statistics.false_negatives, statistics.false_positives
    return np.asarray(((2 - dice) * missed + dice * wrong) / total)


def expected_size(statistics: TileStatistics) -> float:
    """Expected sum of predicted and true foreground, in coarse pixels."""
    right, wrong = statistics.true_positives, statistics.false_positives
    parts = right, right, statistics.false_negatives, wrong
    return float(sum(part.sum(dtype=np.float64) for part in parts)) + SMOOTH


def score_by(
    logits: NDArray[np.floating],
    tile: int,
    selector: str,
    gain: NDArray[np.floating] | None = None,
) -> NDArray[np.float64]:
    """Score tiles by a selector: (rows, columns).

    Parameters
    ----------
    logits : (K, h, w) float array
        Calibrated logits of stage 1.
    tile : int
        Side of a tile in pixels of the logits.
    selector : str
        One of `SIMPLE`, or ``gain output``.
    gain : (h, w) float array, optional
        Logits of the gain, which that needs.
    """
    if selector == "gain output":
        return tile_statistics(logits, tile, GAIN, gain).score.astype(np.float64)
    if selector == "expected gain":
        return expected_gain(tile_statistics(logits, tile, "tent"))
    return tile_statistics(logits, tile, selector).score.astype(np.float64)


def _bar(samples: Sequence[Sample], trial: Trial) -> Iterable[Sample]:
    bar: Iterable[Sample] = tqdm(
        samples, desc=f"{trial.candidate}, {trial.folder.name}", unit="image"
    )
    return bar


def _cached(path: Path, trial: Trial, compute: Callable[[], list[Any]]) -> list[Any]:
    """Compute, or read what an earlier call cached for the same weights."""
    weights = fingerprint(sorted(trial.folder.glob("*.safetensors")))
    key = {"weights": weights, "format": FORMAT}
    rows: list[Any] | None = read_cached(path, key)
    if rows is None:
        rows = compute()
        write_cached(path, key, rows)
    return rows


STORED = ("name", "group", "shape", "pixels", "truth", "expected")


def _to_json(image: ImageTally) -> dict[str, Any]:
    return {
        **{name: getattr(image, name) for name in STORED},
        "coarse": [part.tolist() for part in image.coarse],
        "refined": [part.tolist() for part in image.refined],
        "changed": image.changed.tolist(),
        "scores": {name: values.tolist() for name, values in image.scores.items()},
    }


def _from_json(row: dict[str, Any]) -> ImageTally:
    return ImageTally(
        **{
            **row,
            "shape": tuple(row["shape"]),
            "expected": tuple(row["expected"]),
            "coarse": Counts(*map(np.array, row["coarse"])),
            "refined": Counts(*map(np.array, row["refined"])),
            "changed": np.array(row["changed"]),
            "scores": {name: np.array(values) for name, values in row["scores"].items()},
        }
    )
