"""Costs of the parts of a slide: the defaults of `Costs` in docs/scale_costs.py.

    python -m tests.benchmarks.costs

Processor seconds are those of this process on an otherwise idle machine. Bytes are means over the
reads and writes of a run on real tissue.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tifffile
from docs.scale_costs import Costs
from tests.benchmarks import common

from napari_twostage import Box, Segmentation, open_slide, segment
from napari_twostage.cli.bench import warm_up
from napari_twostage.method.tissue import find_tissue
from napari_twostage.result.journal import Journal
from napari_twostage.training.evaluation.table import Table
from napari_twostage.utils.timing import Timing, time_in_turn, timed

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_twostage.models.model import Model
    from napari_twostage.slides.base import Slide
    from napari_twostage.utils.timing import Seconds

PLACE = Box(0, 0, 2 * Costs.partition_px, 2 * Costs.partition_px)
SIZE, QUICK_SIZE = (60_000, 50_000), (6000, 5000)
LINES = 2000


def main() -> None:
    """Segment some tissue, then time its parts in turn."""
    parser = common.parser(__doc__)
    common.add_model(parser)
    options = common.parse(parser)
    model = common.load(options.model, options.device)
    warm_up(model)
    width, height = QUICK_SIZE if options.quick else SIZE
    tissue = common.big_slide(options.slides, 8192, 8192, tissue=1)
    big = common.big_slide(options.slides, width, height, tissue=0.5)
    with tempfile.TemporaryDirectory() as folder, open_slide(tissue) as slide:
        seg = segment(slide, model, Path(folder) / "a.zarr", region=PLACE, fraction=0.3)
        sizes = bytes_of(tissue, seg)
        ways = parts(seg, slide, model, big, Path(folder))
        timings = time_in_turn({name: way for name, (way, _) in ways.items()}, options.rounds)
    table = Table("costs", ("of `Costs`", "value", "in docs/scale_costs.py"))
    found = sizes | {name: timings[name].cpu / ways[name][1] for name in ways}
    for name, value in found.items():
        default = f"{getattr(Costs, name):.3g}"
        table.add(dict(zip(table.header, (name, f"{value:.3g}", default), strict=True)))
    notes = [
        f"{PLACE.height}² pixels of {tissue.name}, 30 % of the tiles refined by "
        f"{model.card.name}; the tissue of {big.name}."
    ]
    shown = {name: scaled(timings[name], ways[name][1]) for name in ways}
    common.publish(table, notes, common.draw_bars(shown, "seconds each"), options)


def bytes_of(path: Path, seg: Segmentation) -> dict[str, float]:
    """Mean bytes of each kind of read and write, by their name in `Costs`."""
    with tifffile.TiffFile(path) as tif:
        tiles = np.mean(tif.pages[0].databytecounts)
    windows = len(seg.windows_done)
    return {
        "file_tile_bytes": float(tiles),
        "logits_bytes_per_window": chunk_bytes(seg.path / "coarse" / "logits") / windows,
        "overview_bytes_per_window": chunk_bytes(seg.path / "overview") / windows,
        "chunk_bytes_per_tile": chunk_bytes(seg.path / "refined") / int(seg.refined.sum()),
    }


def chunk_bytes(folder: Path) -> int:
    """Bytes of all chunks below a folder."""
    return sum(
        path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file() and path.name != "zarr.json"
    )


def parts(
    seg: Segmentation, slide: Slide, model: Model, big: Path, folder: Path
) -> dict[str, tuple[Callable[[], Seconds], int]]:
    """Timed calls by their name in `Costs`, each with its number of repetitions."""
    card, side = model.card, Costs.file_tile_px
    fine = card.window_px
    window = np.asarray(slide.read(Box.at(0, 0, card.coarse_window_px, card.coarse_window_px)))
    tile = np.asarray(slide.read(Box.at(0, 0, fine, fine)))
    boxes = list(PLACE.blocks(side))
    chosen = [tuple(place) for place in np.argwhere(seg.refined).tolist()]
    labels = np.asarray(seg.labels[0][PLACE.slices])
    drawn = {place: labels[seg.tiles.core(place).slices].copy() for place in chosen}
    line = {"event": "refined", "tiles": [list(place) for place in chosen[:40]]}

    def read_partition() -> None:
        with open_slide(slide.path) as fresh:
            for box in boxes:
                fresh.read(box)

    def write_tiles() -> None:
        for place, pixels in drawn.items():
            seg.writer.write_tile(place, pixels)

    def append() -> None:
        journal = Journal(folder / "journal.jsonl")
        for _ in range(LINES):
            journal.append(line)

    def find_whole_tissue() -> None:
        with open_slide(big) as whole:
            find_tissue(whole)

    windows = [window] * (common.FULL_BATCHES * model.coarse_batch)
    fines = [tile] * (common.FULL_BATCHES * model.refine_batch)
    calls: dict[str, tuple[Callable[[], object], int]] = {
        "core_s_per_window": (partial(model.coarse, windows), len(windows)),
        "core_s_per_tile": (partial(model.refine, fines), len(fines)),
        "core_s_per_read": (read_partition, len(boxes)),
        "core_s_per_chunk": (write_tiles, len(drawn)),
        "owner_s_per_partition": (append, LINES),
        "owner_s_per_slide": (find_whole_tissue, 1),
    }
    return {name: (partial(timed, call), number) for name, (call, number) in calls.items()}


def scaled(timing: Timing, number: int) -> Timing:
    """Seconds of one repetition."""
    return Timing(
        tuple(type(each)(each.wall / number, each.cpu / number) for each in timing.rounds)
    )


if __name__ == "__main__":
    main()
