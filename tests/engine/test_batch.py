"""Many slides: each in a folder of its own, none done twice, none that costs another."""

from __future__ import annotations

import csv
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.fakes import CLASSES, FakeModel, make_card, noise
from tests.proofs.helpers import assert_same, outcome, write_tiff

from napari_twostage import Segmentation, iter_segment
from napari_twostage.engine.batch import TABLE, aligned, place_results, segment_all
from napari_twostage.engine.options import RunOptions
from napari_twostage.errors import ClusterError, SelectionError, StorageError
from napari_twostage.method.steps import ChipRefined

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from napari_twostage.engine.batch import BatchRow

SETTINGS = {"fraction": 0.5, "tissue": False}


@pytest.fixture
def slides(tmp_path: Path) -> list[Path]:
    """Two slides of one name, and a third."""
    paths = [tmp_path / name for name in ("a/slide.tif", "b/slide.tif", "other.tif")]
    for seed, path in enumerate(paths):
        path.parent.mkdir(exist_ok=True)
        write_tiff(path, noise(150, 170, seed=seed))
    return paths


def batch(slides: list[Path], out: Path, **options: object) -> list[BatchRow]:
    keywords = {**SETTINGS, **options}
    beside = {
        name: keywords.pop(name) for name in ("mpp", "progress", "cluster") if name in keywords
    }
    return list(segment_all(slides, FakeModel(), out, RunOptions(**keywords), **beside))


def table(out: Path) -> list[dict[str, str]]:
    with (out / TABLE).open(newline="") as file:
        return list(csv.DictReader(file))


