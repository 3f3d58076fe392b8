"""The command line, verb by verb, in this process."""

from __future__ import annotations

import csv
import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile

from napari_twostage import iter_segment
from napari_twostage.cli.parser import main
from napari_twostage.method.steps import ChipRefined
from napari_twostage.models.bundle import read_bundle
from napari_twostage.samples import sample_slide

if TYPE_CHECKING:
    from pathlib import Path

CORNER = (1500, 900)
SIDE = 300
TILES = math.ceil(SIDE / read_bundle("nuclei").card.tile_px) ** 2
REFINED = round(0.3 * TILES)
FRACTION = ("--model", "nuclei", "--device", "cpu", "--no-tissue", "--quiet", "--fraction", "0.3")


@pytest.fixture(scope="module")
def crop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A piece of the sample slide as a TIFF that states its pixel size."""
    plane = tifffile.imread(sample_slide(), key=0)
    pixels = plane[CORNER[0] : CORNER[0] + SIDE, CORNER[1] : CORNER[1] + SIDE]
    path = tmp_path_factory.mktemp("crop") / "crop.tif"
    resolution = (1e4 / 0.5, 1e4 / 0.5)
    tifffile.imwrite(
        path, pixels, photometric="rgb", resolution=resolution, resolutionunit="CENTIMETER"
    )
    return path


@pytest.fixture(scope="module")
def result(crop: Path) -> Path:
    """That piece, segmented."""
    out = crop.parent / "crop.zarr"
    assert main(["segment", str(crop), "--out", str(out), *FRACTION]) == 0
    return out


def answer(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> Any:
    """Run a verb with --json; its stdout is one JSON object on one line."""
    capsys.readouterr()
    assert main([*map(str, arguments), "--json"]) == code
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    return json.loads(out)


def test_info_describes_a_slide(crop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = answer(capsys, "info", crop)
    assert summary["name"] == "crop.tif"
    assert summary["level_shapes"] == [[SIDE, SIDE]]
    assert summary["mpp"] == pytest.approx([0.5, 0.5])
    assert answer(capsys, "info", crop, "--mpp", "0.4,0.3")["mpp"] == [0.4, 0.3]


def test_info_describes_a_result_and_the_machine(
    result: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = answer(capsys, "info", result)
    assert summary["tiles"]["tissue"] == TILES
    assert summary["record"]["slide"]["name"] == "crop.tif"
    assert "nuclei" in answer(capsys, "info")["models"]


def test_the_least_area_is_the_models_or_the_one_asked_for(
    result: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def objects(*arguments: object) -> list[dict[str, str]]:
        answer(capsys, "export", result, tmp_path / "objects.csv", *arguments)
        with (tmp_path / "objects.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    (nuclei,) = answer(capsys, "info", result)["classes"]
    assert nuclei["least_object_um2"] == 8
    assert nuclei["left_out_described"].endswith("below 8 µm² left out")
    assert len(objects()) == nuclei["objects"]
    every = objects("--least-area", "0")
    assert len(every) == nuclei["objects"] + nuclei["left_out"]
    assert 0 < len(objects("--least-area", "40")) < nuclei["objects"]
    assert main(["export", str(result), str(tmp_path / "objects.csv"), "--least-area", "-1"]) == 2
    assert "0 to 1e+06 µm²; found -1.0; 0 keeps all" in capsys.readouterr().err


def test_segment_keeps_the_least_area_in_the_record(
    crop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "o.zarr"
    summary = answer(capsys, "segment", crop, "--out", out, *FRACTION, "--least-area", "30")
    assert summary["classes"][0]["least_object_um2"] == 30
    found = answer(capsys, "info", out)
    assert found["record"]["least_object_um2"] == 30
    assert found["classes"] == summary["classes"]


def test_models_lists_cards(capsys: pytest.CaptureFixture[str]) -> None:
    names = [card["name"] for card in answer(capsys, "models")["models"]]
    assert "nuclei" in names
    assert answer(capsys, "models", "nuclei")["models"][0]["name"] == "nuclei"


def test_every_verb_has_an_answer_for_people(
    crop: Path, result: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for verb in (["models"], ["info"], ["info", str(crop)], ["info", str(result)]):
        assert main(verb) == 0
        assert "nuclei" in capsys.readouterr().out


def test_segmenting_again_goes_on_instead_of_computing_again(
    crop: Path, result: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = answer(capsys, "segment", crop, "--out", result, *FRACTION)
    assert summary["tiles"] == {"tissue": TILES, "refined": REFINED, "edited": 0, "failed": 0}
    assert summary["fraction_refined"] == pytest.approx(REFINED / TILES)
    assert answer(capsys, "info", result)["record"]["runs"][-1]["plan"]["tiles"] == 0


def test_a_dry_run_says_what_refining_would_cost_and_does_nothing(
    result: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = answer(capsys, "refine", result, "--fraction", "1", "--dry-run")
    assert summary["tiles"] == TILES - REFINED
    assert summary["estimated_seconds"] > 0
    assert answer(capsys, "info", result)["tiles"]["refined"] == REFINED


def test_export_writes_what_the_endings_ask_for(
    result: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    targets = [tmp_path / name for name in ("nuclei.geojson", "areas.csv")]
    summary = answer(capsys, "export", result, *targets, "--quiet")
    assert summary["written"] == [str(target) for target in targets]
    assert json.loads(targets[0].read_text())["type"] == "FeatureCollection"
    with targets[1].open(newline="") as file:
        assert len(list(csv.DictReader(file))) >= 1


def test_a_bad_slide_in_a_batch_costs_itself_only(
    crop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.tif"
    bad.write_bytes(b"II*\0 and then nothing")
    out = tmp_path / "batch"
    summary = answer(capsys, "batch", bad, crop, "--out", out, *FRACTION, code=1)
    with (out / "summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["slide"] for row in rows] == [str(bad), str(crop)]
    assert "bad.tif" in rows[0]["status"]
    assert rows[1]["status"] == "done"
    assert float(rows[1]["nucleus_mm2"]) >= 0
    assert summary["table"] == str(out / "summary.csv")
    assert (out / "crop.tif.twostage.zarr" / "record.json").exists()


BAD = {
    "no slide": ["info", "nothing.svs"],
    "no result": ["refine", "nothing.zarr", "--fraction", "0.5"],
    "no result to export": ["export", "nothing.zarr", "out.geojson"],
    "no model": ["models", "nothing"],
    "no model to segment with": ["segment", "CROP", "--out", "OUT", "--model", "nothing"],
    "no such device": ["segment", "CROP", "--out", "OUT", "--device", "abacus"],
    "a region beyond the slide": ["segment", "CROP", "--out", "OUT", "--region", "900,900,10,10"],
    "a region in a file that is not there": [
        "segment", "CROP", "--out", "OUT", "--region", "nothing.geojson",
    ],
    "a fraction above 1": ["segment", "CROP", "--out", "OUT", "--fraction", "2"],
    "no workers": ["segment", "CROP", "--out", "OUT", "--workers", "0"],
    "a criterion too many": [
        "segment", "CROP", "--out", "OUT", "--refine", "all", "--fraction", "0.5",
    ],
    "other settings than the result's": ["segment", "CROP", "--out", "RESULT"],
    "nothing to refine": ["refine", "RESULT"],
    "an unknown ending": ["export", "RESULT", "out.docx", "--quiet"],
    "an unknown ending after a known one": ["export", "RESULT", "out.png", "out.docx", "--quiet"],
    "a file named twice": ["export", "RESULT", "out.png", "./out.png", "--quiet"],
    "no folder to export to": ["export", "RESULT", "out.png", "no/out.png", "--quiet"],
    "a place in the result": ["export", "RESULT", "RESULT/out.png", "--quiet"],
    "the slide as the result": ["segment", "CROP", "--out", "CROP"],
    "the current folder as the result": ["segment", "CROP", "--out", "."],
    "another pixel size than the result's": [
        "segment", "CROP", "--out", "RESULT", "--mpp", "0.4", "--no-tissue",
    ],
    "pixels of half a tile": ["segment", "CROP", "--out", "OUT", "--mpp", "50"],
    "no number": ["segment", "CROP", "--out", "OUT", "--fraction", "nan"],
    "a region beyond the result": ["refine", "RESULT", "--region", "9000,9000,10,10"],
    "a device of other programs": ["segment", "CROP", "--out", "OUT", "--device", "gpu"],
    "a bundled model to add to": ["convert", "nuclei"],
    "no pair of device and precision": [
        "precision", "--on", "foo", "--data", "OUT", "--out", "OUT",
    ],
}  # fmt: skip


@pytest.mark.parametrize("fault", BAD)
def test_bad_input_is_one_line_and_exit_code_2(
    fault: str,
    crop: Path,
    result: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    places = {"CROP": str(crop), "RESULT": str(result), "OUT": str(tmp_path / "out.zarr")}
    given = [word.replace("RESULT/", f"{result}/") for word in BAD[fault]]
    assert main([places.get(word, word) for word in given]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("napari-twostage: ")
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["segment", "a.tif"],
        ["info", "a.tif", "--mpp", "-1"],
        ["info", "a.tif", "--mpp", "nan"],
        ["info", "a.tif", "--mpp", "half"],
        ["info", ""],
        ["refine", "a.zarr", "--region", "1,2"],
        ["refine", "a.zarr", "--region", "1,2,0,4"],
    ],
)
def test_a_command_that_cannot_be_parsed_exits_with_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith("napari-twostage")
    assert err.endswith("--help lists what there is\n")
    assert err.count("\n") == 1
    assert "pixel_size" not in err
    assert "box" not in err


def test_a_stopped_run_is_told_as_unfinished_by_every_verb(
    crop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "stopped.zarr"
    steps = iter_segment(crop, "nuclei", out, tissue=False, refine="all")
    next(step for step in steps if isinstance(step, ChipRefined))
    steps.close()
    for arguments in (
        ["info", out],
        ["export", out, tmp_path / "areas.csv", "--quiet"],
        ["refine", out, "--fraction", "1", "--dry-run"],
    ):
        summary = answer(capsys, *arguments, code=1)
        assert summary["complete"] is False
        assert summary["missing"]["selected_tiles"] > 0
        assert main([str(word) for word in arguments]) == 1
        shown = capsys.readouterr()
        assert f"of {TILES} selected tiles not refined" in shown.out + shown.err
    summary = answer(capsys, "segment", crop, "--out", out, "--no-tissue", "--refine", "all")
    assert summary["complete"] is True
    assert summary["missing"] == {}


def test_the_crop_is_what_was_cut(crop: Path) -> None:
    pixels = tifffile.imread(crop)
    assert pixels.shape == (SIDE, SIDE, 3)
    assert np.ptp(pixels) > 50
