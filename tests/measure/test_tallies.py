"""Blocks are measured while a run goes on, and measured again only where labels have changed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.fakes import CLASSES, FakeModel, make_card, noise_slide

import napari_twostage as ts
from napari_twostage.engine.options import RunOptions
from napari_twostage.measure import blocks, tallies
from napari_twostage.measure.areas import areas
from napari_twostage.measure.regions import BlockTable
from napari_twostage.measure.runs import find_runs, number_regions, pack_runs, unpack_runs
from napari_twostage.measure.tabulate import tabulate

if TYPE_CHECKING:
    from pathlib import Path

    from napari_twostage.result.result import Result

MODEL = FakeModel(make_card(classes=CLASSES))


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK_PX", 32)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[ts.Box]:
    """Boxes whose labels were read to measure them."""
    boxes: list[ts.Box] = []
    read = tallies.read_pixels

    def spy(result: Result, box: ts.Box, *rest: object) -> blocks.BlockPixels:
        boxes.append(box)
        return read(result, box, *rest)

    monkeypatch.setattr(tallies, "read_pixels", spy)
    return boxes


def fresh(seg: ts.Segmentation) -> list[object]:
    """Areas by measuring every block anew."""
    for file in (seg.path / "tallies").iterdir():
        file.unlink()
    return list(areas(seg))


@pytest.mark.parametrize("wanted", [{"refine": "none"}, {"fraction": 0.3}, {"refine": "all"}])
def test_after_a_run_every_block_is_measured(
    tmp_path: Path, measured: list[ts.Box], wanted: dict[str, object]
) -> None:
    seg = ts.segment(noise_slide(110, 133), MODEL, tmp_path / "o.zarr", tissue=False, **wanted)
    assert len(measured) == len(set(measured)) == 4 * 5
    found = areas(seg)
    assert len(measured) == 4 * 5
    assert found == fresh(seg)
    assert found[0].objects > 5


def test_a_later_refinement_measures_only_what_it_changed(
    tmp_path: Path, measured: list[ts.Box]
) -> None:
    seg = ts.segment(noise_slide(300, 300), MODEL, tmp_path / "o", tissue=False, refine="none")
    measured.clear()
    seg.refine(seg.plan(region=ts.Box(64, 64, 80, 80)))
    assert set(measured) == {
        ts.Box.at(top, left, 32, 32) for top in (32, 64) for left in (32, 64)
    }  # of the block, and of those whose tiles lie beside the refined one
    found = areas(seg)
    assert found == fresh(seg)


def test_an_edit_and_its_undo_count_at_once(tmp_path: Path) -> None:
    seg = ts.segment(noise_slide(110, 133), MODEL, tmp_path / "o", tissue=False, refine="all")
    before = areas(seg)
    seg.edit(ts.Box(40, 40, 60, 60), np.full((20, 20), 2, np.uint8))
    edited = areas(seg)
    assert edited[1].pixels > before[1].pixels
    assert edited == fresh(seg)
    seg.undo_edit()
    assert areas(seg)[1].pixels == before[1].pixels
    seg.edit(ts.Box(40, 40, 60, 60), np.full((20, 20), 1, np.uint8))  # the same box
    assert areas(seg) == fresh(seg) != edited


def test_a_stopped_run_leaves_what_is_right_and_the_next_one_ends_it(tmp_path: Path) -> None:
    slide = noise_slide(200, 200)
    steps = ts.iter_segment(slide, MODEL, tmp_path / "o", tissue=False, refine="none")
    for _ in range(8):
        next(steps)
    steps.close()
    seg = ts.Segmentation.open(tmp_path / "o", slide=slide)
    assert [a.pixels for a in areas(seg)] == [
        int((seg.read_labels(seg.grid.box) == kind.value).sum()) for kind in CLASSES
    ]
    done = ts.segment(slide, MODEL, tmp_path / "o", tissue=False, refine="none")
    assert areas(done) == fresh(done)


@pytest.mark.parametrize("harm", [b"", b"TSTY", b"x" * 100])
def test_damaged_measurements_are_made_again(tmp_path: Path, harm: bytes) -> None:
    seg = ts.segment(noise_slide(110, 133), MODEL, tmp_path / "o", tissue=False, refine="all")
    before = areas(seg)
    files = sorted((seg.path / "tallies").iterdir())
    files[0].write_bytes(harm)
    files[1].write_bytes(files[2].read_bytes())
    files[3].write_bytes(files[3].read_bytes()[:-1])
    assert areas(seg) == before


def test_a_result_nobody_can_write_is_measured_all_the_same(tmp_path: Path) -> None:
    seg = ts.segment(noise_slide(70, 90), MODEL, tmp_path / "o", tissue=False, refine="none")
    before = areas(seg)
    for file in (seg.path / "tallies").iterdir():
        file.unlink()
    (seg.path / "tallies").rmdir()
    (seg.path / "tallies").write_text("in the way")
    assert areas(seg) == before
    seg.refine(seg.plan(fraction=0.5))
    assert [a.refined_fraction > 0 for a in areas(seg)] == [True, True]


def test_tables_survive_packing_and_nothing_else_is_taken_for_one() -> None:
    labels = np.random.default_rng(0).integers(0, 3, (40, 50)).astype(np.uint8)
    table = tabulate(blocks.BlockPixels.connected(labels), np.ones((3, 4), bool), 16)[2]
    packed = table.to_bytes()
    again = BlockTable.from_bytes(packed, labels.shape)
    assert again.to_bytes() == packed
    assert int(again.regions.pixels.sum()) == labels.size
    for wrong in (b"", packed[:-1], packed[:50], b"\xff" * 200, packed + packed):
        with pytest.raises(ValueError, match=r"cut short|columns|not of this block"):
            BlockTable.from_bytes(wrong, labels.shape)
    with pytest.raises(ValueError, match="not of this block"):
        BlockTable.from_bytes(packed, (50, 40))


@pytest.mark.parametrize(
    ("column", "number"),
    [("value", 255), ("pixels", 0), ("refined", 10**6), ("row_sum", 10**9), ("column_sum", 10**9),
     ("row_squares", 10**9), ("column_squares", 10**9), ("products", 10**9),
     ("top", 39), ("first", 50), ("left", 50), ("bottom", 41), ("right", 51)],
)  # fmt: skip
def test_a_table_with_impossible_places_is_refused(column: str, number: int) -> None:
    labels = np.random.default_rng(0).integers(0, 3, (40, 50)).astype(np.uint8)
    table = tabulate(blocks.BlockPixels.connected(labels), np.ones((3, 4), bool), 16)[2]
    numbers = getattr(table.regions, column).copy()
    numbers[1] = number
    wrong = replace(table, regions=replace(table.regions, **{column: numbers}))
    with pytest.raises(ValueError, match="not of this block"):
        BlockTable.from_bytes(wrong.to_bytes(), labels.shape)


class ModelOfObjects(FakeModel):
    """Model whose object output is the brightness."""

    def _logits(self, window: np.ndarray) -> np.ndarray:
        depth = window.mean(axis=-1, dtype=np.float32)[None] - 128
        return np.concatenate([super()._logits(window), depth / 32])


def test_pixels_of_objects_that_a_model_tells_apart_are_kept(
    tmp_path: Path, measured: list[ts.Box]
) -> None:
    card = make_card(classes=CLASSES, objects="distance")
    seg = ts.segment(
        noise_slide(110, 133), ModelOfObjects(card), tmp_path / "o", tissue=False, refine="all"
    )
    assert seg.tells_objects_apart
    box, states = ts.Box(32, 32, 64, 64), seg.states
    measured.clear()
    runs, numbers = tallies.regions_of(seg, box, states)
    assert measured == []
    for file in (seg.path / "tallies").glob("*.runs"):
        file.write_bytes(file.read_bytes()[:-1])
    again, same = tallies.regions_of(seg, box, states)
    assert measured == [box]
    np.testing.assert_array_equal(numbers, same)
    for name in ("begin", "length", "value", "above", "below", "contact", "width"):
        np.testing.assert_array_equal(getattr(runs, name), getattr(again, name))


def test_runs_survive_packing_and_nothing_else_is_taken_for_them() -> None:
    labels = np.random.default_rng(0).integers(0, 3, (40, 50)).astype(np.uint8)
    runs = find_runs(labels)
    packed = pack_runs(runs, number_regions(runs))
    again, numbers = unpack_runs(packed, labels.shape)
    np.testing.assert_array_equal(again.paint(again.value), labels)
    np.testing.assert_array_equal(numbers, number_regions(runs))
    for wrong in (b"", packed[:-1], packed[:50], b"\xff" * 200, packed + packed):
        with pytest.raises(ValueError, match=r"cut short|columns|not of this block"):
            unpack_runs(wrong, labels.shape)
    with pytest.raises(ValueError, match="not of this block"):
        unpack_runs(packed, (50, 41))


def test_the_least_area_that_was_asked_for_stays_with_the_result(tmp_path: Path) -> None:
    slide = noise_slide(110, 133)
    seg = ts.segment(slide, MODEL, tmp_path / "o", tissue=False, refine="all", least_object_um2=20)
    found = areas(ts.Segmentation.open(seg.path, slide=slide))
    everything = areas(seg, least_object_um2=0)
    for some, every in zip(found, everything, strict=True):
        assert some.least_object_um2 == 20
        assert 0 < some.objects < every.objects == some.objects + some.left_out
        assert some.describe_left_out() == f"{some.left_out} specks below 20 µm² left out"
    assert seg.record.as_dict()["least_object_um2"] == 20
    ts.segment(slide, MODEL, seg.path, tissue=False, refine="all", least_object_um2=0)
    assert areas(ts.Segmentation.open(seg.path, slide=slide)) == everything
    assert RunOptions().least_object_um2 is None
