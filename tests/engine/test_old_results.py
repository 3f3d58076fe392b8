"""Result folders made by version 0.1, before modules and records were typed, still work."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import tifffile
from tests.fakes import CLASSES, MPP, FakeModel, make_card

from napari_twostage import Segmentation, export, open_slide, segment

FIXTURES = Path(__file__).parents[1] / "fixtures"
EXPORTS = "labels.geojson", "areas.csv", "objects.csv", "labels.ome.tif"
EXPECTED = json.loads((FIXTURES / "expected.json").read_text(encoding="utf-8"))
"""Hashes of what version 0.1 read and exported: of images their pixels, of tables their rows."""
COLUMNS = {"areas.csv": 6, "objects.csv": 15}
"""Columns of each table that version 0.1 had."""
MEASUREMENTS = {"Area um^2", "Refined fraction"}
"""Measurements of objects that version 0.1 had."""


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def hashes(seg: Segmentation, folder: Path) -> dict[str, str]:
    """Hashes of what was exported, and of the labels; objects may come in any order."""
    found = {name: digest(content(export(seg, folder / name))) for name in EXPORTS}
    return found | {"labels": digest(seg.labels[0].compute().tobytes())}


def content(file: Path) -> bytes:
    if file.suffix == ".tif":
        return tifffile.imread(file).tobytes()
    if file.suffix == ".geojson":
        features = json.loads(file.read_text(encoding="utf-8"))["features"]
        for one in features:
            measured = one["properties"]["measurements"]
            one["properties"]["measurements"] = {name: measured[name] for name in MEASUREMENTS}
        return "\n".join(sorted(json.dumps(one, sort_keys=True) for one in features)).encode()
    rows = file.read_text(encoding="utf-8").splitlines()
    rows = [",".join(row.split(",")[: COLUMNS[file.name]]) for row in rows]
    return "\n".join(sorted(rows)).encode()


@pytest.fixture
def slide_file(tmp_path: Path) -> Path:
    return Path(shutil.copy(FIXTURES / "slide.tif", tmp_path))


def unpacked(name: str, folder: Path) -> Path:
    shutil.unpack_archive(FIXTURES / f"{name}.twostage.zarr.zip", folder)
    return folder / f"{name}.twostage.zarr"


def test_a_finished_result_opens_and_exports_to_the_same_bytes(
    slide_file: Path, tmp_path: Path
) -> None:
    slide = open_slide(slide_file, mpp=MPP)
    seg = Segmentation.open(unpacked("finished", tmp_path), slide=slide)
    assert seg.edit_boxes  # one stands, one was taken back
    assert hashes(seg, tmp_path) == EXPECTED["finished"]
    before = json.loads((seg.path / "record.json").read_bytes())
    now = json.loads(json.dumps(seg.record.as_dict()))
    assert now["parameters"].pop("picture") == {}  # where it had a channel
    assert before["parameters"].pop("channel") is None
    assert now["slide"].pop("seen_from_result") is None
    assert now == before


@pytest.mark.parametrize("name", ["finished", "stopped"])
def test_a_result_resumes_to_the_same_bytes(name: str, slide_file: Path, tmp_path: Path) -> None:
    slide, model = open_slide(slide_file, mpp=MPP), FakeModel(make_card(classes=CLASSES))
    seg = segment(slide, model, unpacked(name, tmp_path), refine="all", tissue=False)
    found = hashes(seg, tmp_path) | {"scores": digest(seg.scores.tobytes())}
    assert found == EXPECTED[f"{name}, then all refined"]
    assert [past.finished for past in seg.record.runs] == [name == "finished", True]
