"""Seconds and memory to measure and export a million objects that a model told apart.

    python -m tests.benchmarks.million --rounds 3

The small slide's densest tissue is repeated, so the model computes each window once and its output
is used again: all that is measured here is real, but for the slide's variety. Each task runs in a
process of its own, on the result that the run left, and says what a user waits for.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tests.benchmarks import common
from tests.benchmarks.measuring import bytes_of

from napari_twostage import Segmentation, export, open_slide, segment
from napari_twostage.measure.areas import areas
from napari_twostage.measure.density import map_density
from napari_twostage.models.bundle import read_bundle
from napari_twostage.models.model import Model
from napari_twostage.training.evaluation.table import Table
from napari_twostage.utils.timing import Seconds, time_in_turn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from napari_twostage.models.card import Stage

SIZE, QUICK_SIZE = (38_912, 38_912), (3072, 3072)
"""Width and height in pixels; the tissue repeats every 2,048 × 3,072."""
MOST_SECONDS, MOST_BYTES = 60.0, 2**30
"""Bar for any file of a million objects, on two cores."""
TASKS = (
    "measure",
    "density",
    "objects.csv",
    "objects.csv, shape",
    "objects.geojson.gz",
    "objects.parquet",
    "objects.h5ad",
)


class RememberingModel(Model):
    """A model that computes windows of equal pixels once."""

    def __init__(self, source: str, device: str) -> None:
        super().__init__(read_bundle(source), device)
        self._known: dict[int, NDArray[np.float32]] = {}

    def _run(self, stage: Stage, windows: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        names = [hash((stage, window.tobytes())) for window in windows]
        for name, window in zip(names, windows, strict=True):
            if name not in self._known:
                self._known[name] = super()._run(stage, [window])[0]
        return np.stack([self._known[name] for name in names])


def main() -> None:
    """Make a result of a million objects, then time each task in turn."""
    parser = common.parser(__doc__)
    common.add_model(parser)
    options = common.parse(parser)
    width, height = QUICK_SIZE if options.quick else SIZE
    path = common.big_slide(options.slides, width, height, tissue=1)
    result = options.out / f"million-{width}.twostage.zarr"
    with open_slide(path) as slide:
        if not (result.exists() and Segmentation.open(result).coarse_complete):
            segment(slide, RememberingModel(options.model, options.device), result, refine="none")
    folder = options.out / "million"
    folder.mkdir(exist_ok=True)
    found: dict[str, tuple[int, int]] = {}

    def timed(task: str) -> Callable[[], Seconds]:
        def run() -> Seconds:
            call = partial(perform, task, result, folder)
            seconds, peak, size = call() if options.quick else common.in_child(call)
            found[task] = peak, size
            return seconds

        return run

    timings = time_in_turn({task: timed(task) for task in TASKS}, options.rounds)
    table = Table("million", ("task", *common.TIMES, "peak memory, MiB", "file, MB"))
    for task, timing in timings.items():
        peak, size = found[task]
        file = f"{size / 1e6:.0f}" if size else ""
        cells = {"peak memory, MiB": f"{peak / 2**20:.0f}", "file, MB": file}
        table.add({"task": task, **common.cells(timing), **cells})
    (nuclei, *_) = areas(Segmentation.open(result))
    slowest = max(timing.median for timing in timings.values())
    largest = max(peak for peak, _ in found.values())
    notes = [
        f"{width:,} × {height:,} pixels, {nuclei.objects:,} objects, {nuclei.describe_left_out()}.",
        common.goal("any file in 60 s", f"{slowest:.0f} s at most", met=slowest <= MOST_SECONDS),
        common.goal(
            "within 1 GiB", f"{largest / 2**20:.0f} MiB at most", met=largest <= MOST_BYTES
        ),
    ]
    common.publish(table, notes, common.draw_bars(timings, "seconds"), options)


def perform(task: str, result: Path, folder: Path) -> tuple[Seconds, int, int]:
    """Perform a task; seconds, peak memory in bytes, and bytes that were written."""
    seg = Segmentation.open(result)
    started, size = Seconds.now(), 0
    if task == "measure":
        areas(seg)
    elif task == "density":
        map_density(seg)
    else:
        name, _, extent = task.partition(", ")
        size = bytes_of(Path(export(seg, folder / name, measure=extent or "all")))
    return Seconds.now() - started, common.peak_bytes(), size


if __name__ == "__main__":
    main()
