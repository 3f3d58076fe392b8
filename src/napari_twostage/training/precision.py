"""Dice and speed of devices and precisions: ``napari-twostage precision``.

Every pair of device and precision runs the engine over a test split. Speeds are those of the
forward pass over windows of both stages, timed in turn. The first pair is the reference.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.errors import ModelError
from napari_twostage.models import load_model
from napari_twostage.models.backends.choice import PRECISIONS
from napari_twostage.training.datasets import load_split
from napari_twostage.training.evaluation.metrics import (
    bootstrap_interval,
    describe_difference,
    dice,
)
from napari_twostage.training.evaluation.outcomes import run_engine
from napari_twostage.training.evaluation.table import Table, percent
from napari_twostage.utils.system import describe_processor
from napari_twostage.utils.timing import ROUNDS, time_in_turn, timed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_twostage.models.card import Stage
    from napari_twostage.models.model import Model
    from napari_twostage.training.datasets import Sample

HEADER = (
    "runs on",
    "coarse window",
    "fine window",
    "Dice per image [95 %]",
    "against the first",
    "pixels changed",
)


def compare_precisions(
    model: str,
    pairs: Sequence[str],
    data: Path,
    *,
    split: str = "test",
    rounds: int = ROUNDS,
    progress: bool = True,
) -> Table:
    """Compare one model on several devices, in several precisions.

    Parameters
    ----------
    model : str
        Bundled name or bundle folder.
    pairs : sequence of str
        ``device:precision``; the first is the reference.
    data : path
        Folder with ``manifest.csv``.
    split : str
        Split of the manifest.
    rounds : int
        Rounds of timing.
    progress : bool
        Show progress bars on stderr.

    Raises
    ------
    DatasetError, ModelError
        If the data cannot be read, or the model or a device cannot be used.
    """
    models = {pair: _load(model, pair) for pair in pairs}
    return time_and_compare(models, load_split(data, split), rounds, progress=progress)


def time_and_compare(
    models: dict[str, Model], samples: Sequence[Sample], rounds: int, *, progress: bool = True
) -> Table:
    """Time the models' forward passes in turn, and run each over all images.

    Parameters
    ----------
    models : dict of Model
        The same model by ``device:precision``; the first is the reference.
    samples : sequence of Sample
    rounds : int
        Rounds of timing.
    progress : bool
        Show progress bars on stderr.
    """
    seconds = time_windows(models, rounds)
    table = Table("precision", HEADER)
    reference: tuple[list[NDArray[np.uint8]], NDArray[np.float64]] | None = None
    groups = [sample.name for sample in samples]
    for pair, model in models.items():
        threshold = model.card.default_threshold
        found = [outcome.at(threshold) for outcome in run_engine(model, samples, progress=progress)]
        scores = np.array([dice(f, s.mask) for f, s in zip(found, samples, strict=True)])
        reference = reference or (found, scores)
        changed = sum(int((a != b).sum()) for a, b in zip(found, reference[0], strict=True))
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
        if found is not reference[0]:
            share = changed / sum(f.size for f in found)
            cells["against the first"] = describe_difference(scores - reference[1], groups)
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
    """Median seconds of a coarse and of a fine window on each model, all timed in turn."""
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
    if not device or precision not in PRECISIONS:
        raise ModelError(
            f"expected DEVICE:PRECISION, such as cpu:f32, with a precision of "
            f"{', '.join(PRECISIONS)}; found '{pair}'"
        )
    return load_model(model, device=device, precision=precision)
