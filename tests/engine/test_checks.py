"""Arguments of a run that are refused before anything is made."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
import tifffile
from tests.fakes import MPP, FakeModel, noise, noise_slide
from tests.proofs.helpers import write_tiff

from napari_twostage import segment
from napari_twostage.engine.batch import TABLE, segment_all
from napari_twostage.engine.checks import require_picture, same_tissue
from napari_twostage.engine.options import RunOptions
from napari_twostage.errors import (
    ClusterError,
    LocationError,
    ModelError,
    SegmentationError,
    SelectionError,
    SlideError,
    StorageError,
    TwoStageError,
)
from napari_twostage.method.selection import Selection
from napari_twostage.result.record_parts import Parameters, TissueRecord
from napari_twostage.slides import open_slide
from napari_twostage.slides.picture import Picture

if TYPE_CHECKING:
    from napari_twostage.result.record import Record

SETTINGS: dict[str, Any] = {"tissue": False, "refine": "none"}

MISUSED: dict[str, tuple[dict[str, Any], type[TwoStageError]]] = {
    "a number as text": ({"fraction": "0.1"}, SelectionError),
    "a switch for a number": ({"threshold": True}, SelectionError),
    "an endless budget": ({"budget_s": float("inf")}, SelectionError),
    "no number": ({"fraction": float("nan")}, SelectionError),
    "a word for a switch": ({"tissue": "no"}, SelectionError),
    "a list for a measure": ({"uncertainty": ["tent"]}, SelectionError),
    "a fraction for a channel": ({"channel": 0.5}, SelectionError),
    "an address for a cluster": ({"cluster": "tcp://host:8786"}, ClusterError),
    "no model": ({"model": None}, ModelError),
    "a number for a model": ({"model": 2}, ModelError),
    "no place": ({"out": None}, LocationError),
    "an empty place": ({"out": ""}, LocationError),
}


@pytest.mark.parametrize("what", MISUSED)
def test_what_is_of_the_wrong_type_is_refused_in_one_line(tmp_path: Path, what: str) -> None:
    changes, kind = MISUSED[what]
    given = {"model": FakeModel(), "out": tmp_path / "a.zarr", "tissue": False, **changes}
    with pytest.raises(kind, match=r"\A[^\n]*(found|unknown)[^\n]*\Z"):
        segment(noise_slide(), **given)
    assert not list(tmp_path.iterdir())


def test_numbers_of_numpy_are_numbers_and_kept_as_json_holds_them() -> None:
    wanted = Selection(fraction=np.float32(0.5)).as_dict()
    assert wanted == {"fraction": 0.5}
    assert type(wanted["fraction"]) is float
    assert type(Selection(n_tiles=np.int64(3)).as_dict()["n_tiles"]) is int
    with pytest.raises(SelectionError, match="whole number"):
        Selection(n_tiles=2.5)  # type: ignore[arg-type]


def test_the_slide_and_places_in_use_are_no_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slide = tmp_path / "slides" / "slide.tif"
    slide.parent.mkdir()
    write_tiff(slide, noise(64, 64))
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setattr(Path, "home", lambda: home)
    work = tmp_path / "work" / "today"
    work.mkdir(parents=True)
    monkeypatch.chdir(work)
    before = slide.read_bytes()
    for place in (slide, slide / "a.zarr", home, work, work.parent, Path()):
        for overwrite in (False, True):
            with pytest.raises(LocationError, match=r"\A[^\n]+; [^\n]+\Z"):
                segment(slide, FakeModel(), place, overwrite=overwrite, **SETTINGS)
    assert slide.read_bytes() == before
    assert home.is_dir()
    assert work.is_dir()


def test_a_place_that_cannot_be_made_is_told_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("a file")
    with pytest.raises(StorageError, match=r"notes.*; "):
        segment(noise_slide(), FakeModel(), tmp_path / "notes" / "a" / "b.zarr", **SETTINGS)


def test_a_result_of_another_pixel_size_is_not_gone_on_with(tmp_path: Path) -> None:
    pixels = noise(70, 90)
    segment(open_slide(pixels, mpp=MPP), FakeModel(), tmp_path / "a.zarr", **SETTINGS)
    with pytest.raises(SegmentationError, match=r"pixels of 0\.5 × 0\.5 µm.*not 0\.45"):
        segment(open_slide(pixels, mpp=0.45), FakeModel(), tmp_path / "a.zarr", **SETTINGS)
    segment(open_slide(pixels, mpp=(MPP, MPP)), FakeModel(), tmp_path / "a.zarr", **SETTINGS)


def test_a_channel_is_the_same_however_it_is_spelt(tmp_path: Path) -> None:
    planes = np.stack([noise(70, 90, seed=seed)[..., 0] for seed in range(2)])
    out = tmp_path / "a.zarr"
    segment(open_slide(planes, mpp=MPP, channel=1), FakeModel(), out, channel=1, **SETTINGS)
    segment(open_slide(planes, mpp=MPP, channel="1"), FakeModel(), out, channel="1", **SETTINGS)
    with pytest.raises(SegmentationError, match="channel = 1, not 0"):
        segment(open_slide(planes, mpp=MPP, channel=0), FakeModel(), out, channel=0, **SETTINGS)


def test_pixels_far_from_the_models_are_warned_of_and_those_beyond_are_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def run(mpp: float) -> list[str]:
        caplog.clear()
        slide = open_slide(noise(64, 64), mpp=mpp)
        with caplog.at_level(logging.WARNING, "napari_twostage.engine.checks"):
            segment(slide, FakeModel(), tmp_path / f"{mpp}.zarr", **SETTINGS)
        return [record.getMessage() for record in caplog.records if "labels" in record.message]

    assert run(MPP) == run(2 * MPP) == run(MPP / 4) == []
    assert len(run(3 * MPP)) == 1
    assert re.search(r"enlarged 3×", caplog.text)
    assert len(run(MPP / 5)) == 1
    assert re.search(r"reduced 5×", caplog.text)
    for mpp in (9 * MPP, 100 * MPP, MPP / 100):
        with pytest.raises(SlideError, match=r"check the pixel size"):
            run(mpp)
        assert not (tmp_path / f"{mpp}.zarr").exists()


def test_a_batch_without_a_result_keeps_the_earlier_table(tmp_path: Path) -> None:
    slide, out = tmp_path / "slide.tif", tmp_path / "out"
    write_tiff(slide, noise(64, 64))
    options = RunOptions(tissue=False, refine="none")
    assert [row.whole for row in segment_all([slide], FakeModel(), out, options)] == [True]
    before = (out / TABLE).read_bytes()
    missing = [tmp_path / "gone.tif", tmp_path / "lost.tif"]
    assert not any(row.whole for row in segment_all(missing, FakeModel(), out, options))
    assert (out / TABLE).read_bytes() == before
    rows = list(segment_all([*missing, slide], FakeModel(), out, options))
    assert [row.whole for row in rows] == [False, False, True]
    assert (out / TABLE).read_text().count("\n") == 4


def test_a_batch_needs_a_folder(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("a file")
    with pytest.raises(StorageError, match="notes"):
        next(segment_all([tmp_path / "a"], FakeModel(), tmp_path / "notes", RunOptions()))


@pytest.mark.parametrize(
    ("made", "searched", "wanted", "same"),
    [
        (None, True, None, True),
        (True, True, None, True),  # as version 0.1 did by default
        (False, False, None, False),
        (None, True, True, True),
        (None, False, True, False),
        (None, False, False, True),
        (True, True, False, False),
        (False, False, False, True),
    ],
)
def test_a_search_for_tissue_is_gone_on_with_if_it_would_be_the_same(
    made: bool | None, searched: bool, wanted: bool | None, same: bool
) -> None:
    found = TissueRecord(
        searched=searched, bright_field=False, area_mm2=1, tiles=1, intensity_range=(0, 1)
    )
    parameters = Parameters(tissue=made, uncertainty="tent")
    record = cast("Record", SimpleNamespace(parameters=parameters, tissue=found))
    assert same_tissue(record, wanted) is same


def test_a_scene_is_asked_for_by_name_or_number(tmp_path: Path) -> None:
    path = tmp_path / "two.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as tif:
        for name in ("left", "right"):
            facts = {"axes": "YXS", "Name": name, "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
            tif.write(noise(40, 50), photometric="rgb", metadata=facts)
    with open_slide(path, scene="right") as slide:
        for choice in ("right", 1, None):
            require_picture(slide, Picture(scene=choice))
        for choice in ("left", 0):
            with pytest.raises(SelectionError, match=f"scene = {choice!r} was asked for"):
                require_picture(slide, Picture(scene=choice))
