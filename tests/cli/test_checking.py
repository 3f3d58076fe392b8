"""`info --check` says what is damaged, `--repair` restores it, `--take-over` takes a lock away."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.fakes import FakeModel, noise
from tests.proofs.helpers import write_tiff

from napari_twostage import Box, Segmentation, segment
from napari_twostage.cli.parser import main
from napari_twostage.engine.batch import segment_all
from napari_twostage.engine.options import RunOptions
from napari_twostage.errors import LockedError
from napari_twostage.result import writer_lock
from napari_twostage.result.writer_lock import FILE, Owner

if TYPE_CHECKING:
    from pathlib import Path

BOX = Box(5, 5, 40, 50)


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    return write_tiff(tmp_path / "slide.tif", noise(70, 90), tile=(64, 64))


@pytest.fixture
def result(slide: Path, tmp_path: Path) -> Path:
    """A result with an edit."""
    seg = segment(slide, FakeModel(), tmp_path / "out.zarr", refine="all", tissue=False)
    seg.edit(BOX, np.ones(BOX.shape, np.uint8))
    return tmp_path / "out.zarr"


def check(capsys: pytest.CaptureFixture[str], result: Path, *words: str, code: int) -> Any:
    capsys.readouterr()
    assert main(["info", str(result), "--check", *words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_a_whole_result_is_called_whole(result: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = check(capsys, result, code=0)
    assert found == {"out": str(result), "whole": True, "repaired": False, "findings": []}
    assert main(["info", str(result), "--check"]) == 0
    assert capsys.readouterr().out.startswith("whole")


def test_damage_is_named_and_repaired(result: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (result / "undo" / "0.npz").unlink()
    found = check(capsys, result, code=1)
    assert not found["whole"]
    assert [(one["file"], one["verdict"]) for one in found["findings"]] == [
        ("undo/0.npz", "restored")
    ]
    assert main(["info", str(result), "--check"]) == 1
    assert "undo/0.npz: the way back from edit 0" in capsys.readouterr().out
    found = check(capsys, result, "--repair", code=0)
    assert found["whole"]
    assert found["repaired"]
    assert check(capsys, result, code=0)["findings"] == []


def test_what_must_be_computed_again_is_not_whole_yet(
    result: Path, slide: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (result / "refined" / "c" / "1" / "1").write_bytes(b"junk")
    assert check(capsys, result, code=1)["findings"]
    found = check(capsys, result, "--repair", code=1)
    assert {one["verdict"] for one in found["findings"]} == {"computed again"}
    segment(slide, FakeModel(), result, refine="all", tissue=False)
    assert check(capsys, result, code=0)["whole"]


@pytest.mark.parametrize("name", ["record.json", "zarr.json", "refined/zarr.json"])
@pytest.mark.parametrize("content", [None, b"", b"{}", b"junk"])
def test_results_that_cannot_be_opened_are_checked_and_repaired(
    name: str, content: bytes | None, result: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = result / name
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    found = check(capsys, result, code=0 if name == "zarr.json" and content == b"{}" else 1)
    assert {one["file"] for one in found["findings"]} <= {name}
    assert check(capsys, result, "--repair", code=0)["whole"]
    assert check(capsys, result, code=0)["findings"] == []
    assert len(Segmentation.open(result).edit_boxes) == 1


def test_what_is_no_result_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["info", "--check"]) == 2
    assert "name its folder" in capsys.readouterr().err
    assert main(["info", str(tmp_path), "--check"]) == 2
    assert "is no result folder" in capsys.readouterr().err


def lock_elsewhere(result: Path) -> None:
    """Write the lock of another machine."""
    owner = {**asdict(Owner.this_process()), "host": "elsewhere"}
    (result / FILE).write_text(json.dumps(owner), encoding="utf-8")


@pytest.fixture
def locked(result: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The result, with such a lock."""
    monkeypatch.setattr(writer_lock, "PATIENCE_S", 0.05)
    lock_elsewhere(result)
    return result


def test_a_run_takes_a_lock_over_if_told_to(locked: Path, slide: Path) -> None:
    options = {"refine": "all", "tissue": False}
    with pytest.raises(LockedError, match=r"elsewhere.*--take-over"):
        segment(slide, FakeModel(), locked, **options)
    segment(slide, FakeModel(), locked, take_over=True, **options)
    assert not (locked / FILE).exists()


@pytest.mark.usefixtures("locked")
def test_a_batch_takes_locks_over_if_told_to(slide: Path, tmp_path: Path) -> None:
    def statuses(**changes: Any) -> list[str]:
        options = RunOptions(refine="all", tissue=False, overwrite=True, **changes)
        rows = segment_all([slide], FakeModel(), tmp_path / "all", options)  # type: ignore[arg-type]
        return [row.status for row in rows]

    assert statuses() == ["done"]
    (made,) = (tmp_path / "all").glob("*.zarr")
    lock_elsewhere(made)
    assert "--take-over" in statuses()[0]
    assert statuses(take_over=True) == ["done"]


def test_the_commands_know_the_word(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("segment", "refine", "batch"):
        with pytest.raises(SystemExit):
            main([verb, "--help"])
        assert "--take-over" in capsys.readouterr().out
