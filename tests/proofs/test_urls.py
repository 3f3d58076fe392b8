"""By URL everything ends in the same bytes: slides read, results written, runs broken off."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import fsspec
import numpy as np
import pytest
import tifffile
import zarr
from tests.proofs.helpers import assert_same, outcome, tissue_pixels, write_tiff
from tests.servers import count_events, memory, object_store, web_server

from napari_twostage import Box, Segmentation, export, segment
from napari_twostage.cli.parser import main
from napari_twostage.errors import ExportError, SegmentationError, TransferError
from napari_twostage.io.url import Url
from napari_twostage.method.steps import ChipRefined, CoarseWindowDone
from napari_twostage.slides import open_slide

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers import WebServer

    from napari_twostage.models.model import Model

SIDE = 420
HALF = {"fraction": 0.5, "tissue": False}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_twostage.io.remote._PAUSE_S", 0.01)


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same real tissue as a TIFF and as OME-Zarr."""
    folder = tmp_path_factory.mktemp("slides")
    pixels = tissue_pixels(SIDE, SIDE)
    write_tiff(folder / "slide.tif", pixels)
    group = zarr.create_group(folder / "slide.ome.zarr")
    group.create_array("0", data=pixels, chunks=(128, 128, 3))
    units = {"type": "space", "unit": "micrometer"}
    scale = {"type": "scale", "scale": [0.5, 0.5, 1.0]}
    image = {
        "axes": [{"name": "y", **units}, {"name": "x", **units}, {"name": "c", "type": "channel"}],
        "datasets": [{"path": "0", "coordinateTransformations": [scale]}],
    }
    group.attrs["ome"] = {"version": "0.5", "multiscales": [image]}
    return folder


@pytest.fixture(scope="module")
def expected(slides: Path, model: Model) -> dict[str, Any]:
    """What a run on this machine's disk ends in."""
    return outcome(segment(slides / "slide.tif", model, slides / "local.zarr", **HALF))


@pytest.fixture
def server(slides: Path) -> Iterator[WebServer]:
    with web_server(slides) as running:
        yield running


@pytest.fixture
def bucket() -> Iterator[str]:
    with memory() as url:
        yield url


# -- slides by URL -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["slide.tif", "slide.ome.zarr"])
def test_labels_of_a_slide_by_url_are_those_of_the_file(
    name: str, server: WebServer, expected: dict[str, Any], model: Model, tmp_path: Path
) -> None:
    url = f"{server.url}/{name}"
    assert_same(outcome(segment(url, model, tmp_path / "out.zarr", **HALF)), expected)
    again = Segmentation.open(tmp_path / "out.zarr")
    assert again.record.slide.path == url
    assert str(again.slide.path) == url, "it is found again"


def test_a_run_over_the_file_goes_on_over_its_url(
    slides: Path, server: WebServer, expected: dict[str, Any], model: Model, tmp_path: Path
) -> None:
    segment(slides / "slide.tif", model, tmp_path / "out.zarr", refine="none", tissue=False)
    seg = segment(f"{server.url}/slide.tif", model, tmp_path / "out.zarr", **HALF)
    assert len(seg.record.runs) == 2
    assert_same(outcome(seg), expected)


@pytest.mark.parametrize("name", ["slide.tif", "slide.ome.zarr"])
def test_a_lost_connection_ends_the_run_and_fails_no_tile(
    name: str, server: WebServer, expected: dict[str, Any], model: Model, tmp_path: Path
) -> None:
    with open_slide(f"{server.url}/{name}", cache_bytes=1) as slide:
        slide.fingerprint()
        server.failures = [500] * 1000
        if name == "slide.tif":
            slide._file._held.clear()
        with pytest.raises(TransferError, match="try again"):
            segment(slide, model, tmp_path / "out.zarr", **HALF)
        server.failures = []
        seg = segment(slide, model, tmp_path / "out.zarr", **HALF)
    assert_same(outcome(seg), expected)
    assert not seg.failures


# -- results by URL ------------------------------------------------------------------------------


