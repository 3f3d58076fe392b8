"""Two stages against every tile, timed in turn on this machine."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_twostage.cli.interrupts import saving
from napari_twostage.engine.api import iter_segment
from napari_twostage.errors import SelectionError
from napari_twostage.method.steps import CoarsePassStarted, TilesSelected
from napari_twostage.models import load_model
from napari_twostage.models.backends.choice import thread_count
from napari_twostage.samples import sample_slide
from napari_twostage.slides import open_slide
from napari_twostage.utils.system import describe_machine
from napari_twostage.utils.timing import Seconds, time_in_turn

if TYPE_CHECKING:
    from argparse import Namespace

    from napari_twostage.cli.commands import VerbOutput
    from napari_twostage.models.model import Model
    from napari_twostage.slides.base import Slide
    from napari_twostage.utils.timing import Timing

Stages = dict[str, Seconds]
"""Seconds of ``tissue``, ``coarse`` and ``refine``."""


def bench(options: Namespace) -> VerbOutput:
    """Time three ways through one slide, interleaved; report medians.

    "every tile" is stage 2 over all tissue tiles without its coarse pass: what a dense run with
    the same halo costs. Each way reads, computes and writes; loading the model is not counted.
    """
    if options.rounds < 1:
        raise SelectionError(f"expected at least one round, found {options.rounds}; try --rounds 5")
    model = load_model(options.model, device=options.device, precision=options.precision)
    warm_up(model)
    with open_slide(options.slide or sample_slide()) as slide, saving():
        timings = time_in_turn(
            {
                "coarse only": lambda: total(time_stages(slide, model, refine="none")),
                f"two stages, {options.fraction:.0%}": lambda: total(
                    time_stages(slide, model, fraction=options.fraction)
                ),
                "every tile": lambda: time_stages(slide, model, refine="all")["refine"],
            },
            options.rounds,
        )
        described = f"{slide.name}, {slide.level_shapes[0][0]} × {slide.level_shapes[0][1]}"
    facts = describe_machine(thread_count())
    rows = _rows(timings)
    text = [
        f"{described}; model {model.card.name}; {model.compute}; {options.rounds} rounds",
        "; ".join(f"{name} {value}" for name, value in facts.items()),
        *(
            f"{name:18} {row['median_s']:8.2f} s  [{row['min_s']:.2f}, {row['max_s']:.2f}]  "
            f"{row['cpu_s']:8.2f} s CPU  {row['speed_up']:.2f}×"
            for name, row in rows.items()
        ),
    ]
    summary = {"slide": described, "rounds": options.rounds, "machine": facts, "ways": rows}
    return summary, text, 0


def _rows(timings: dict[str, Timing]) -> dict[str, dict[str, float]]:
    dense = timings["every tile"]
    return {
        name: {
            "median_s": round(timing.median, 3),
            "min_s": round(timing.spread[0], 3),
            "max_s": round(timing.spread[1], 3),
            "cpu_s": round(timing.cpu, 3),
            "speed_up": round(dense.over(timing), 2),
        }
        for name, timing in timings.items()
    }


def warm_up(model: Model) -> None:
    """Run both stages once, before the clock runs."""
    model.warm_up("coarse")
    model.seconds_per_tile  # noqa: B018 - measured once, and with it the second stage warms up


def time_stages(slide: Slide, model: Model, **arguments: Any) -> Stages:  # noqa: ANN401
    """Segment a slide into a folder that goes away again, and take the time of each stage.

    Parameters
    ----------
    slide, model : Slide, Model
    **arguments
        Of `iter_segment`: ``fraction``, ``refine`` and the like.

    Returns
    -------
    dict of Seconds
        ``tissue`` has all that comes before the coarse pass; ``refine`` all that comes after it,
        to the last write.
    """
    marks = [Seconds.now()]
    with tempfile.TemporaryDirectory() as folder:
        steps = iter_segment(slide, model, Path(folder) / "bench.zarr", **arguments)
        ends = CoarsePassStarted, TilesSelected  # of tissue, of coarse
        marks += [Seconds.now() for step in steps if isinstance(step, ends)]
        marks.append(Seconds.now())
    started, tissue, coarse, refined = marks
    return {"tissue": tissue - started, "coarse": coarse - tissue, "refine": refined - coarse}


def total(stages: Stages) -> Seconds:
    """All stages together."""
    return sum(stages.values(), Seconds(0, 0))
