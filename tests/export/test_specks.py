"""Specks on the real sample slide: one rule for the panel, the tables, GeoJSON and the record."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import ndimage

import napari_twostage as ts
from napari_twostage.measure.areas import areas
from napari_twostage.measure.summary import summarise, summary_lines
from napari_twostage.method.instances import separate
from napari_twostage.samples import sample_slide

if TYPE_CHECKING:
    from pathlib import Path

LEAST_PX = 33
"""8 µm² in pixels of 0.499 µm, rounded up."""


@pytest.fixture(scope="module")
def seg(tmp_path_factory: pytest.TempPathFactory) -> ts.Segmentation:
    out = tmp_path_factory.mktemp("specks") / "sample.zarr"
    return ts.segment(sample_slide(), "nuclei", out, refine="none")


@pytest.fixture(scope="module")
def sizes(seg: ts.Segmentation) -> np.ndarray:
    """Pixels of each object of the whole plane, with its small holes filled by scipy."""
    box = seg.grid.box
    numbers = separate(seg.read_labels(box), seg.read_depth(box))
    return np.array(
        [
            filled(numbers[place] == number)
            for number, place in enumerate(ndimage.find_objects(numbers), start=1)
        ]
    )


def filled(mask: np.ndarray) -> int:
    holes, _ = ndimage.label(~np.pad(mask, 1))
    pixels = np.bincount(holes.ravel())[1:]
    pixels[holes[0, 0] - 1] = LEAST_PX  # what is around the region is no hole
    return int(mask.sum() + pixels[pixels < LEAST_PX].sum())


def test_every_place_counts_the_same_nuclei(
    seg: ts.Segmentation, sizes: np.ndarray, tmp_path: Path
) -> None:
    large = sizes >= LEAST_PX
    specks = int((~large).sum())
    assert specks > 100
    assert seg.least_object_um2 == 8

    (nuclei,) = areas(seg)
    assert (nuclei.objects, nuclei.left_out) == (large.sum(), specks)
    assert nuclei.pixels == sizes[large].sum()

    with ts.export(seg, tmp_path / "areas.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (int(row["objects"]), int(row["left_out"])) == (large.sum(), specks)
    assert (row["least_object_um2"], int(row["pixels"])) == ("8", sizes[large].sum())

    with ts.export(seg, tmp_path / "objects.csv").open(encoding="utf-8", newline="") as file:
        listed = [float(row["area_um2"]) for row in csv.DictReader(file)]
    assert sorted(listed) == pytest.approx(np.sort(sizes[large]) * 0.499**2, abs=1e-3)

    collection = json.loads(ts.export(seg, tmp_path / "a.geojson").read_text())
    assert len(collection["features"]) == large.sum()
    note = collection["napari-twostage"]
    assert note == {"least_object_um2": 8.0, "left_out": {"nucleus": specks}}

    summary = summarise(seg)
    assert summary["classes"][0]["objects"] == large.sum()
    assert f"{specks:,} specks below 8 µm² left out" in "\n".join(summary_lines(summary))


def test_nothing_is_left_out_where_that_is_asked_for(
    seg: ts.Segmentation, sizes: np.ndarray, tmp_path: Path
) -> None:
    (nuclei,) = areas(seg, least_object_um2=0)
    assert (nuclei.objects, nuclei.left_out) == (len(sizes), 0)
    assert nuclei.pixels == seg.read_labels(seg.grid.box).sum()
    path = ts.export(seg, tmp_path / "a.geojson", least_object_um2=0)
    collection = json.loads(path.read_text())
    assert len(collection["features"]) == len(sizes)
    assert "napari-twostage" not in collection