def test_a_result_by_url_is_the_one_on_disk(
    slides: Path, bucket: str, expected: dict[str, Any], model: Model
) -> None:
    out = f"{bucket}/slide.twostage.zarr"
    steps = []
    seg = segment(slides / "slide.tif", model, out, progress=steps.append, **HALF)
    assert {CoarseWindowDone, ChipRefined} <= {type(step) for step in steps}
    assert_same(outcome(seg), expected)
    assert_same(outcome(Segmentation.open(out)), expected)
    assert str(seg.path) == out


def test_whatever_is_done_with_a_result_on_disk_is_done_by_url(
    slides: Path, bucket: str, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_twostage.engine.runner.OVERVIEW_LIMIT_PX", 1000)  # with a pyramid
    monkeypatch.setattr("napari_twostage.slides.pyramid.COARSE_ENOUGH_PX", 100)
    found = []
    for out in (tmp_path / "out.zarr", f"{bucket}/out.zarr"):
        segment(slides / "slide.tif", model, out, refine="none", tissue=False)
        seg = Segmentation.open(out)
        seg.refine(seg.plan(fraction=0.3))
        seg.edit(Box(30, 40, 90, 200), np.ones((60, 160), np.uint8))
        seg.edit(Box(300, 300, 310, 310), np.ones((10, 10), np.uint8))
        assert seg.undo_edit()
        Segmentation.open(out).refine(seg.plan(fraction=0.6))
        assert (seg.pyramid_folder / "complete.json").exists()
        found.append(outcome(Segmentation.open(out)))
    assert_same(found[1], found[0])
    assert found[0]["labels 0"][30:90, 40:200].all()


def test_a_store_that_goes_away_costs_what_was_on_its_way(
    slides: Path, bucket: str, expected: dict[str, Any], model: Model
) -> None:
    out = f"{bucket}/out.zarr"
    for most in (20, 10, 5):
        with _writes_left(most), pytest.raises(TransferError, match="the store is gone"):
            segment(slides / "slide.tif", model, out, **HALF)
    assert_same(outcome(segment(slides / "slide.tif", model, out, **HALF)), expected)


@contextmanager
def _writes_left(most: int) -> Iterator[None]:
    """Let the store take so many objects more while the block runs."""
    store = fsspec.get_filesystem_class("memory")
    put, left = store.pipe_file, iter(range(most))

    def pipe_file(self: Any, *given: Any, **options: Any) -> None:
        if next(left, None) is None:
            raise ConnectionError("the store is gone")
        put(self, *given, **options)

    with pytest.MonkeyPatch.context() as broken:
        broken.setattr(store, "pipe_file", pipe_file)
        yield


def test_what_stands_at_a_url_is_not_overwritten_unasked(
    slides: Path, bucket: str, model: Model
) -> None:
    out = f"{bucket}/out.zarr"
    slide = slides / "slide.tif"
    Url(f"{out}/letter.txt").write_bytes(b"dear")
    for overwrite in (False, True):
        with pytest.raises(SegmentationError, match=r"out\.zarr is no result folder"):
            segment(slide, model, out, overwrite=overwrite, **HALF)
    assert Url(f"{out}/letter.txt").read_bytes() == b"dear"

    Url(out).remove_tree()
    segment(slide, model, out, refine="none", tissue=False)
    with pytest.raises(SegmentationError, match="choose another output folder"):
        segment(slide, model, out, refine="none")
    seg = segment(slide, model, out, refine="none", tissue=False, overwrite=True)
    assert len(seg.record.runs) == 1


def test_a_result_whose_making_was_cut_short_is_made_anew(
    slides: Path, bucket: str, expected: dict[str, Any], model: Model
) -> None:
    out = f"{bucket}/out.zarr"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("napari_twostage.result.result_files.write_record", _die)
        with pytest.raises(KeyboardInterrupt):
            segment(slides / "slide.tif", model, out, **HALF)
    assert list(Url(out).iterdir())
    assert_same(outcome(segment(slides / "slide.tif", model, out, **HALF)), expected)


def _die(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_result_on_a_web_server_is_read_and_not_changed(
    server: WebServer, expected: dict[str, Any]
) -> None:
    seg = Segmentation.open(f"{server.url}/local.zarr")
    assert_same(outcome(seg), expected)
    with pytest.raises(TransferError, match="takes no files"):
        seg.edit(Box(0, 0, 9, 9), np.ones((9, 9), np.uint8))
    with pytest.raises(SegmentationError, match=r"is no result folder|does not exist"):
        Segmentation.open(f"{server.url}/none.zarr")


# -- files by URL ----------------------------------------------------------------------------------


def test_exports_to_a_url_are_those_to_a_disk(
    slides: Path, bucket: str, expected: dict[str, Any], tmp_path: Path
) -> None:
    seg = Segmentation.open(slides / "local.zarr")
    for name in ("a.geojson", "a.areas.csv", "a.objects.csv"):
        written = export(seg, f"{bucket}/{name}")
        assert str(written) == f"{bucket}/{name}"
        assert written.read_bytes() == export(seg, tmp_path / name).read_bytes()
    for _ in range(2):  # the second takes the first's place
        export(seg, f"{bucket}/labels.ome.zarr")
    store = fsspec.filesystem("memory").get_mapper("/bucket/labels.ome.zarr")
    group = zarr.open_group(store, mode="r")
    assert np.array_equal(group["0"][:], expected["labels 0"])
    export(seg, f"{bucket}/labels.ome.tif")
    data = Url(f"{bucket}/labels.ome.tif").read_bytes()
    (tmp_path / "copy.ome.tif").write_bytes(data)
    assert np.array_equal(tifffile.imread(tmp_path / "copy.ome.tif"), expected["labels 0"])

    Url(f"{bucket}/mine.ome.zarr/letter.txt").write_bytes(b"dear")
    with pytest.raises(ExportError, match="no export made"):
        export(seg, f"{bucket}/mine.ome.zarr")


def test_the_command_line_takes_urls(
    server: WebServer, bucket: str, expected: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    slide, out = f"{server.url}/slide.tif", f"{bucket}/out.zarr"
    options = ["--fraction", "0.5", "--no-tissue", "--quiet", "--json"]
    assert main(["info", slide, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "slide.tif"
    assert main(["segment", slide, "--out", out, *options]) == 0
    assert json.loads(capsys.readouterr().out)["out"] == out
    assert main(["info", out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["record"]["slide"]["path"] == slide
    assert main(["export", out, f"{bucket}/a.geojson", "--quiet"]) == 0
    assert Url(f"{bucket}/a.geojson").exists()
    assert_same(outcome(Segmentation.open(out)), expected)
    assert main(["info", f"{server.url}/none.svs"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


# -- an object store -------------------------------------------------------------------------------


@pytest.mark.slow
def test_killed_runs_on_an_object_store_end_in_the_same_bytes(
    slides: Path, expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("moto")
    with object_store(monkeypatch) as bucket:
        slide, out = f"{bucket}/slides/slide.tif", f"{bucket}/out.twostage.zarr"
        Url(slide).upload(slides / "slide.tif")
        for lines in (1, 3, 5):
            child = _start(slide, out)
            while child.poll() is None and count_events(Url(out)) < lines:
                time.sleep(0.02)
            child.kill()
            assert child.wait() == (1 if os.name == "nt" else -signal.SIGKILL)
            assert count_events(Url(out)) >= lines
        assert _start(slide, out).wait() == 0
        seg = Segmentation.open(out)
        assert_same(outcome(seg), expected)
        assert list(Url(f"{out}/journal").iterdir()), "each run wrote an object of its own"
        export(seg, f"{bucket}/labels.ome.zarr")
        assert export(seg, f"{bucket}/a.areas.csv").read_bytes().count(b"\n") == 2
        with pytest.raises(TransferError, match="make its bucket"):
            export(seg, "s3://none/a.areas.csv")


def _start(slide: str, out: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "napari_twostage", "segment", slide, "--out", out]
    options = ["--fraction", "0.5", "--no-tissue", "--quiet"]
    return subprocess.Popen([*command, *options], env=dict(os.environ), stdout=subprocess.DEVNULL)
