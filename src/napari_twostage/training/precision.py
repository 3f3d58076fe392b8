"""Dice and speed of devices and precisions: ``napari-twostage precision``.

Every pair of device and precision runs the engine over images of known truth. Speeds are those of
the forward pass over windows of both stages, timed in turn. The first pair is the reference.

A model's card states what precisions lose, so that ``auto`` may choose them. That is measured on
images that the model's training held out, never on a test split.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Self

import numpy as np

from napari_twostage.errors import ModelError
from napari_twostage.models import load_model
from napari_twostage.models.backends.precision import PRECISIONS
from napari_twostage.models.bundle import read_bundle, write_card
from napari_twostage.training.evaluation.metrics import (
    bootstrap_interval,
    describe_difference,
    mean_dice,
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
    "most lost",
)
WAYS = "stage 1 alone, two stages, and every tile refined"


def compare_precisions(
    model: str,
    pairs: Sequence[str],
    samples: Sequence[Sample],
    *,
    rounds: int = ROUNDS,
    progress: bool = True,
) -> tuple[Table, dict[str, float]]:
    """Compare one model on several devices, in several precisions.

    Parameters
    ----------
    model : str
        Bundled name or bundle folder.
    pairs : sequence of str
        ``device:precision``; the first is the reference.
    samples : sequence of Sample
    rounds : int
        Rounds of timing.
    progress : bool
        Show progress bars on stderr.

    Returns
    -------
    table : Table
    losses : dict of str to float
        Points of Dice that lower precisions lose against the first pair; the most of their
        devices.

    Raises
    ------
    DatasetError, ModelError
        If an image cannot be read, or the model or a device cannot be used.
    """
    models = {pair: _load(model, pair) for pair in pairs}
    seconds = time_windows(models, rounds)
    table, losses = Table("precision", HEADER), dict[str, float]()
    reference = first = None
    for pair, loaded in models.items():
        found = _Found.of(loaded, samples, progress=progress)
        first = first or seconds[pair]
        times = zip(seconds[pair], first, strict=True)
        coarse, fine = (f"{1000 * s:.1f} ms, {f / s:.1f}×" for s, f in times)
        low, high = map(percent, bootstrap_interval(found.dice.tolist()))
        cells = {
            "runs on": str(loaded.compute),
            "coarse window": coarse,
            "fine window": fine,
            "Dice per image [95 %]": f"{percent(float(found.dice.mean()))} [{low}, {high}]",
        }
        if reference is not None:
            lost = found.most_lost(reference)
            precision = loaded.compute.precision
            if precision != "f32":
                losses[precision] = max(lost, losses.get(precision, lost))
            cells |= found.against(reference) | {"most lost": f"{lost:.2f}"}
        reference = reference or found
        table.add(cells)
    card = loaded.card
    table.caption = (
        f"{card.name} {card.version}, {len(samples)} images, two stages at the default threshold; "
        f"most lost: points of Dice, the most of {WAYS}, and of the data sets; windows of "
        f"{card.coarse_window_px} and {card.window_px} px, medians of {rounds} rounds in turn; "
        f"{describe_processor()}"
    )
    return table, losses


@dataclass(frozen=True)
class _Found:
    """Labels of images with two stages, and Dice."""

    samples: Sequence[Sample]
    labels: list[NDArray[np.uint8]]
    ways: NDArray[np.float64]
    """(3, images) Dice with each of `WAYS`."""

    @classmethod
    def of(cls, model: Model, samples: Sequence[Sample], *, progress: bool) -> Self:
        """Run a model over images."""
        outcomes = run_engine(model, samples, progress=progress)
        labels = [outcome.at(model.card.default_threshold) for outcome in outcomes]
        ways = [
            [mean_dice(way, o.sample.mask, o.classes) for way in (o.coarse, both, o.refined)]
            for o, both in zip(outcomes, labels, strict=True)
        ]
        return cls(samples, labels, np.array(ways).T)

    @property
    def dice(self) -> NDArray[np.float64]:
        """(images,) Dice of two stages."""
        return np.asarray(self.ways[1])

    def against(self, other: Self) -> dict[str, str]:
        """Cells of the difference to other labels of the same images."""
        pairs = zip(self.labels, other.labels, strict=True)
        changed = sum(int((ours != theirs).sum()) for ours, theirs in pairs)
        share = changed / sum(each.size for each in self.labels)
        groups = [sample.name for sample in self.samples]
        return {
            "against the first": describe_difference(self.dice - other.dice, groups),
            "pixels changed": f"{100 * share:.3f} %",
        }

    def most_lost(self, other: Self) -> float:
        """Points of Dice lost against other labels, the most of all ways and data sets."""
        sources = np.array([sample.source for sample in self.samples])
        lost = other.ways - self.ways
        sets = [lost[:, sources == name].mean(axis=1).max() for name in np.unique(sources)]
        return round(100 * float(max(sets)), 2)


def state_losses(folder: Path, losses: dict[str, float]) -> None:
    """Write into the card of a bundle folder what precisions lose; what it states of others stays.

    Raises
    ------
    ModelError
        If the folder holds no bundle.
    """
    card = read_bundle(folder).card
    write_card(folder, replace(card, precision_loss=card.precision_loss | losses))


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