def test_names_of_slides_and_classes_are_no_formulas(
    slides: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(slides[0].parent)
    slides[0].rename("=cmd.tif")
    card = make_card(classes=(replace(CLASSES[0], name="-gland"),))
    rows = list(segment_all(["=cmd.tif"], FakeModel(card), tmp_path / "o", RunOptions(**SETTINGS)))
    assert rows[0].status == "done"
    (row,) = table(tmp_path / "o")
    assert row["slide"] == "'=cmd.tif"
    assert float(row["'-gland_mm2"]) > 0


def test_slides_of_one_name_have_folders_of_their_own(slides: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    rows = batch(slides, out)
    assert [row.status for row in rows] == ["done"] * 3
    results = [row["result"] for row in table(out)]
    names = ["slide.tif.twostage.zarr", "b-slide.tif.twostage.zarr", "other.tif.twostage.zarr"]
    assert results == [str(out / name) for name in names]
    for slide, result in zip(slides, results, strict=True):
        assert Segmentation.open(result).record.slide.path == str(slide)


def test_places_stay_whatever_is_asked_for_again(slides: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    batch(slides, out)
    places = place_results(slides, out)
    assert place_results(slides[::-1], out) == places
    assert place_results([slides[1]], out) == {slides[1]: places[slides[1]]}
    assert len(place_results([slides[0], slides[0]], out)) == 1


def test_names_that_differ_in_case_only_have_folders_of_their_own(tmp_path: Path) -> None:
    slides = [tmp_path / "a/Slide.TIF", tmp_path / "b/slide.tif", tmp_path / "b/other.tif"]
    for seed, path in enumerate(slides):
        path.parent.mkdir(exist_ok=True)
        write_tiff(path, noise(150, 170, seed=seed))
    out = tmp_path / "out"
    rows = batch(slides, out)
    assert [row.status for row in rows] == ["done"] * 3
    assert len({row["result"].casefold() for row in table(out)}) == 3
    places = place_results(slides, out)
    for slide in slides:  # also when it is asked for alone
        assert place_results([slide], out) == {slide: places[slide]}
        assert Segmentation.open(places[slide]).record.slide.path == str(slide)


def test_a_slide_spelt_in_two_ways_is_one_where_the_disk_ignores_case(
    slides: list[Path], tmp_path: Path
) -> None:
    spelt = slides[2].with_name("OTHER.tif")
    places = place_results([slides[2], spelt], tmp_path / "out")
    assert len(places) == (1 if spelt.exists() else 2)


def test_long_names_are_shortened(tmp_path: Path) -> None:
    slides = [tmp_path / f"{'x' * 230}{number}.tif" for number in range(2)]
    places = place_results(slides, tmp_path)
    assert len({place.name for place in places.values()}) == 2
    assert all(len(f".{place.name}.partial") <= 255 for place in places.values())
    assert place_results(slides[::-1], tmp_path) == places


def test_names_that_cannot_be_told_apart_are_numbered(tmp_path: Path) -> None:
    slides = [tmp_path / "a/b-c.tif", tmp_path / "x/c.tif", tmp_path / "a/b/c.tif"]
    twice = [*slides, tmp_path / "y/a/b/c.tif", tmp_path / "a-b-c.tif"]
    assert len(set(place_results(twice, tmp_path).values())) == len(twice)


def test_names_that_differ_in_case_only_are_told_apart(tmp_path: Path) -> None:
    slides = [tmp_path / "x/A.svs", tmp_path / "x/a.svs"]
    first, second = place_results(slides, tmp_path).values()
    assert (first.name, second.name) == ("A.svs.twostage.zarr", "x-a.svs.twostage.zarr")


def test_a_slide_named_in_other_letters_on_a_disk_that_folds_case_is_the_same(
    slides: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    batch(slides[2:], out)
    folded = slides[2].with_name("OTHER.tif")
    if folded.exists():
        pytest.skip("this disk folds case itself")
    (place,) = place_results(slides[2:], out).values()
    (out / "OTHER.tif.twostage.zarr").symlink_to(place)  # as such a disk finds it
    folded.write_bytes(b"another slide")
    assert place_results([folded], out)[folded].name != "OTHER.tif.twostage.zarr"
    folded.unlink()
    folded.hardlink_to(slides[2])
    assert place_results([folded], out)[folded].name == "OTHER.tif.twostage.zarr"


@pytest.mark.parametrize(
    ("name", "safe"), [("NUL.svs", "_NUL.svs"), ("12:30.svs", "12_30.svs"), ("a?.svs", "a_.svs")]
)
def test_results_have_names_that_every_system_takes(tmp_path: Path, name: str, safe: str) -> None:
    (place,) = place_results([tmp_path / name], tmp_path).values()
    assert place.name == f"{safe}.twostage.zarr"


def test_what_is_done_is_left_alone_and_what_is_begun_resumed(
    slides: list[Path], tmp_path: Path
) -> None:
    out, undisturbed = tmp_path / "out", tmp_path / "undisturbed"
    batch(slides, undisturbed)
    batch(slides[:1], out)
    places = place_results(slides, out)
    steps = iter_segment(slides[1], FakeModel(), places[slides[1]], **SETTINGS)
    assert next(step for step in steps if isinstance(step, ChipRefined))
    steps.close()  # type: ignore[attr-defined] - a generator

    rows = batch(slides, out)
    assert [row.status for row in rows] == ["done before", "resumed", "done"]
    for slide, place in places.items():
        seg = Segmentation.open(place)
        assert_same(
            outcome(seg), outcome(Segmentation.open(place_results(slides, undisturbed)[slide]))
        )
        assert len(seg.record.runs) == (2 if slide == slides[1] else 1)
    assert [row.status for row in batch(slides, out)] == ["done before"] * 3


def test_another_selection_goes_on_and_other_settings_are_refused(
    slides: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    batch(slides[:1], out)
    assert batch(slides[:1], out, fraction=0.8)[0].status == "resumed"
    refused = batch(slides[:1], out, uncertainty="entropy")[0]
    assert "uncertainty = tent, not entropy" in refused.status
    assert not refused.whole
    assert batch(slides[:1], out, uncertainty="entropy", overwrite=True)[0].status == "done"


def test_a_slide_that_fails_costs_itself_only(
    slides: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slides[1].write_bytes(b"II*\0 and then nothing")
    rows = batch([slides[0], slides[1], tmp_path / "none.tif", slides[2]], tmp_path / "out")
    assert [row.whole for row in rows] == [True, False, False, True]
    assert "there is no file" in rows[2].status
    said = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in said] == [str(slides[1]), str(tmp_path / "none.tif")]
    assert [row["status"] for row in table(tmp_path / "out")] == [row.status for row in rows]


def test_a_fault_of_ours_costs_one_slide_too(
    slides: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    coarse, calls = FakeModel.coarse, iter(range(10**6))

    def break_once(self: FakeModel, windows: list[np.ndarray]) -> np.ndarray:
        if next(calls) == 0:
            raise ZeroDivisionError("of all things")
        return coarse(self, windows)

    monkeypatch.setattr(FakeModel, "coarse", break_once)
    rows = batch(slides[:2], tmp_path / "out")
    assert [row.status for row in rows] == ["ZeroDivisionError: of all things", "done"]
    monkeypatch.undo()
    assert [row.status for row in batch(slides[:2], tmp_path / "out")] == ["resumed", "done before"]


def test_settings_that_contradict_each_other_stop_it_before_it_starts(
    slides: list[Path], tmp_path: Path
) -> None:
    with pytest.raises(SelectionError):
        batch(slides, tmp_path / "out", refine="all")
    assert not (tmp_path / "out").exists()


def test_a_lost_cluster_stops_it(slides: list[Path], tmp_path: Path) -> None:
    class Lost:
        """A cluster whose scheduler has gone."""

        def check(self, _: Segmentation) -> None:
            raise ClusterError("lost")

    with pytest.raises(ClusterError):
        batch(slides, tmp_path / "out", cluster=Lost())


def test_progress_names_each_slide(
    slides: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    batch(slides, tmp_path / "out", progress=True)
    said = capsys.readouterr().err
    assert f"[1/3] {slides[0]}\n" in said
    assert f"[3/3] {slides[2]}\n" in said


def test_columns_stand_below_each_other(slides: list[Path], tmp_path: Path) -> None:
    slides[2].write_bytes(b"nothing")
    rows = [row.as_dict() for row in batch(slides, tmp_path / "out")]
    lines = aligned(rows)
    assert len(lines) == 4
    start = lines[0].index("status")
    assert [line[start:] for line in lines[1:]] == [row["status"] for row in rows]
    end = lines[0].index("failed_tiles") + len("failed_tiles")
    assert [line[end - 1] for line in lines[1:3]] == ["0", "0"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="other systems name other errors")
def test_a_table_that_cannot_be_written_ends_in_one_line(
    slides: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    (out / TABLE).mkdir(parents=True)
    with pytest.raises(StorageError, match=TABLE) as refusal:
        batch(slides[:1], out, overwrite=True)
    assert "\n" not in str(refusal.value)
