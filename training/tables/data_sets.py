"""Table 2: size and content of the data sets."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from tqdm import tqdm

from napari_twostage.training.datasets import DatasetError, load_dataset
from napari_twostage.training.evaluation.table import Table, percent
from training.tables.printed import read_printed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from napari_twostage.training.datasets import Sample

FIGURES = ("images", "mean size (px)", "foreground (%)")
HEADER = ("data set", *(f"{name}{whose}" for name in FIGURES for whose in ("", ", paper")))
CAPTION = (
    "All images of both splits of the folders at hand; size is height × width; foreground is each "
    "image's share of pixels, averaged over images. "
    "BOWL as published has 670 images of 334 × 378.5 px and 13.9 % foreground."
)


class DataSetFacts(NamedTuple):
    """A row of the paper's table 2."""

    images: int
    mean_height: float
    """In pixels."""
    mean_width: float
    """In pixels."""
    foreground: float
    """Share of pixels of any class, in [0, 1]: per image, then averaged over images."""


def describe_samples(samples: Iterable[Sample]) -> DataSetFacts:
    """Measure a data set; every sample is decoded once, and none is kept.

    Raises
    ------
    DatasetError
        If there is no sample.
    """
    rows = [(*sample.mask.shape, (sample.mask > 0).mean()) for sample in samples]
    if not rows:
        raise DatasetError("there is no image to describe")
    height, width, foreground = np.mean(rows, axis=0).tolist()
    return DataSetFacts(len(rows), height, width, foreground)


def make_table2(data: Sequence[tuple[str, str, Path]]) -> Table:
    """Measure data sets, given as (name, layout, folder); list the paper's others as printed."""
    paper = read_printed("table2")
    table = Table("table2", HEADER, CAPTION)
    for name, layout, folder in data:
        samples = load_dataset(layout, folder, "all")
        facts = describe_samples(tqdm(samples, desc=name, unit="image"))
        ours = (
            str(facts.images),
            f"{facts.mean_height:.0f} × {facts.mean_width:.0f}",
            percent(facts.foreground),
        )
        row = {"data set": name, **dict(zip(FIGURES, ours, strict=True))}
        table.add(row | _print(paper.pop(name, None)))
    for name, printed in paper.items():
        table.add({"data set": name} | _print(printed))
    return table


def _print(printed: dict[str, float] | None) -> dict[str, str]:
    """Printed cells of a data set; empty for one that the paper does not have."""
    if printed is None:
        return {}
    theirs = (
        str(printed["images"]),
        f"{printed['height']} × {printed['width']}",
        f"{printed['foreground']:.1f}",
    )
    return {f"{name}, paper": cell for name, cell in zip(FIGURES, theirs, strict=True)}
