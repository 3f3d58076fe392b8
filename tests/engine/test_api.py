"""The front door: which grid is worked on, what is asked for, what is refused."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.fakes import MPP, FakeModel, damage, make_card, noise_slide
from zarr.core.sync import _get_loop as zarr_loop

from napari_twostage.engine import api
from napari_twostage.engine.api import iter_segment, prepare, segment, working_grid
from napari_twostage.engine.options import RunOptions
from napari_twostage.engine.segmentation import Segmentation
from napari_twostage.errors import (
    SegmentationError,
    SelectionError,
    SlideError,
    StorageError,
    TwoStageError,
)
from napari_twostage.geometry import Box
from napari_twostage.method.steps import ChipRefined, CoarsePassStarted
from napari_twostage.method.tiling import TileState
from napari_twostage.slides import open_slide

if TYPE_CHECKING:
    from pathlib import Path

    from napari_twostage.method.steps import Step
    from napari_twostage.result.record import Record


def levels(*sizes: tuple[int, int]) -> list[np.ndarray]:
    return [np.zeros((*size, 3), np.uint8) for size in sizes]


def refined_tiles(seg: Segmentation) -> set[tuple[int, int]]:
    return {(int(y), int(x)) for y, x in np.argwhere(seg.states == TileState.REFINED)}


# -- the working grid --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mpp", "downsample", "shape"),
    [
        (0.5, 1.0, (401, 303)),
        (0.45, 1.0, (401, 303)),
        (0.25, 2.0, (200, 151)),
        (0.2, 2.0, (200, 151)),
    ],
)
def test_a_level_that_the_model_was_made_for_is_used_as_it_is(
    mpp: float, downsample: float, shape: tuple[int, int]
) -> None:
    slide = open_slide(levels((401, 303), (200, 151), (100, 75)), mpp=mpp)
    grid = working_grid(slide, make_card())
    assert grid.downsample == (downsample, downsample)
    assert grid.shape == shape
    assert grid.mpp == pytest.approx((mpp * downsample, mpp * downsample))


@pytest.mark.parametrize(("mpp", "level"), [(0.41, 1), (0.48, 0)])
def test_of_several_such_levels_the_nearest_is_used(mpp: float, level: int) -> None:
    slide = open_slide(levels((400, 300), (320, 240)), mpp=mpp)
    assert working_grid(slide, make_card()).shape == slide.level_shapes[level]


@pytest.mark.parametrize(("mpp", "shape"), [(0.125, (100, 76)), (1.0, (802, 606))])
def test_other_slides_are_resampled_to_the_models_pixel_size(
    mpp: float, shape: tuple[int, int]
) -> None:
    grid = working_grid(open_slide(levels((401, 303)), mpp=mpp), make_card())
    assert grid.mpp == (MPP, MPP)
    assert grid.downsample == (MPP / mpp, MPP / mpp)
    assert grid.shape == shape


def test_pixels_that_are_not_square_become_so() -> None:
    grid = working_grid(open_slide(levels((400, 300)), mpp=(0.25, 1.0)), make_card())
    assert grid.mpp == (MPP, MPP)
    assert grid.shape == (200, 600)


# -- what is asked for -------------------------------------------------------------------------


def run(path: Path, **options: Any) -> Segmentation:
    options = {"tissue": False, **options}
    return segment(noise_slide(), FakeModel(), path / "out", **options)


def test_what_was_asked_for_is_refined(tmp_path: Path) -> None:
    scores = run(tmp_path / "none", refine="none").scores
    cut = float(np.median(scores))
    above = {(int(y), int(x)) for y, x in np.argwhere(scores > cut)}
    assert refined_tiles(run(tmp_path / "threshold", threshold=cut)) == above
    assert len(refined_tiles(run(tmp_path / "fraction", fraction=0.2))) == 6
    assert len(refined_tiles(run(tmp_path / "budget", budget_s=1.1))) == 4
    assert len(refined_tiles(run(tmp_path / "all", refine="all"))) == scores.size
    default = {(int(y), int(x)) for y, x in np.argwhere(scores > 0.5)}
    assert refined_tiles(run(tmp_path / "default")) == default


def test_the_most_uncertain_tile_is_refined_first(tmp_path: Path) -> None:
    steps = iter_segment(noise_slide(), FakeModel(), tmp_path / "o", refine="all", tissue=False)
    order = [tile for step in steps if isinstance(step, ChipRefined) for tile in step.chip.tiles]
    scores = Segmentation.open(tmp_path / "o").scores
    assert [scores[tile] for tile in order] == sorted(scores.ravel(), reverse=True)


def test_only_tiles_of_the_region_are_segmented(tmp_path: Path) -> None:
    seg = run(tmp_path, refine="all", region=Box(20, 30, 33, 48))
    assert refined_tiles(seg) == {(1, 1), (1, 2), (2, 1), (2, 2)}
    assert (seg.states == TileState.OUTSIDE).sum() == seg.states.size - 4
    whole = run(tmp_path / "whole", refine="all")
    box = Box(16, 16, 48, 48)
    np.testing.assert_array_equal(seg.read_labels(box), whole.read_labels(box))


def test_each_step_is_handed_to_a_callable(tmp_path: Path) -> None:
    steps: list[Step] = []
    seg = run(tmp_path, refine="all", progress=steps.append)
    assert isinstance(steps[0], CoarsePassStarted)
    assert sum(isinstance(step, ChipRefined) for step in steps) == seg.states.size


def test_nothing_is_made_before_the_first_step(tmp_path: Path) -> None:
    iter_segment(noise_slide(), FakeModel(), tmp_path / "out", tissue=False)
    assert not (tmp_path / "out").exists()


def test_a_damaged_slide_is_segmented_all_but_the_damaged_tiles(tmp_path: Path) -> None:
    whole = run(tmp_path / "sound", refine="all")
    slide = noise_slide()
    slide.fingerprint()  # of the slide before it broke
    damage(slide, Box(40, 56, 42, 58))  # in no halo of another tile
    seg = segment(slide, FakeModel(), tmp_path / "out", tissue=False, refine="all")
    assert set(seg.failures) == {(2, 3)}
    assert "damaged" in seg.failures[2, 3]
    assert seg.states[2, 3] == TileState.FAILED
    assert len(refined_tiles(seg)) == seg.states.size - 1
    for tile in refined_tiles(seg):
        box = seg.tiles.box(tile)
        np.testing.assert_array_equal(seg.read_labels(box), whole.read_labels(box))


# -- where it came from ------------------------------------------------------------------------


def test_the_record_says_what_was_done_with_what(tmp_path: Path) -> None:
    seg = run(tmp_path, fraction=0.5)
    record = Segmentation.open(seg.path).record
    assert record.slide.mpp == (MPP, MPP)
    assert record.slide.mpp_source
    assert record.slide.fingerprint == noise_slide().fingerprint()
    assert record.model.sha256 == FakeModel().bundle.sha256
    assert record.parameters.uncertainty == "tent"
    (entry,) = record.runs
    assert entry.planned_tiles == 15
    assert {"coarse", "refine"} <= set(entry.seconds)
    assert {"python", "napari-twostage", "openvino", "zarr"} <= set(entry.versions)
    seg.refine(seg.plan(fraction=1.0))
    assert len(Segmentation.open(seg.path).record.runs) == 2


def test_a_result_of_an_array_says_what_it_needs_to_go_on(tmp_path: Path) -> None:
    again = Segmentation.open(run(tmp_path, refine="none").path)
    with pytest.raises(SegmentationError, match=r"made from an array.*slide="):
        _ = again.slide
    again = Segmentation.open(again.path, slide=noise_slide(), model=FakeModel())
    again.refine(again.plan(fraction=1.0))
    assert (again.states == TileState.REFINED).all()


# -- what is refused ---------------------------------------------------------------------------

REFUSED: dict[str, dict[str, Any]] = {
    "two criteria": {"threshold": 0.2, "fraction": 0.2},
    "a criterion for everything": {"threshold": 0.2, "refine": "all"},
    "a share above all": {"fraction": 1.5},
    "an unknown way": {"refine": "some"},
    "an unknown measure": {"uncertainty": "doubt"},
    "a region beside the slide": {"region": Box(0, 200, 9, 300)},
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_makes_no_sense_is_refused_in_one_line_and_nothing_is_made(
    tmp_path: Path, what: str
) -> None:
    with pytest.raises(SelectionError, match=r"\A[^\n]+\Z"):
        run(tmp_path, **REFUSED[what])
    assert not list(tmp_path.iterdir())


def test_a_slide_without_tissue_leaves_nothing_behind(tmp_path: Path) -> None:
    slide = open_slide(np.full((64, 64, 3), 240, np.uint8), mpp=MPP)
    with pytest.raises(SlideError, match="found no tissue"):
        segment(slide, FakeModel(), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_file_is_no_place_for_a_result_and_is_kept(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("notes")
    for overwrite in (False, True):
        with pytest.raises(TwoStageError, match=r"\A[^\n]+\Z"):
            run(tmp_path, overwrite=overwrite)
    assert (tmp_path / "out").read_text() == "notes"


def test_an_empty_folder_is_a_place_for_a_result(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert (run(tmp_path, refine="none").states == TileState.COARSE).all()


def test_a_folder_that_was_half_made_by_a_killed_run_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("napari_twostage.result.result_files.write_record", killed)
        with pytest.raises(KeyboardInterrupt):
            prepare(noise_slide(), FakeModel(), tmp_path / "out", RunOptions(tissue=False))
    assert not (tmp_path / "out").exists()
    run(tmp_path, refine="none")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_run_that_was_left_open_may_be_collected_in_zarrs_own_thread(tmp_path: Path) -> None:
    """Waiting there for what waits for zarr would never end."""

    async def collect() -> None:
        gc.collect()

    steps = iter_segment(noise_slide(), FakeModel(), tmp_path / "a.zarr", refine="all")
    next(step for step in steps if isinstance(step, ChipRefined))
    forgotten: list[object] = [steps]
    forgotten.append(forgotten)  # a cycle: only the collector can take it
    gc.disable()
    try:
        del steps, forgotten
        asyncio.run_coroutine_threadsafe(collect(), zarr_loop()).result(timeout=30)
    finally:
        gc.enable()
    for thread in threading.enumerate():  # nobody waited for what it had on the way to the disk
        if thread.name.startswith("write"):
            thread.join(timeout=30)
    again = segment(noise_slide(), FakeModel(), tmp_path / "a.zarr", refine="all")
    assert TileState.COARSE not in again.states


def test_a_folder_that_goes_as_soon_as_it_is_made_is_said_to_be_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.zarr"
    read = api.read_record

    def move_away(path: Path) -> Record:
        path.rename(tmp_path / "away.zarr")
        return read(path)

    monkeypatch.setattr(api, "read_record", move_away)
    with pytest.raises(StorageError, match=r"out\.zarr: .*bring it back"):
        segment(noise_slide(), FakeModel(), out, refine="none")
    assert not out.exists()
