"""Quality of a model, set by set and group by group, as users get it from the engine.

``python -m training.quality CONFIG --data DATA --model MODEL --outside MoNuSeg=0.25 --out FOLDER``.
Images of the run's sets are those of --split, images of other sets are all there are. With
--read-at, images of a known pixel size are read as slides of that one.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import ndimage
from skimage.segmentation import watershed
from tqdm import tqdm

from napari_twostage.engine.api import segment
from napari_twostage.errors import TwoStageError
from napari_twostage.measure.blocks import read_pixels
from napari_twostage.method.instances import HIGHEST, SEED
from napari_twostage.method.selection import EVERYTHING, Selection
from napari_twostage.models import load_model
from napari_twostage.models.bundle import write_card
from napari_twostage.slides import open_slide
from napari_twostage.training.config import ConfigError, load_config
from napari_twostage.training.datasets.objects import read_instances
from napari_twostage.training.datasets.resize import nearest
from napari_twostage.training.evaluation.metrics import bootstrap_interval, mean_dice
from napari_twostage.training.evaluation.object_quality import (
    ObjectQuality,
    compare_objects,
    total,
)
from napari_twostage.training.evaluation.outcomes import Cost
from napari_twostage.training.evaluation.table import NOTHING, Table, percent
from napari_twostage.training.run.images import open_groups
from training.model_options import add_model_options, outside_sets

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_twostage.engine.segmentation import Segmentation
    from napari_twostage.models.model import Model
    from napari_twostage.training.config import TrainConfig
    from napari_twostage.training.datasets import Sample

STATES = ("stage 1", "default", "every tile")
WAYS = ("connected regions", "watershed", "links")


class Result(NamedTuple):
    """One image in the three states of a result."""

    group: str
    dice: tuple[float, ...]
    """By state."""
    refined: int
    """Tiles that the default threshold refines, ..."""
    tiles: int
    """... of all tiles."""
    pixels: int
    """Fine pixels."""
    objects: tuple[ObjectQuality, ...]
    """Of every tile refined, by the way objects are told apart; empty without true ones."""


@dataclass(frozen=True)
class Reading:
    """Images of one set, read as slides of one pixel size."""

    source: str
    stated_mpp: float | None
    """Micrometres per pixel of its images, as the configuration has it."""
    mpp: float
    """Micrometres per pixel that they were resampled to."""
    samples: Sequence[Sample]
    groups: Sequence[str]
    instances: Path
    """Folder of the true objects, if there are any."""

    @property
    def name(self) -> tuple[str, ...]:
        """Cells of its rows: the set, and its pixel sizes."""
        stated = NOTHING if self.stated_mpp is None else f"{self.stated_mpp:g}"
        return self.source, stated, f"{self.mpp:g}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write the tables; returns 2 for errors that the user can correct."""
    parser = argparse.ArgumentParser(prog="python -m training.quality", description=__doc__)
    add_model_options(parser)
    parser.add_argument("--split", default="test")
    parser.add_argument("--read-at", nargs="*", type=float, default=[], metavar="MPP")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="take every N-th image")
    parser.add_argument("--out", type=Path, required=True, help="folder of the tables")
    parser.add_argument("--write-card", action="store_true", help="put the figures into the card")
    options = parser.parse_args(arguments)
    if options.write_card and (options.read_at or options.every > 1):
        parser.error("--write-card needs all images as they are: leave out --read-at and --every")
    try:
        config = load_config(options.config)
        model = load_model(options.model, device=options.device, precision="f32")
        readings = list(_readings(config, options))
        results = {reading.name: measure(model, reading, options.every) for reading in readings}
    except TwoStageError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    for table in (
        set_table(results, Cost.of(model.card)),
        group_table(results),
        object_table(results),
    ):
        table.write(options.out)
        sys.stdout.write(f"{table.to_markdown()}\n")
    if options.write_card:
        _write_card(model, results)
    return 0


def _readings(config: TrainConfig, options: argparse.Namespace) -> Iterator[Reading]:
    """Every set at its own pixel size, and at each of --read-at."""
    fine_mpp = config.data.mpp
    if fine_mpp is None or not config.data.sets:
        raise ConfigError("expected an mpp and sets in [data], to know what is read how")
    outside = outside_sets(options.outside)
    for split, sets in ((options.split, config.data.sets), ("all", outside)):
        for entry in sets:
            for mpp in options.read_at or [fine_mpp]:
                if entry.mpp is None and mpp != fine_mpp:
                    continue
                data = replace(config.data, split=split, sets=(entry,), mpp=mpp)
                ((samples, groups),) = open_groups(replace(config, data=data), options.data)
                folder = options.data / entry.folder / "instances"
                yield Reading(entry.folder, entry.mpp, mpp, samples, groups, folder)


def measure(model: Model, reading: Reading, every: int) -> list[Result]:
    """Run the engine over the images of a set."""
    places = range(0, len(reading.samples), every)
    named = " ".join(reading.name)
    return [
        run(model, reading, reading.samples[place], reading.groups[place])
        for place in tqdm(places, desc=named, unit="image")
    ]


