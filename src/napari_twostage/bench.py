"""Two stages against every tile, timed in turn on this machine."""

from __future__ import annotations

import platform
import tempfile
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from napari_twostage.engine import segment
from napari_twostage.models import load_model
from napari_twostage.samples import sample_slide
from napari_twostage.slides import open_slide

if TYPE_CHECKING:
    from argparse import Namespace

    from napari_twostage.models.model import Model
    from napari_twostage.slides.base import Slide


def bench(options: Namespace) -> tuple[dict[str, Any], list[str], int]:
    """Time three ways through one slide, interleaved; report medians.

    "every tile" is stage 2 over all tissue tiles without its coarse pass: what a dense run with
    the same halo costs. Each way reads, computes and writes; loading the model is not counted.
    """
    model = load_model(options.model, device=options.device, precision=options.precision)
    model.seconds_per_tile  # noqa: B018 - measured once, before the clock runs
    ways = {
        "coarse only": {"refine": "none"},
        f"two stages, {options.fraction:.0%}": {"fraction": options.fraction},
        "every tile": {"refine": "all"},
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    with open_slide(options.slide or sample_slide()) as slide:
        for _ in range(options.rounds):
            for name, arguments in ways.items():
                stages = _timed(slide, model, arguments)
                coarse = 0.0 if name == "every tile" else stages["tissue"] + stages["coarse"]
                seconds[name].append(coarse + stages["refine"])
        described = f"{slide.name}, {slide.level_shapes[0][0]} × {slide.level_shapes[0][1]}"
    dense = median(seconds["every tile"])
    rows = {
        name: {
            "median_s": round(median(values), 3),
            "min_s": round(min(values), 3),
            "max_s": round(max(values), 3),
            "speed_up": round(dense / median(values), 2),
        }
        for name, values in seconds.items()
    }
    text = [f"{described}; model {model.card.name}; {model.compute}; {platform.machine()}"]
    text += [
        f"{name:18} {row['median_s']:8.2f} s  [{row['min_s']:.2f}, {row['max_s']:.2f}]  "
        f"{row['speed_up']:.2f}×"
        for name, row in rows.items()
    ]
    return {"slide": described, "rounds": options.rounds, "ways": rows}, text, 0


def _timed(slide: Slide, model: Model, arguments: dict[str, Any]) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        seg = segment(slide, model, Path(folder) / "bench.zarr", **arguments)
        seconds: dict[str, float] = seg.record["runs"][-1]["seconds"]
    return seconds
