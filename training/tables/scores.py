"""Quality and cost of runs on a test split; measured once, then cached beside the weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from napari_twostage.method.uncertainty import labels, probabilities
from napari_twostage.models.cost import count_macs
from napari_twostage.training.datasets.resize import resize_mask
from napari_twostage.training.evaluation.metrics import class_dice, class_iou
from napari_twostage.training.run.networks import prepare_inference
from training.reliability import Reliability
from training.result_cache import read_cached, write_cached
from training.tables.inference import (
    Rules,
    StageMacs,
    compose,
    enlarge_logits,
    run_single,
    run_stage1,
    run_stage2,
    select_tiles,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_twostage.models.networks.two_stage import TwoStage
    from napari_twostage.training.datasets import Samples
    from training.tables.runs import Run

STAGE1 = "stage 1"
"""Name of the score of stage 1 alone; others are named by `name_threshold`."""


def name_threshold(threshold: float) -> str:
    """Name of the score of two stages at a threshold."""
    return f"threshold {threshold:g}"


@dataclass(frozen=True)
class Score:
    """Quality and cost over a test split."""

    dice: tuple[float, ...]
    """Dice of each image at the networks' input size, averaged over classes."""
    dice_native: tuple[float, ...]
    """Dice of each image at its own size."""
    iou: tuple[float, ...]
    pooled_dice: float
    """Dice of all pixels together, any class against the background."""
    calibration_error: float
    """See `training.reliability.Reliability`."""
    refined: float
    """Share of tiles that were refined."""
    macs: float
    """Mean multiply-accumulates per image."""
    cost: float
    """`macs` as a share of the network's cost on the whole image at full size."""


class ScoreSums:
    """Running sums over images, from which a `Score` is computed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.reliability = Reliability()
        self._images: list[tuple[float, float, float, int, int, int]] = []

    def add(self, logits: Tensor, tiles: int, mask: NDArray[np.uint8]) -> None:
        """Add an image: (K, S, S) logits, number of refined tiles, mask at its own size."""
        values = logits.float().cpu().numpy()
        predicted, truth = labels(values), resize_mask(mask, values.shape[-1])
        classes = max(1, len(values) - 1)
        native = labels(
            enlarge_logits(logits, (mask.shape[0], mask.shape[1])).float().cpu().numpy()
        )
        self.reliability.add(probabilities(values), truth)
        self._images.append(
            (
                float(np.mean(class_dice(predicted, truth, classes))),
                float(np.mean(class_dice(native, mask, classes))),
                float(np.mean(class_iou(predicted, truth, classes))),
                int(((predicted > 0) & (truth > 0)).sum()),
                int((predicted > 0).sum() + (truth > 0).sum()),
                tiles,
            )
        )

    def score(self, macs: StageMacs, full: int, grid: int) -> Score:
        """Score so far; `full` is the cost of the whole image, `grid` its number of tiles."""
        dice, native, iou, shared, total, tiles = zip(*self._images, strict=True)
        spent = float(np.mean([macs.spent(count) for count in tiles]))
        return Score(
            dice=dice,
            dice_native=native,
            iou=iou,
            pooled_dice=2 * sum(shared) / sum(total) if sum(total) else 1.0,
            calibration_error=self.reliability.error,
            refined=float(np.mean(tiles)) / grid,
            macs=spent,
            cost=spent / full,
        )


def measure(
    run: Run, samples: Samples, rules: Rules, thresholds: Sequence[float], device: str
) -> dict[str, Score]:
    """Measure a run at all thresholds in one pass, or read the cached scores.

    Parameters
    ----------
    run : Run
        A finished one.
    samples : Samples
        The test images.
    rules : Rules
        Reliability diagrams are drawn for their threshold and for stage 1.
    thresholds : sequence of float
        Ignored for a single model.
    device : str
        Device to compute on.

    Returns
    -------
    dict
        `STAGE1`, and for two stages a name for each threshold.
    """
    path = run.folder / "evaluation.json"
    key = {
        "weights": run.fingerprint(),
        "images": name_images(samples),
        "rules": {**asdict(rules), "threshold": sorted(set(thresholds))},
    }
    if (cached := read_cached(path, key)) is not None:
        return {name: _read_score(values) for name, values in cached.items()}
    module = prepare_inference(run.load(), device)
    two_stage = run.config.kind == "two_stage"
    all_sums: dict[str, ScoreSums] = {}
    for sample in tqdm(samples, desc=f"{run.architecture} {run.folder.name}", unit="image"):
        image = sample.image
        for name, logits, tiles in (
            _two_stages(module, image, rules, thresholds)
            if two_stage
            else [(STAGE1, run_single(module, image, rules.size_px), 0)]
        ):
            all_sums.setdefault(name, ScoreSums(name)).add(logits, tiles, sample.mask)
    macs, full = _count(module, rules.size_px)
    tiles = module.ratio**2
    scores = {name: sums.score(macs, full, tiles) for name, sums in all_sums.items()}
    for name in all_sums.keys() & {STAGE1, name_threshold(rules.threshold)}:
        picture = run.folder / f"reliability {name}.png"
        all_sums[name].reliability.plot(picture, f"{run.folder.name}, {name}")
    write_cached(path, key, {name: asdict(score) for name, score in scores.items()})
    return scores


def _two_stages(
    module: TwoStage, image: NDArray[np.uint8], rules: Rules, thresholds: Sequence[float]
) -> Iterator[tuple[str, Tensor, int]]:
    """Yield name, logits and number of refined tiles; each tile is refined only once."""
    first = run_stage1(module, image, rules)
    nothing, everything = (np.full(first.scores.shape, value) for value in (False, True))
    refined = run_stage2(module, first, everything)
    yield STAGE1, compose(first, nothing, refined[:0]), 0
    for threshold in sorted(set(thresholds)):
        chosen = select_tiles(first.scores, threshold)
        logits = compose(first, chosen, refined[chosen.ravel()], rules.upsampling)
        yield name_threshold(threshold), logits, int(chosen.sum())


def _count(module: TwoStage, size_px: int) -> tuple[StageMacs, int]:
    """Cost of the stages, and of one network on the whole image."""
    return (
        StageMacs.of(module, size_px),
        count_macs(module.stage1, (1, 3, size_px, size_px)),
    )


def name_images(samples: Samples) -> str:
    """Identifier of these images in this order, for cache keys."""
    return f"{len(samples)} {sha256(chr(10).join(samples.names).encode()).hexdigest()}"


def _read_score(values: dict[str, Any]) -> Score:
    score = Score(**values)
    return replace(
        score,
        dice=tuple(score.dice),
        dice_native=tuple(score.dice_native),
        iou=tuple(score.iou),
    )
