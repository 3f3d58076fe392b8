"""Seconds per image of runs that are compared: timed in turn once, then kept beside them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.training.infer import Rules, prepare, run_single, run_two_stages
from napari_twostage.utils.timing import Seconds, Timing
from training.kept import keep, read_kept
from training.tables.measure import name_images
from training.timing import machine_facts, time_per_item

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_twostage.training.datasets import Samples
    from training.tables.runs import Run

FORMAT = 2
"""Of what is kept."""


def time_rows(
    rows: Mapping[str, tuple[Run, bool]],
    samples: Samples,
    rules: Rules,
    *,
    rounds: int,
    kept: Path,
) -> dict[str, Timing]:
    """Time rows on the CPU, from a decoded image to logits on the square.

    Parameters
    ----------
    rows : mapping
        By name, a finished run, and whether both of its stages are run (else stage 1 alone).
    samples : Samples
        A few images: all are held in memory.
    rules : Rules
    rounds : int
        How often each row goes through the images.
    kept : Path
        The file that spares a rerun the clock.
    """
    key = {
        "weights": {name: [run.fingerprint(), both] for name, (run, both) in rows.items()},
        "images": name_images(samples),
        "rules": asdict(rules),
        "rounds": rounds,
        "machine": machine_facts(),
        "format": FORMAT,
    }
    if (known := read_kept(kept, key)) is not None:
        return {
            name: Timing(tuple(Seconds(**each) for each in turns)) for name, turns in known.items()
        }
    candidates = {name: _candidate(run, rules, both=both) for name, (run, both) in rows.items()}
    timings = time_per_item(candidates, [sample.image for sample in samples], rounds=rounds)
    keep(kept, key, {name: list(map(asdict, found.rounds)) for name, found in timings.items()})
    return timings


def _candidate(run: Run, rules: Rules, *, both: bool) -> Callable[[NDArray[np.uint8]], object]:
    module = prepare(run.load())
    if both:
        return lambda image: run_two_stages(module, image, rules)
    return lambda image: run_single(module, image, rules.size_px)


def spread_out(samples: Samples, count: int) -> Samples:
    """So many images from the whole length of a split."""
    places = np.linspace(0, len(samples) - 1, min(count, len(samples))).round().astype(int)
    return samples.pick(places.tolist())
