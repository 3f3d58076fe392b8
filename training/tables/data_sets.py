"""Table 2: what the data sets hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tqdm import tqdm

from napari_twostage.training.datasets import describe, load_dataset
from training.tables.table import Table, percent, read_paper

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FIGURES = ("images", "mean size (px)", "foreground (%)")
HEADER = ("data set", *(f"{name}{whose}" for name in FIGURES for whose in ("", ", paper")))
CAPTION = (
    "All images of both splits of the folders at hand; size is height × width; foreground is each "
    "image's share of pixels, averaged over images. "
    "BOWL as published has 670 images of 334 × 378.5 px and 13.9 % foreground."
)


def make_table2(data: Sequence[tuple[str, str, Path]]) -> Table:
    """Measure data sets, given as (name, layout, folder); the paper's others stand without ours."""
    paper = read_paper("table2")
    table = Table("table2", HEADER, CAPTION)
    for name, layout, folder in data:
        samples = load_dataset(layout, folder, "all")
        facts = describe(tqdm(samples, desc=name, unit="image"))
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
    """The paper's cells of a data set; none of one that it does not have."""
    if printed is None:
        return {}
    theirs = (
        str(printed["images"]),
        f"{printed['height']} × {printed['width']}",
        f"{printed['foreground']:.1f}",
    )
    return {f"{name}, paper": cell for name, cell in zip(FIGURES, theirs, strict=True)}
