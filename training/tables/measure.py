"""How good runs are on a test split; measured once, then kept beside the weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from napari_twostage.method.uncertainty import labels, probabilities
from napari_twostage.models.cost import count_macs
from napari_twostage.training.infer import (
    Rules,
    StageMacs,
    choose,
    compose,
    enlarge,
    prepare,
    run_single,
    run_stage1,
    run_stage2,
)
from napari_twostage.training.metrics import class_dice, class_iou
from napari_twostage.training.whole import resize_mask
from training.kept import keep, read_kept
from training.reliability import Reliability

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_twostage.models.networks.two_stage import TwoStage
    from napari_twostage.training.datasets import Samples
    from training.tables.runs import Run

STAGE1 = "stage 1"
"""Names what one network makes of the image at 1 / ratio; others are named by threshold."""


def name_threshold(threshold: float) -> str:
    """The name of what two stages make of it at a threshold."""
    return f"threshold {threshold:g}"


@dataclass(frozen=True)
class Score:
    """How good and how costly, over a test split."""

    dice: tuple[float, ...]
    """Of each image at the size that networks work at, averaged over classes."""
    dice_native: tuple[float, ...]
    """Of each image at its own size."""
    iou: tuple[float, ...]
    pooled_dice: float
    """Of all pixels together, any class against the background."""
    calibration_error: float
    """See `training.reliability.Reliability`."""
    refined: float
    """Share of tiles."""
    macs: float
    """Multiply-accumulates spent on an image, in the mean."""
    cost: float
    """The same, as a share of what the network would spend on the image whole."""


class Tally:
    """What is summed up of image after image."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.reliability = Reliability()
        self._images: list[tuple[float, float, float, int, int, int]] = []

    def add(self, logits: Tensor, tiles: int, mask: NDArray[np.uint8]) -> None:
        """Take in (K, S, S) logits, the tiles refined for them, and the truth at its own size."""
        values = logits.float().cpu().numpy()
        predicted, truth = labels(values), resize_mask(mask, values.shape[-1])
        classes = max(1, len(values) - 1)
        native = labels(enlarge(logits, (mask.shape[0], mask.shape[1])).float().cpu().numpy())
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
        """Sum up; `full` is what the whole image would cost, `grid` its number of tiles."""
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
    """Measure a run at all thresholds in one pass, or read what an earlier call measured.

    Parameters
    ----------
    run : Run
        A finished one.
    samples : Samples
        The test images.
    rules : Rules
        Their threshold is that of the picture of reliability, beside stage 1's.
    thresholds : sequence of float
        Not looked at for a single model.
    device : str
        What to compute on.

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
    if (kept := read_kept(path, key)) is not None:
        return {name: _read_score(values) for name, values in kept.items()}
    module = prepare(run.load(), device)
    two_stage = run.config.kind == "two_stage"
    tallies: dict[str, Tally] = {}
    for sample in tqdm(samples, desc=f"{run.architecture} {run.folder.name}", unit="image"):
        image = sample.image
        for name, logits, tiles in (
            _two_stages(module, image, rules, thresholds)
            if two_stage
            else [(STAGE1, run_single(module, image, rules.size_px), 0)]
        ):
            tallies.setdefault(name, Tally(name)).add(logits, tiles, sample.mask)
    macs, full = _count(module, rules.size_px)
    scores = {name: tally.score(macs, full, module.ratio**2) for name, tally in tallies.items()}
    for name in tallies.keys() & {STAGE1, name_threshold(rules.threshold)}:
        picture = run.folder / f"reliability {name}.png"
        tallies[name].reliability.plot(picture, f"{run.folder.name}, {name}")
    keep(path, key, {name: asdict(score) for name, score in scores.items()})
    return scores


def _two_stages(
    module: TwoStage, image: NDArray[np.uint8], rules: Rules, thresholds: Sequence[float]
) -> Iterator[tuple[str, Tensor, int]]:
    """Name, logits and refined tiles; every tile is refined once, selections follow."""
    rough = run_stage1(module, image, rules)
    nothing, everything = (np.full(rough.scores.shape, value) for value in (False, True))
    refined = run_stage2(module, rough, everything)
    yield STAGE1, compose(rough, nothing, refined[:0]), 0
    for threshold in sorted(set(thresholds)):
        chosen = choose(rough.scores, threshold)
        logits = compose(rough, chosen, refined[chosen.ravel()], rules.upsampling)
        yield name_threshold(threshold), logits, int(chosen.sum())


def _count(module: TwoStage, size_px: int) -> tuple[StageMacs, int]:
    """What the stages cost, and what one network would on the whole image."""
    return (
        StageMacs.of(module, size_px),
        count_macs(module.stage1, (1, 3, size_px, size_px)),
    )


def name_images(samples: Samples) -> str:
    """A name of these images, in this order."""
    return f"{len(samples)} {sha256(chr(10).join(samples.names).encode()).hexdigest()}"


def _read_score(values: dict[str, Any]) -> Score:
    score = Score(**values)
    return replace(
        score,
        dice=tuple(score.dice),
        dice_native=tuple(score.dice_native),
        iou=tuple(score.iou),
    )
