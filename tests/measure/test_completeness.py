"""What is missing from a result whose run was stopped, wherever it was stopped."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import tifffile
from tests.fakes import FakeModel, damage, noise_slide

from napari_twostage import export, iter_segment, segment
from napari_twostage.engine.segmentation import Segmentation
from napari_twostage.errors import UnfinishedError
from napari_twostage.geometry import Box
from napari_twostage.measure.completeness import completeness
from napari_twostage.measure.summary import summarise, summary_lines
from napari_twostage.method.steps import ChipRefined, CoarsePassStarted, CoarseWindowDone
from napari_twostage.result.record_parts import RunRecord

if TYPE_CHECKING:
    from pathlib import Path


def stopped(path: Path, kind: type, count: int, *, side: int = 90) -> Segmentation:
    """A result whose run was stopped after so many steps of a kind."""
    slide = noise_slide(side, side)
    steps = iter_segment(slide, FakeModel(), path, tissue=False, refine="all")
    for step in steps:
        count -= isinstance(step, kind)
        if not count:
            break
    steps.close()
    return Segmentation.open(path, slide=slide, model=FakeModel())


def test_a_finished_result_lacks_nothing(tmp_path: Path) -> None:
    seg = segment(noise_slide(), FakeModel(), tmp_path / "a.zarr", tissue=False, fraction=0.2)
    found = completeness(seg)
    assert found.complete
    assert found.missing() == {}
    assert found.describe() == ""
    assert found.windows_done == found.windows_needed > 1
    assert summarise(seg)["complete"]


def test_a_run_stopped_in_the_coarse_pass_counts_windows_and_tells_no_dice(tmp_path: Path) -> None:
    seg = stopped(tmp_path / "a.zarr", CoarseWindowDone, 3, side=900)
    found = completeness(seg)
    assert not found.complete
    assert 3 <= found.windows_done < found.windows_needed
    assert found.missing()["coarse_windows"] == {
        "done": found.windows_done,
        "needed": found.windows_needed,
    }
    summary = summarise(seg)
    assert summary["expected_dice"] is None
    assert not summary["complete"]
    text = "\n".join(summary_lines(summary))
    assert f"coarse pass {found.windows_done} of {found.windows_needed} windows" in text
    assert "Dice" not in text


def test_a_run_stopped_before_the_first_window_says_so(tmp_path: Path) -> None:
    seg = stopped(tmp_path / "a.zarr", CoarsePassStarted, 1)
    assert completeness(seg).missing()["coarse_windows"]["done"] == 0
    assert summarise(seg)["expected_dice"] is None
    with pytest.raises(UnfinishedError, match="holds no labels yet"):
        export(seg, tmp_path / "a.geojson")
    assert not (tmp_path / "a.geojson").exists()


def test_a_run_stopped_while_refining_counts_the_tiles_it_selected(tmp_path: Path) -> None:
    seg = stopped(tmp_path / "a.zarr", ChipRefined, 2)
    found = completeness(seg)
    tiles = seg.states.size
    assert found.coarse_complete
    assert not found.complete
    assert found.tiles_selected == tiles
    assert found.tiles_left == tiles - int(seg.refined.sum()) > 0
    assert f"{found.tiles_left} of {tiles} selected tiles not refined" in found.describe()
    assert summarise(seg)["expected_dice"] is not None
    seg.refine(seg.plan(fraction=1.0))
    assert completeness(seg).complete


def test_a_run_that_was_killed_is_not_finished(tmp_path: Path) -> None:
    seg = segment(noise_slide(), FakeModel(), tmp_path / "a.zarr", tissue=False, fraction=0.2)
    seg._files.record = replace(seg.record, runs=())  # as kill -9 leaves it
    found = completeness(seg)
    assert not found.complete
    assert found.tiles_left is None
    assert "not recorded" in found.describe()


def test_failed_tiles_are_missing(tmp_path: Path) -> None:
    slide = noise_slide()
    slide.fingerprint()  # of the slide before it broke
    damage(slide, Box(40, 56, 42, 58))
    seg = segment(slide, FakeModel(), tmp_path / "a.zarr", tissue=False, refine="all")
    found = completeness(seg)
    assert not found.complete
    assert found.missing() == {"failed_tiles": 1}
    assert "1 tile failed" in found.describe()


def test_exports_of_a_stopped_run_say_what_is_missing(tmp_path: Path) -> None:
    seg = stopped(tmp_path / "a.zarr", ChipRefined, 2)
    words = completeness(seg).describe()
    names = ("a.geojson", "a.ome.zarr", "a.ome.tif", "areas.csv", "a.png")
    files = {name: export(seg, tmp_path / name) for name in names}
    collection = json.loads(files["a.geojson"].read_text(encoding="utf-8"))
    assert collection["napari-twostage"]["unfinished"] == words
    attributes = json.loads((files["a.ome.zarr"] / "zarr.json").read_bytes())["attributes"]
    assert attributes["napari-twostage"]["complete"] is False
    with tifffile.TiffFile(files["a.ome.tif"]) as tif:
        assert words in (tif.ome_metadata or "")
    header, row, *_ = files["areas.csv"].read_text(encoding="utf-8").splitlines()
    assert header.endswith(",unfinished")
    assert words in row
    assert words.encode() in files["a.png"].read_bytes()


def test_a_run_that_was_killed_has_no_seconds(tmp_path: Path) -> None:
    seg = segment(noise_slide(), FakeModel(), tmp_path / "a.zarr", tissue=False, fraction=0.2)
    before = summarise(seg)["seconds"]
    seg.writer.record_run(RunRecord.begin(seg.model, {}))  # and no more
    assert summarise(seg)["seconds"] == before
