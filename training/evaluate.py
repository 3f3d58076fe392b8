"""Quality and cost on a test split: ``python -m training.evaluate --model M --single RUN ...``.

The rows are single models (the first is the dense run), each reading images whole; then stage 1
alone, two stages at the model's default threshold, and every tile refined, all run by the engine
as users run it.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from functools import partial, reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tqdm import tqdm

from napari_twostage.errors import TwoStageError
from napari_twostage.method.uncertainty import labels
from napari_twostage.models import load_model
from napari_twostage.models.bundle import write_card
from napari_twostage.training.datasets import load_split
from napari_twostage.training.evaluation.metrics import bootstrap_interval, dice, pooled_dice
from napari_twostage.training.evaluation.outcomes import Cost, count_single, run_engine
from napari_twostage.training.evaluation.table import Table, percent
from napari_twostage.training.loop.stages import coarse_at_full_size
from napari_twostage.training.loop.validate import predict_whole
from napari_twostage.training.run.networks import load_trained_networks, prepare_inference
from napari_twostage.training.run.run_folder import read_run_config
from training.object_matching import ObjectCounts, match_objects

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_twostage.models.model import Model
    from napari_twostage.training.datasets import Sample

Row = dict[str, Any]
HEADER = (
    "run",
    "MACs / dense",
    "Dice per image [95 %]",
    "pooled Dice",
    "objects, F1",
    "cut by tiles, F1",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write the table; returns 2 for errors that the user can correct."""
    parser = argparse.ArgumentParser(prog="python -m training.evaluate", description=__doc__)
    parser.add_argument("--model", default="nuclei", help="bundled name or bundle folder")
    parser.add_argument("--data", type=Path, required=True, help="folder with manifest.csv")
    parser.add_argument("--split", default="test")
    parser.add_argument(
        "--single",
        type=Path,
        action="append",
        required=True,
        metavar="RUN",
        help="folder of a single model's run; the first is the dense one; may be repeated",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the table")
    parser.add_argument("--write-card", action="store_true", help="put the table into the card")
    options = parser.parse_args(arguments)
    try:
        model = load_model(options.model, precision="f32")
        samples = load_split(options.data, options.split)
        rows, caption = evaluate(model, options.single, samples)
    except TwoStageError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "table.json").write_text(json.dumps(rows, indent=2), encoding="utf-8")
    text = _to_table(rows, caption).to_markdown()
    (options.out / "table.md").write_text(text, encoding="utf-8")
    sys.stdout.write(text)
    if options.write_card:
        _write_card(model, rows, f"{options.data.name} {options.split}")
    return 0


def evaluate(
    model: Model, singles: Sequence[Path], samples: Sequence[Sample]
) -> tuple[list[Row], str]:
    """Measure all rows, and describe them in a caption.

    Parameters
    ----------
    model : Model
    singles : sequence of path
        Folders of single models' runs, the dense one first.
    samples : sequence of Sample
    """
    row = partial(_row, samples=samples, tile_px=model.card.tile_px)
    measured = [(path.name, *_run_single(path, samples)) for path in singles]
    dense = measured[0][1]
    rows = [row(name, predicted, macs / dense) for name, macs, predicted in measured]
    cost = replace(Cost.of(model.card), dense=dense)
    outcomes = run_engine(model, samples)
    threshold = model.card.default_threshold
    rows += [
        row("stage 1 only", [o.coarse for o in outcomes], cost.relative(outcomes, None)),
        row(
            f"two stages, threshold {threshold:g}",
            [o.at(threshold) for o in outcomes],
            cost.relative(outcomes, threshold),
        ),
        row("every tile refined", [o.refined for o in outcomes], cost.relative(outcomes, -1.0)),
    ]
    chosen = sum(o.count(threshold) for o in outcomes) / sum(o.scores.size for o in outcomes)
    caption = (
        f"{len(samples)} images; {chosen:.1%} of tiles refined at the default threshold; "
        f"{dense / 1000:.1f} kMAC per pixel dense; F1 of connected regions that overlap by more "
        f"than half, of all and of those that lie in several tiles of {model.card.tile_px} px"
    )
    return rows, caption


def _run_single(run: Path, samples: Sequence[Sample]) -> tuple[float, list[NDArray[np.uint8]]]:
    """Return multiply-accumulates per fine pixel, and the labels of all images."""
    config = read_run_config(run)
    module, ratio = prepare_inference(load_trained_networks(config, run)), config.network.ratio
    predict = coarse_at_full_size(module, ratio)
    with torch.inference_mode():
        return count_single(module, ratio), [
            labels(predict_whole(predict, sample.image))
            for sample in tqdm(samples, desc=run.name, unit="image")
        ]


def _row(
    name: str,
    predicted: list[NDArray[np.uint8]],
    cost: float,
    *,
    samples: Sequence[Sample],
    tile_px: int,
) -> Row:
    pairs = [(p, s.mask) for p, s in zip(predicted, samples, strict=True)]
    values = [dice(*pair) for pair in pairs]
    counts = [match_objects(*pair, tile_px) for pair in pairs]
    found, cut = (reduce(ObjectCounts.plus, each) for each in zip(*counts, strict=True))
    return {
        "run": name,
        "cost": round(cost, 3),
        "dice": round(float(np.mean(values)), 4),
        "interval": [round(value, 4) for value in bootstrap_interval(values)],
        "pooled_dice": round(pooled_dice(pairs), 4),
        "object_f1": round(found.f1, 4),
        "cut_object_f1": round(cut.f1, 4),
        "images": [round(value, 4) for value in values],
    }


def _to_table(rows: list[Row], caption: str) -> Table:
    table = Table("table", HEADER, caption)
    for r in rows:
        low, high = map(percent, r["interval"])
        values = (r["pooled_dice"], r["object_f1"], r["cut_object_f1"])
        cells = (r["run"], f"{r['cost']:.2f}", f"{percent(r['dice'])} [{low}, {high}]")
        table.add(dict(zip(HEADER, (*cells, *map(percent, values)), strict=True)))
    return table


def _write_card(model: Model, rows: list[Row], data: str) -> None:
    metrics = {
        f"{r['run']} ({data})": (
            f"Dice {r['dice']:.3f} per image, {r['pooled_dice']:.3f} pooled, "
            f"at {r['cost']:.2f} of the dense MACs"
        )
        for r in rows
    }
    write_card(model.bundle.path, replace(model.card, metrics=metrics))


if __name__ == "__main__":
    sys.exit(main())
