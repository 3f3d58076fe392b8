"""Folders of results: their names, and how they are found again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import tifffile
from tests.fakes import MPP, FakeModel, make_card, noise

import napari_twostage as ts
from napari_twostage.errors import SegmentationError
from napari_twostage.session.result_paths import find_result, vacant_path

if TYPE_CHECKING:
    from napari_twostage.slides.base import Slide

BUNDLE = FakeModel().bundle
OTHER = FakeModel(make_card(name="fake", version="2"))


def slide_file(folder: Path, seed: int = 0, name: str = "a slide (1).ome.tif") -> Slide:
    folder.mkdir(exist_ok=True)
    tifffile.imwrite(folder / name, noise(40, 40, seed=seed), photometric="rgb")
    return ts.open_slide(folder / name, mpp=MPP)


def result(path: Path, slide: Slide, model: FakeModel | None = None) -> ts.Segmentation:
    return ts.segment(slide, model or FakeModel(), path, tissue=False, refine="none")


def lock(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Refuse new files in a folder whose permissions still look fine."""
    touch = Path.touch

    def refuse(path: Path, *args: Any, **options: Any) -> None:
        if path.is_relative_to(folder):
            raise PermissionError(13, "Permission denied", str(path))
        touch(path, *args, **options)

    monkeypatch.setattr(Path, "touch", refuse)


def test_a_result_goes_beside_its_slide_under_its_name_and_the_models(tmp_path: Path) -> None:
    path, seg = find_result(slide_file(tmp_path), BUNDLE)
    assert path == tmp_path / "a_slide_1_.fake.twostage.zarr"
    assert seg is None
    assert [one.name for one in tmp_path.iterdir()] == ["a slide (1).ome.tif"]  # no trace of trying


def test_arrays_and_slides_on_read_only_disks_go_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pathlib.Path.home", lambda: tmp_path / "me")
    home = tmp_path / "me" / "napari-twostage"
    array = ts.open_slide(noise(40, 40), mpp=MPP)
    assert find_result(array, BUNDLE)[0].parent == home
    slide = slide_file(tmp_path / "locked")
    lock(monkeypatch, tmp_path / "locked")
    path, _ = find_result(slide, BUNDLE)
    assert path == home / "a_slide_1_.fake.twostage.zarr"
    assert result(path, slide).path == path


def test_the_newest_of_several_results_is_found(tmp_path: Path) -> None:
    slide = slide_file(tmp_path)
    first = vacant_path(slide, BUNDLE)
    result(first, slide)
    second = vacant_path(slide, BUNDLE, first)
    assert second.name == "a_slide_1_.fake-2.twostage.zarr"
    assert find_result(slide, BUNDLE)[0] == first
    result(second, slide)
    path, seg = find_result(slide, BUNDLE)
    assert path == second
    assert seg.path == second
    assert vacant_path(slide, BUNDLE, second).name == "a_slide_1_.fake-3.twostage.zarr"
    assert vacant_path(slide, BUNDLE, tmp_path / "mine").name == "mine.twostage.zarr"


def test_results_of_others_are_passed_over(tmp_path: Path) -> None:
    slide = slide_file(tmp_path)
    names = ["", "-2", "-3", "-4", "-5"]
    places = [tmp_path / f"a_slide_1_.fake{name}.twostage.zarr" for name in names]
    result(places[0], slide, OTHER)
    result(places[1], slide)
    result(places[2], slide_file(tmp_path / "else", seed=7))
    places[3].mkdir()
    (places[3] / "notes.txt").write_text("no result")
    path, seg = find_result(slide, BUNDLE)
    assert path == places[1]
    assert seg.record.model.version == "1"
    assert vacant_path(slide, BUNDLE) == places[4]
    new = slide_file(tmp_path, seed=9)  # the file was replaced by another slide
    assert find_result(new, BUNDLE) == (places[4], None)


def test_a_result_of_another_version_is_left_alone(tmp_path: Path) -> None:
    slide = slide_file(tmp_path)
    seg = result(vacant_path(slide, BUNDLE), slide)
    record = seg.path / "record.json"
    record.write_text(record.read_text().replace('"format": 1', '"format": 99', 1))
    path, found = find_result(slide, BUNDLE)
    assert found is None
    assert path.name == "a_slide_1_.fake-2.twostage.zarr"


def test_an_empty_folder_is_free(tmp_path: Path) -> None:
    slide = slide_file(tmp_path)
    place = vacant_path(slide, BUNDLE)
    place.mkdir()
    assert find_result(slide, BUNDLE) == (place, None)
    assert find_result(slide, BUNDLE, place) == (place, None)


def test_a_named_folder_of_another_model_is_refused(tmp_path: Path) -> None:
    slide = slide_file(tmp_path)
    seg = result(tmp_path / "out", slide, OTHER)
    with pytest.raises(
        SegmentationError, match=r"\Aout was made with the model fake 2, not fake 1"
    ):
        find_result(slide, BUNDLE, seg.path)
    assert find_result(slide, OTHER.bundle, seg.path)[1].path == seg.path


def test_slides_in_folders_too_deep_for_the_system_go_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pathlib.Path.home", lambda: tmp_path)
    deep = tmp_path / ("d" * 100)
    shallow = tmp_path / "s"
    longest = len(str(tmp_path)) + 100
    monkeypatch.setattr("napari_twostage.result.folder_names._LONGEST_PATH", longest)
    assert find_result(slide_file(shallow), BUNDLE)[0].parent == shallow
    assert find_result(slide_file(deep), BUNDLE)[0].parent == tmp_path / "napari-twostage"


@pytest.mark.skipif(os.name == "nt", reason="the slide's own path is too long")
@pytest.mark.parametrize("name", ["x" * 200 + ".tif", "ü" * 100 + ".tif"])
def test_a_long_name_is_cut_and_found_again(tmp_path: Path, name: str) -> None:
    slide = slide_file(tmp_path, name=name)
    path, _ = find_result(slide, BUNDLE)
    assert result(path, slide).path == path
    assert find_result(slide, BUNDLE)[1].path == path
    again = vacant_path(slide, BUNDLE, path)
    assert again.name == path.name.replace(".twostage.zarr", "-2.twostage.zarr")
    assert result(again, slide).path == again


def test_the_folder_is_called_after_slide_and_model(tmp_path: Path) -> None:
    # names that no disk takes are refused by the card
    model = FakeModel(make_card(name="nuclei v2 (H&E)"))
    slide = slide_file(tmp_path)
    path, _ = find_result(slide, model.bundle)
    assert path == tmp_path / "a_slide_1_.nuclei v2 (H&E).twostage.zarr"
    assert result(path, slide, model).path == path
