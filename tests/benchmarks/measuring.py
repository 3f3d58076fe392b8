"""Seconds to measure a large result and to export it, after the run that made it.

    python -m tests.benchmarks.measuring --device openvino --rounds 3

A slide of 30,000 x 25,000 pixels, half of it tissue, segmented coarsely. Each task runs in a
process of its own. What a run measures by the way is kept in the result; *measure, of an earlier
version's result* has to read all labels first.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks import common

from napari_twostage import Segmentation, export, open_slide, segment
from napari_twostage.measure.areas import areas
from napari_twostage.training.evaluation.table import Table
from napari_twostage.utils.timing import Seconds, time_in_turn

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE, QUICK_SIZE = (30_000, 25_000), (3000, 2500)
GOALS = {
    "measure": 2.0,
    "objects.csv": 15.0,
    "objects.geojson.gz": 30.0,
    "labels.ome.tif": 30.0,
}
"""Seconds wanted on two cores."""
TASKS = (
    "measure",
    "measure, of an earlier version's result",
    "objects.csv",
    "objects.geojson.gz",
    "objects.geojson",
    "objects.parquet",
    "labels.ome.tif",
    "labels.ome.zarr",
)


def main() -> None:
    """Segment a slide, then time each task in turn."""
    parser = common.parser(__doc__)
    common.add_model(parser)
    options = common.parse(parser)
    width, height = QUICK_SIZE if options.quick else SIZE
    path = common.big_slide(options.slides, width, height, tissue=0.5)
    result = options.out / "measuring.twostage.zarr"
    with open_slide(path) as slide:
        model = common.load(options.model, options.device)
        seg = segment(slide, model, result, refine="none", overwrite=True)
        coarse = seg.record.runs[-1].seconds["coarse"]
    folder = options.out / "measuring"
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
    table = Table("measuring", ("task", *common.TIMES, "peak memory, MiB", "file, MB"))
    for task, timing in timings.items():
        peak, size = found[task]
        file = f"{size / 1e6:.0f}" if size else ""
        cells = {"peak memory, MiB": f"{peak / 2**20:.0f}", "file, MB": file}
        table.add({"task": task, **common.cells(timing), **cells})
    (nuclei, *_) = areas(Segmentation.open(result))
    notes = [
        f"{width:,} × {height:,} pixels, half tissue, {nuclei.objects:,} objects, "
        f"{nuclei.describe_left_out()}; coarse pass of {coarse:.1f} s.",
        *(
            common.goal(
                f"{task} in {wanted:g} s",
                f"{timings[task].median:.1f} s",
                met=timings[task].median <= wanted,
            )
            for task, wanted in GOALS.items()
        ),
    ]
    common.publish(table, notes, common.draw_bars(timings, "seconds"), options)


def perform(task: str, result: Path, folder: Path) -> tuple[Seconds, int, int]:
    """Perform a task; seconds, peak memory in bytes, and bytes that were written."""
    kept, aside = result / "tallies", folder / "tallies"
    without = task.startswith("measure, of")
    if without:
        kept.rename(aside)
    try:
        seg = Segmentation.open(result)
        started = Seconds.now()
        if task.startswith("measure"):
            areas(seg)
            size = 0
        else:
            size = bytes_of(Path(export(seg, folder / task)))
        return Seconds.now() - started, common.peak_bytes(), size
    finally:
        if without:
            aside.rename(kept)


def bytes_of(place: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    files = place.rglob("*") if place.is_dir() else [place]
    return sum(file.stat().st_size for file in files if file.is_file())


if __name__ == "__main__":
    main()