def run(model: Model, reading: Reading, sample: Sample, group: str) -> Result:
    """Segment one image: the coarse pass, the default threshold, and every tile."""
    slide = open_slide(sample.image, mpp=(reading.mpp, reading.mpp))
    with tempfile.TemporaryDirectory() as folder:
        seg = segment(slide, model, Path(folder) / "result.zarr", tissue=False, refine="none")
        dice = [_dice(seg, sample)]
        refined = seg.plan(threshold=model.card.default_threshold).n_tiles
        for chosen in (Selection(threshold=model.card.default_threshold), EVERYTHING):
            seg.refine(chosen)
            dice.append(_dice(seg, sample))
        objects = _objects(seg, reading, sample)
        return Result(group, tuple(dice), refined, seg.scores.size, seg.grid.box.area, objects)


def _dice(seg: Segmentation, sample: Sample) -> float:
    """Dice of the labels, brought to the image's pixels."""
    labels = seg.read_labels(seg.grid.box)
    return mean_dice(nearest(labels, sample.mask.shape), sample.mask, len(seg.card.classes))


def _objects(seg: Segmentation, reading: Reading, sample: Sample) -> tuple[ObjectQuality, ...]:
    """Compare the objects of a result with the true ones, on the grid of the labels."""
    path = reading.instances / f"{Path(sample.name).stem}.png"
    if not path.is_file() or not seg.tells_objects_apart:
        return ()
    true = nearest(read_instances(path), seg.grid.shape)
    box = seg.grid.box
    labels, depth = seg.read_labels(box), seg.read_depth(box)
    middles = ndimage.label((depth > SEED * HIGHEST) & (labels > 0))[0]
    regions = ndimage.label(labels > 0)[0]
    split = watershed(-depth.astype(float), middles, mask=labels > 0)
    split[(split == 0) & (labels > 0)] = -1  # of no middle: one object for each region
    linked = read_pixels(seg, box, seg.states).items
    least = round(seg.card.least_object_um2 / np.prod(seg.grid.mpp))
    found = (regions, np.where(split < 0, split.max() + regions, split), linked)
    return tuple(compare_objects(numbers, true, least_px=least) for numbers in found)


Results = dict[tuple[str, ...], list[Result]]
"""Results by `Reading.name`."""
NAMES = ("set", "pixels, µm", "read at, µm")


def set_table(results: Results, cost: Cost) -> Table:
    """Mean Dice per image of each set in the three states, and what the default costs."""
    table = Table(
        "sets",
        (*NAMES, "images", *STATES, "default, 95 %", "tiles refined", "MACs / dense"),
        "Mean Dice per image of stage 1 alone, the default threshold, and every tile refined; the "
        "share of tiles that the default refines, and its cost as a share of stage 2 everywhere",
    )
    for name, images in results.items():
        dice = np.array([image.dice for image in images])
        low, high = bootstrap_interval(dice[:, 1].tolist())
        cells = (*name, str(len(images)), *map(percent, dice.mean(axis=0)))
        refined, tiles, pixels = (
            sum(getattr(image, part) for image in images) for part in ("refined", "tiles", "pixels")
        )
        spent = (pixels * cost.coarse + refined * cost.tile) / (pixels * cost.dense)
        interval = f"{percent(low)} to {percent(high)}"
        table.rows.append((*cells, interval, percent(refined / tiles), f"{spent:.2f}"))
    return table


def group_table(results: Results) -> Table:
    """Mean Dice per image of each slide, organ or patient with more than one image."""
    table = Table("groups", (*NAMES, "group", "images", *STATES))
    for name, images in results.items():
        grouped = defaultdict(list)
        for image in images:
            grouped[image.group].append(image.dice)
        for group, dice in sorted(grouped.items()):
            if len(dice) > 1:
                means = map(percent, np.mean(dice, axis=0))
                table.rows.append((*name, group.split(";")[0], str(len(dice)), *means))
    return table


def object_table(results: Results) -> Table:
    """F1, PQ and AJI of the objects of each set, by the way they are told apart."""
    table = Table(
        "objects",
        (*NAMES, "images", *WAYS),
        "F1 at an IoU of 0.5 / PQ / AJI of all images together, every tile refined",
    )
    for name, images in results.items():
        counted = [image.objects for image in images if image.objects]
        cells = [_quality(total(way)) for way in zip(*counted, strict=True)]
        row = (*name, str(len(counted)), *(cells or [NOTHING] * len(WAYS)))
        table.rows.append(row)
    return table


def _write_card(model: Model, results: Results) -> None:
    metrics = {}
    for name, images in results.items():
        values = np.mean([image.dice for image in images], axis=0)
        listed = ", ".join(
            f"{state} {percent(value)}" for state, value in zip(STATES, values, strict=True)
        )
        source, stated, _ = name
        size = "" if stated == NOTHING else f" of {stated} µm"
        metrics[f"{source}, {len(images)} images{size}"] = f"Dice per image: {listed}"
    write_card(model.bundle.path, replace(model.card, metrics=metrics))


def _quality(objects: ObjectQuality) -> str:
    values = (objects.f1, objects.panoptic_quality, objects.aggregated_jaccard)
    return " / ".join(map(percent, values))


if __name__ == "__main__":
    sys.exit(main())
