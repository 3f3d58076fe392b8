"""What a device and a precision cost in Dice: ``python -m training.precision --data D --out O``.

Every pair runs the engine over a test split; speeds are those of the forward pass over windows of
both stages, timed in turn. The first pair is what the others are compared with.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.errors import ModelError
from napari_twostage.models import load_model
from napari_twostage.training.datasets import DatasetError, load_split
from napari_twostage.training.metrics import bootstrap_interval, dice
from napari_twostage.training.outcomes import run_engine
from napari_twostage.utils.timing import ROUNDS, describe_processor, time_in_turn, timed
from training.frontier.comparison import describe_difference
from training.tables.table import Table, percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_twostage.models.backends import Stage
    from napari_twostage.models.model import Model
    from napari_twostage.training.datasets import Sample

PAIRS = ("cpu:f32", "cpu:bf16", "openvino:f32", "openvino:bf16")
HEADER = (
    "runs on",
    "coarse window",
    "fine window",
    "Dice per image [95 %]",
    "against the first",
    "pixels changed",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write the table; 2 for what the user must correct."""
    parser = argparse.ArgumentParser(prog="python -m training.precision", description=__doc__)
    parser.add_argument("--model", default="nuclei", help="bundled name or bundle folder")
    parser.add_argument("--data", type=Path, required=True, help="folder with manifest.csv")
    parser.add_argument("--split", default="test")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument(
        "--on", nargs="+", default=PAIRS, metavar="DEVICE:PRECISION", help="the first is the rule"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the table")
    options = parser.parse_args(arguments)
    try:
        models = {pair: _load(options.model, pair) for pair in options.on}
        samples = load_split(options.data, options.split)
    except (DatasetError, ModelError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    table = compare(models, samples, options.rounds)
    table.write(options.out)
    sys.stdout.write(table.to_markdown())
    return 0


def compare(models: dict[str, Model], samples: Sequence[Sample], rounds: int) -> Table:
    """Time the models' forward passes in turn, and run each over all images.

    Parameters
    ----------
    models : dict of Model
        The same model by ``device:precision``; the first is what others are compared with.
    samples : sequence of Sample
    rounds : int
        How often each has its turn.
    """
    seconds = time_windows(models, rounds)
    table = Table("precision", HEADER)
    rule: tuple[list[NDArray[np.uint8]], NDArray[np.float64]] | None = None
    groups = [sample.name for sample in samples]
    for pair, model in models.items():
        threshold = model.card.default_threshold
        found = [outcome.at(threshold) for outcome in run_engine(model, samples)]
        scores = np.array([dice(f, s.mask) for f, s in zip(found, samples, strict=True)])
        rule = rule or (found, scores)
        changed = sum(int((a != b).sum()) for a, b in zip(found, rule[0], strict=True))
        low, high = map(percent, bootstrap_interval(scores.tolist()))
        first = next(iter(seconds.values()))
        times = zip(seconds[pair], first, strict=True)
        coarse, fine = (f"{1000 * s:.1f} ms, {f / s:.1f}×" for s, f in times)
        cells = {
            "runs on": str(model.compute),
            "coarse window": coarse,
            "fine window": fine,
            "Dice per image [95 %]": f"{percent(float(scores.mean()))} [{low}, {high}]",
        }
        if found is not rule[0]:
            share = changed / sum(f.size for f in found)
            cells["against the first"] = describe_difference(scores - rule[1], groups)
            cells["pixels changed"] = f"{100 * share:.3f} %"
        table.add(cells)
    card = next(iter(models.values())).card
    table.caption = (
        f"{card.name} {card.version}, {len(samples)} images, two stages at the default threshold; "
        f"windows of {card.coarse_window_px} and {card.window_px} px, medians "
        f"of {rounds} rounds in turn; {describe_processor()}"
    )
    return table


def time_windows(models: dict[str, Model], rounds: int) -> dict[str, tuple[float, float]]:
    """Seconds of a coarse and of a fine window on each model, all in turn."""
    found: dict[str, list[float]] = {pair: [] for pair in models}
    stages: tuple[Stage, ...] = ("coarse", "refine")
    for stage in stages:
        calls, counts = {}, {}
        for pair, model in models.items():
            side = model.side_px(stage)
            counts[pair] = 4 * getattr(model, f"{stage}_batch")
            windows = [np.full((side, side, 3), 128, np.uint8)] * counts[pair]
            calls[pair] = partial(timed, partial(getattr(model, stage), windows))
            calls[pair]()  # the first call allocates, plans, and may compile
        for pair, timing in time_in_turn(calls, rounds).items():
            found[pair].append(timing.median / counts[pair])
    return {pair: (coarse, fine) for pair, (coarse, fine) in found.items()}


def _load(model: str, pair: str) -> Model:
    device, _, precision = pair.rpartition(":")
    return load_model(model, device=device, precision=precision)


if __name__ == "__main__":
    sys.exit(main())
