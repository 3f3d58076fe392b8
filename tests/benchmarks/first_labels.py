"""Time until a big slide shows labels: first coarse window on disk, and whole coarse pass.

    python -m tests.benchmarks.first_labels --ratio 4 --device openvino

The clock starts with `open_slide`, in a fresh process for each round. Imports, loading the model
and its first batch of each stage, which may compile it, come before and are timed separately. From
the second round on, the slide is in the file cache of the operating system.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks import common

from napari_twostage.training.evaluation.table import Table
from napari_twostage.utils.timing import Seconds, Timing

if TYPE_CHECKING:
    from argparse import Namespace

SIZE, QUICK_SIZE = (60_000, 50_000), (6000, 5000)
TISSUE = 0.5
LOADING, FIRST, WHOLE = "loading the model", "first coarse window on disk", "whole coarse pass"
LIMITS_S = {FIRST: 2.0, WHOLE: 25.0}
"""Goals in seconds, for ratio 4, with OpenVINO, on two cores."""


def main() -> None:
    """Start one process per round."""
    parser = common.parser(__doc__)
    common.add_model(parser, ratio=True)
    options = common.parse(parser)
    width, height = QUICK_SIZE if options.quick else SIZE
    slide = common.big_slide(options.slides, width, height, TISSUE)
    rounds = [run_round(slide, options) for _ in range(options.rounds)]
    timings = {
        name: Timing(tuple(found[name] for _, found in rounds)) for name in (LOADING, FIRST, WHOLE)
    }
    table = Table("first_labels", ("from open_slide to", *common.TIMES))
    for name, timing in timings.items():
        table.add({"from open_slide to": name, **common.cells(timing)})
    goals = [
        common.goal(
            f"{name} within {limit:g} s (ratio 4, OpenVINO, two cores)",
            f"{timings[name].median:.2f} s",
            met=timings[name].median <= limit,
        )
        for name, limit in LIMITS_S.items()
    ]
    notes = [f"{slide.name}: {rounds[0][0]}. Loading comes before `open_slide`.", *goals]
    common.publish(table, notes, common.draw_bars(timings, "seconds"), options)


def run_round(slide: Path, options: Namespace) -> tuple[str, dict[str, Seconds]]:
    """Run one round in a fresh process; see `run_once`."""
    return common.in_child(run_once, slide, options.model, options.device, options.ratio)


def run_once(
    path: Path, name: str, device: str, ratio: int | None
) -> tuple[str, dict[str, Seconds]]:
    """Open a slide and run the coarse pass; return a description and the seconds of each part."""
    started = Seconds.now()
    from napari_twostage import iter_segment, open_slide
    from napari_twostage.cli.bench import warm_up
    from napari_twostage.method.steps import CoarsePassStarted, CoarseWindowDone

    model = common.load(name, device, ratio)
    warm_up(model)
    loaded = Seconds.now()
    first, windows = None, 0
    with tempfile.TemporaryDirectory() as folder, open_slide(path) as slide:
        for step in iter_segment(slide, model, Path(folder) / "out.zarr", refine="none"):
            if isinstance(step, CoarsePassStarted):
                windows = step.windows
            if isinstance(step, CoarseWindowDone) and first is None:
                first = Seconds.now()  # steps are yielded once they are on disk
        ended = Seconds.now()
    assert first is not None, f"{path} holds no tissue"
    described = f"{windows} windows, ratio {model.card.ratio}, {model.card.name} on {model.compute}"
    spent = {LOADING: loaded - started, FIRST: first - loaded, WHOLE: ended - loaded}
    return described, spent


if __name__ == "__main__":
    main()
