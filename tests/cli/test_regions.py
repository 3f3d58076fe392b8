"""Annotations of a file are segmented, refined and measured by the command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import tifffile

import napari_twostage as ts
from napari_twostage.cli.parser import main
from napari_twostage.measure.areas import areas
from napari_twostage.samples import sample_slide

if TYPE_CHECKING:
    from pathlib import Path

SIDE = 1000
"""Coarse windows of the model take 768 × 768 pixels."""
BASE = ("--model", "nuclei", "--device", "cpu", "--no-tissue", "--quiet", "--refine", "none")


def annotations(path: Path, **squares: tuple[int, int, int, int]) -> Path:
    """Rectangles (top, left, height, width) by name, as QuPath writes them."""
    features = []
    for name, (top, left, height, width) in squares.items():
        y, x = top + height, left + width
        ring = [[left, top], [x, top], [x, y], [left, y], [left, top]]
        features.append(
            {
                "type": "Feature",
                "id": name,
                "geometry": {"type": "Polygon", "coordinates": [ring]},
                "properties": {"objectType": "annotation", "name": name},
            }
        )
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def test_regions_of_a_file_are_segmented_one_after_the_other_and_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slide, out = tmp_path / "crop.tif", tmp_path / "crop.zarr"
    pixels = tifffile.imread(sample_slide(), key=0)[1200 : 1200 + SIDE, 800 : 800 + SIDE]
    resolution = {"resolution": (2e4, 2e4), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(slide, pixels, photometric="rgb", **resolution)

    def run(verb: str, *words: object, code: int = 0) -> dict:
        capsys.readouterr()
        assert main([verb, *map(str, words), "--json"]) == code
        return json.loads(capsys.readouterr().out)

    tumour = annotations(tmp_path / "a.geojson", tumour=(20, 30, 200, 220))
    stroma = annotations(tmp_path / "b.geojson", stroma=(790, 790, 200, 200))
    first = run("segment", slide, "--out", out, *BASE, "--region", tumour)
    assert not first["whole_slide"]
    assert main(["refine", str(out), "--region", str(stroma), "--quiet"]) == 1
    assert "stroma is not segmented yet" in capsys.readouterr().err
    both = run("segment", slide, "--out", out, *BASE, "--region", stroma)
    assert [one["name"] for one in both["regions"]] == ["tumour", "stroma"]
    assert both["regions"][0] == first["regions"][0]
    refined = run("refine", out, "--region", tumour, "--device", "cpu", "--quiet")
    assert 0 < refined["tiles"]["refined"] < refined["tiles"]["tissue"]
    assert main(["info", str(out)]) == 0
    assert "region     tumour 0.011 mm²; nucleus " in capsys.readouterr().out

    bound = ts.segment(
        ts.open_slide(slide), "nuclei", tmp_path / "bound.zarr", tissue=False, refine="all",
        region=ts.Box.at(20, 30, 200, 220),
    )  # fmt: skip
    (nuclei,) = areas(bound)
    found = refined["regions"][0]
    assert found["nucleus: objects"] == nuclei.objects > 0
    assert found["nucleus: area mm^2"] == pytest.approx(nuclei.area_mm2)
    assert found["nucleus: % of tissue"] == pytest.approx(100 * nuclei.tissue_fraction)
