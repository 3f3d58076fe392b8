"""Damage is named, what has a second copy is restored, and the rest is computed again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.fakes import FakeModel, noise_slide

from napari_twostage import Box, Segmentation, segment
from napari_twostage.errors import DamagedFileError
from napari_twostage.result.check import check_metadata, repair_metadata

if TYPE_CHECKING:
    from pathlib import Path

    from napari_twostage.slides.base import Slide

FIRST, OVER, THIRD = Box(5, 5, 40, 50), Box(20, 30, 60, 70), Box(62, 2, 69, 20)
OPTIONS = {"refine": "all", "tissue": False}


@pytest.fixture
def slide() -> Slide:
    return noise_slide()


@pytest.fixture
def seg(slide: Slide, tmp_path: Path) -> Segmentation:
    """A result with three edits, the second over the first, and a fourth that was undone."""
    made = segment(slide, FakeModel(), tmp_path / "out.zarr", **OPTIONS)
    for number, box in enumerate((FIRST, OVER, THIRD, FIRST)):
        made.edit(box, np.full(box.shape, number % 2, np.uint8))
    made.undo_edit()
    return made


def labels(seg: Segmentation) -> list[np.ndarray]:
    return [np.asarray(level) for level in seg.labels]


def require_same(seg: Segmentation, expected: list[np.ndarray]) -> None:
    for found, level in zip(labels(seg), expected, strict=True):
        np.testing.assert_array_equal(found, level)


def found(seg: Segmentation) -> set[tuple[str, str]]:
    return {(finding.file, finding.verdict) for finding in seg.check()}


def reopened(seg: Segmentation) -> Segmentation:
    return Segmentation.open(seg.path, slide=seg.slide)


def lines(seg: Segmentation) -> list[bytes]:
    return (seg.path / "journal.jsonl").read_bytes().splitlines(keepends=True)


def test_a_whole_result_has_no_findings(seg: Segmentation) -> None:
    assert seg.check() == []
    assert reopened(seg).check() == []
    assert check_metadata(seg.path) == []
    assert seg.repair() == []


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("coarse/logits/c/0/0/1", "computed again"),
        ("refined/c/1/1", "computed again"),
        ("overview/4/c/0/0", "computed again"),
        ("tissue.npz", "computed again"),
        ("statistics.npz", "computed again"),
        ("edits/c/2/2", "restored"),
        ("undo/1.npz", "restored"),
    ],
)
@pytest.mark.parametrize("damage", ["cut", "gone", "folder", "by a sibling"])
def test_every_file_is_missed(
    name: str, verdict: str, damage: str, seg: Segmentation, slide: Slide
) -> None:
    expected, file = labels(seg), seg.path / name
    data = file.read_bytes()
    siblings = sorted(one for one in file.parent.parent.rglob("*") if one.is_file() and one != file)
    file.unlink()
    if damage == "cut":
        file.write_bytes(data[:-7])
    elif damage == "folder":
        file.mkdir()
    elif damage == "by a sibling":
        file.write_bytes(siblings[0].read_bytes())
    assert (name, verdict) in found(reopened(seg))

    segment(slide, FakeModel(), seg.path, **OPTIONS)
    again = reopened(seg)
    require_same(again, expected)
    assert again.check() == []
    assert again.undo_edit(), "the way back is there"


def test_a_missing_overview_is_not_taken_for_background(seg: Segmentation) -> None:
    expected = labels(seg)
    (seg.path / "overview/4/c/0/0").unlink()
    require_same(reopened(seg), expected)


def test_missing_logits_are_not_taken_for_background(slide: Slide, tmp_path: Path) -> None:
    seg = segment(slide, FakeModel(), tmp_path / "out.zarr", refine="none", tissue=False)
    (seg.path / "coarse/logits/c/0/0/1").unlink()
    with pytest.raises(DamagedFileError, match="a part is missing"):
        reopened(seg).read_labels(Box(0, 0, 70, 90))


@pytest.mark.parametrize("number", range(-12, 0))
def test_edits_come_back_whatever_line_is_lost(
    number: int, seg: Segmentation, caplog: pytest.LogCaptureFixture
) -> None:
    expected, journal = labels(seg), lines(seg)
    event = json.loads(journal[number])["event"]
    (seg.path / "journal.jsonl").write_bytes(b"".join([*journal[:number], *journal[number:][1:]]))
    again = reopened(seg)
    if event in ("edit", "refined") and number != -1:
        assert "journal" in caplog.text
    again.repair()
    require_same(again, expected)
    require_same(reopened(seg), expected)


def test_without_a_journal_edits_are_kept_and_the_rest_is_computed_again(
    seg: Segmentation, slide: Slide
) -> None:
    expected = labels(seg)
    (seg.path / "journal.jsonl").unlink()
    segment(slide, FakeModel(), seg.path, **OPTIONS)
    require_same(reopened(seg), expected)
    assert len(reopened(seg).edit_boxes) == 3
    assert reopened(seg).check() == []


def test_the_record_is_restored_with_its_runs(seg: Segmentation) -> None:
    file = seg.path / "record.json"
    before = file.read_bytes()
    for damaged in (b"", before[:-30], before.replace(b'"version": "1"', b'"version": "2"')):
        assert damaged != before
        file.write_bytes(damaged)
        with pytest.raises(DamagedFileError, match=r"record\.json is damaged"):
            reopened(seg)
        assert [finding.verdict for finding in repair_metadata(seg.path)] == ["restored"]
        again = reopened(seg)
        assert again.record.runs == seg.record.runs
        assert again.record.tissue == seg.record.tissue
        assert check_metadata(seg.path) == []


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("refined", '"fill_value": 255', '"fill_value": 0'),
        ("coarse/logits", '"endian": "little"', '"endian": "big"'),
        ("coarse/logits", '"separator": "/"', '"separator": "."'),
        ("edits", '"data_type": "uint8"', '"data_type": "int8"'),
        ("overview/4", '"name": "zstd"', '"name": "gzip"'),
        ("refined", '"index_location": "start"', '"index_location": "end"'),
    ],
)
def test_the_description_of_an_array_is_restored(
    name: str, old: str, new: str, seg: Segmentation
) -> None:
    expected, file = labels(seg), seg.path / name / "zarr.json"
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(DamagedFileError, match=r"zarr\.json is damaged"):
        reopened(seg)
    repair_metadata(seg.path)
    assert reopened(seg).check() == []
    require_same(reopened(seg), expected)


def test_what_is_lost_is_said(seg: Segmentation) -> None:
    (seg.path / "undo/0.npz").write_bytes(b"")
    (seg.path / "edits/c/1/1").unlink()  # of the same edit
    assert ("edits/c/1/1", "lost") in found(seg)
    assert ("undo/0.npz", "lost") in found(seg)
    assert "lost" in {finding.verdict for finding in seg.repair()}


def test_a_damaged_result_that_is_damaged_again_keeps_both_files_aside(seg: Segmentation) -> None:
    for _ in range(2):
        (seg.path / "statistics.npz").write_bytes(b"junk")
        seg.repair()
    kept = [path.name for path in (seg.path / "damaged").iterdir()]
    assert sorted(kept) == ["statistics.npz", "statistics.npz.1"]
