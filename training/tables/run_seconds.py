"""Seconds per image of the compared runs: timed in turn once, then cached beside them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.training.run.networks import prepare_inference
from napari_twostage.utils.timing import Seconds, Timing
from training.item_timing import machine_line, time_per_item
from training.result_cache import read_cached, write_cached
from training.tables.inference import Rules, run_single, run_two_stages
from training.tables.scores import name_images

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_twostage.training.datasets import Samples
    from training.tables.runs import Run

FORMAT = 2
"""Version of the cached file."""


def time_runs(
    rows: Mapping[str, tuple[Run, bool]],
    samples: Samples,
    rules: Rules,
    *,
    rounds: int,
    cache: Path,
) -> dict[str, Timing]:
    """Time rows of a table on the CPU, from a decoded image to logits on the square.

    Parameters
    ----------
    rows : mapping
        By name: a finished run, and whether both of its stages run (else stage 1 alone).
    samples : Samples
        A few images; all are held in memory.
    rules : Rules
    rounds : int
        Passes of each row over the images.
    cache : Path
        File of the cached timings.
    """
    key = {
        "weights": {name: [run.fingerprint(), both] for name, (run, both) in rows.items()},
        "images": name_images(samples),
        "rules": asdict(rules),
        "rounds": rounds,
        "machine": machine_line(),
        "format": FORMAT,
    }
    if (known := read_cached(cache, key)) is not None:
        return {
            name: Timing(tuple(Seconds(**each) for each in turns)) for name, turns in known.items()
        }
    candidates = {name: _candidate(run, rules, both=both) for name, (run, both) in rows.items()}
    timings = time_per_item(candidates, [sample.image for sample in samples], rounds=rounds)
    write_cached(
        cache, key, {name: list(map(asdict, found.rounds)) for name, found in timings.items()}
    )
    return timings


def _candidate(run: Run, rules: Rules, *, both: bool) -> Callable[[NDArray[np.uint8]], object]:
    module = prepare_inference(run.load())
    if both:
        return lambda image: run_two_stages(module, image, rules)
    return lambda image: run_single(module, image, rules.size_px)


def spread_out(samples: Samples, count: int) -> Samples:
    """Pick `count` images, evenly spaced over a split."""
    places = np.linspace(0, len(samples) - 1, min(count, len(samples))).round().astype(int)
    return samples.pick(places.tolist())
