"""Quality against cost on a test split: ``python -m training.evaluate --model M --dense D ...``.

Five rows: the dense run, the same-cost single model (half resolution), stage 1 alone, two stages
at the model's default threshold, and every tile refined. Two stages run through the engine, as
users run them; single models read each image whole.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import load_file
from tqdm import tqdm

from napari_twostage.models import load_model
from napari_twostage.models.build import build_network
from napari_twostage.models.bundle import CARD
from napari_twostage.models.two_stage import TwoStage
from napari_twostage.uncertainty import labels
from training.datasets import Sample, load_split
from training.metrics import bootstrap_interval, dice, pooled_dice
from training.outcomes import Cost, run_engine
from training.stages import coarse_at_full_size
from training.validate import predict_whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_twostage.models.card import ModelCard

Row = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="nuclei", help="bundled name or bundle folder")
    parser.add_argument("--data", type=Path, required=True, help="folder with manifest.csv")
    parser.add_argument("--split", default="test")
    parser.add_argument("--dense", type=Path, required=True, help="weights of the dense baseline")
    parser.add_argument("--half", type=Path, required=True, help="weights at half resolution")
    parser.add_argument("--out", type=Path, required=True, help="folder for table and figures")
    parser.add_argument("--write-card", action="store_true", help="put the table into the card")
    options = parser.parse_args(arguments)
    samples = load_split(options.data, options.split)
    model = load_model(options.model)
    card = model.card
    cost = Cost.of(card)
    outcomes = run_engine(model, samples)
    threshold = card.default_threshold
    rows = [
        _row("dense", _single(card, options.dense, 1, samples), samples, 1.0),
        _row("half resolution", _single(card, options.half, 2, samples), samples, 0.25),
        _row("stage 1 only", [o.coarse for o in outcomes], samples, cost.relative(outcomes, None)),
        _row(
            f"two stages, threshold {threshold:g}",
            [o.at(threshold) for o in outcomes],
            samples,
            cost.relative(outcomes, threshold),
        ),
        _row(
            "every tile refined",
            [o.refined for o in outcomes],
            samples,
            cost.relative(outcomes, -1.0),
        ),
    ]
    options.out.mkdir(parents=True, exist_ok=True)
    chosen = sum(o.count(threshold) for o in outcomes) / sum(o.scores.size for o in outcomes)
    (options.out / "table.json").write_text(json.dumps(rows, indent=2))
    caption = (
        f"{len(samples)} images; {chosen:.1%} of tiles refined at the default threshold; "
        f"{cost.dense / 1000:.1f} kMAC per pixel dense"
    )
    (options.out / "table.md").write_text(f"{_markdown(rows)}\n\n{caption}\n")
    if options.write_card:
        _write_card(model.bundle.source, card, rows, options)


def _single(
    card: ModelCard, weights: Path, ratio: int, samples: Sequence[Sample]
) -> list[NDArray[np.uint8]]:
    """Labels of one network at 1 / ratio of the resolution, bilinearly enlarged."""
    network = build_network({**card.architecture, "outputs": card.outputs})
    network.load_state_dict(load_file(weights))
    module = TwoStage(network, network, ratio=ratio, context=False, mean=card.mean, std=card.std)
    module.eval().to(memory_format=torch.channels_last)
    predict = coarse_at_full_size(module, ratio)
    with torch.inference_mode():
        return [
            labels(predict_whole(predict, sample.image))
            for sample in tqdm(samples, desc=f"single model at 1/{ratio}", unit="image")
        ]


def _row(
    name: str, predicted: list[NDArray[np.uint8]], samples: Sequence[Sample], cost: float
) -> Row:
    values = [dice(p, s.mask) for p, s in zip(predicted, samples, strict=True)]
    pairs = [(p, s.mask) for p, s in zip(predicted, samples, strict=True)]
    return {
        "run": name,
        "cost": round(cost, 3),
        "dice": round(float(np.mean(values)), 4),
        "interval": [round(value, 4) for value in bootstrap_interval(values)],
        "pooled_dice": round(pooled_dice(pairs), 4),
        "images": [round(value, 4) for value in values],
    }


def _markdown(rows: list[Row]) -> str:
    text = ["| run | MACs / dense | Dice per image [95 %] | pooled Dice |", "|---|---|---|---|"]
    text += [
        f"| {r['run']} | {r['cost']:.2f} | {100 * r['dice']:.1f} "
        f"[{100 * r['interval'][0]:.1f}, {100 * r['interval'][1]:.1f}] | "
        f"{100 * r['pooled_dice']:.1f} |"
        for r in rows
    ]
    return "\n".join(text)


def _write_card(source: str, card: ModelCard, rows: list[Row], options: argparse.Namespace) -> None:
    folder = Path(source)
    if not folder.is_dir():
        from napari_twostage.models.bundle import BUNDLED

        folder = BUNDLED / source
    metrics = {
        f"{r['run']} ({options.data.name} {options.split})": (
            f"Dice {r['dice']:.3f} per image, {r['pooled_dice']:.3f} pooled, "
            f"at {r['cost']:.2f} of the dense MACs"
        )
        for r in rows
    }
    (folder / CARD).write_text(replace(card, metrics=metrics).to_json())


if __name__ == "__main__":
    main()
