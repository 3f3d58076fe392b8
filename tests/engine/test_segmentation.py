"""A result: read anywhere, edited, refined further, resumed only as what it is."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes import CLASSES, MPP, FakeModel, make_card, noise, noise_slide

from napari_twostage.engine.api import iter_segment, prepare, run_to_end, segment
from napari_twostage.engine.options import RunOptions
from napari_twostage.engine.segmentation import Segmentation
from napari_twostage.errors import SegmentationError, SelectionError
from napari_twostage.geometry import Box
from napari_twostage.method.resample_labels import thin
from napari_twostage.method.selection import Selection
from napari_twostage.method.steps import ChipRefined, CoarseWindowDone
from napari_twostage.method.tiling import TileState
from napari_twostage.method.uncertainty import labels
from napari_twostage.slides import open_slide

if TYPE_CHECKING:
    from pathlib import Path

    from napari_twostage.models.card import ModelCard

SHAPE = (70, 90)
"""Five by six tiles of 16 pixels, the last of each cut by the edge."""
TILES = 30


def make(path: Path, card: ModelCard | None = None, **options: Any) -> Segmentation:
    return segment(noise_slide(*SHAPE), FakeModel(card), path / "out", tissue=False, **options)


def whole(seg: Segmentation, level: int = 0) -> np.ndarray:
    return seg.read_labels(Box(0, 0, *seg.layout.level_shapes[level]), level)


def dense(card: ModelCard) -> np.ndarray:
    """What stage 2 says of the plane in one piece."""
    halo = card.halo_px
    padded = np.pad(noise(*SHAPE), [(halo, halo), (halo, halo), (0, 0)], mode="reflect")
    return labels(FakeModel(card)._logits(padded))[halo:-halo, halo:-halo]


# -- pixels ------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [CLASSES[:1], CLASSES], ids=["one class", "two classes"])
def test_refining_everything_is_the_dense_result(tmp_path: Path, classes: Any) -> None:
    card = make_card(classes=classes)
    seg = make(tmp_path, card, refine="all")
    assert np.array_equal(whole(seg), dense(card))
    assert set(np.unique(whole(seg))) == set(range(len(classes) + 1))
    assert (seg.states == TileState.REFINED).all()


def test_two_classes_keep_their_values_where_only_stage_1_was(tmp_path: Path) -> None:
    card = make_card(classes=CLASSES)
    seg = make(tmp_path, card, refine="none")
    assert set(np.unique(whole(seg))) == {0, 1, 2}
    assert (whole(seg) == dense(card)).mean() > 0.4  # guessing gives a third
    assert (seg.states == TileState.COARSE).all()
    assert np.isfinite(seg.scores).all()


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Segmentation:
    """Coarse, refined and edited tiles beside each other, with several levels."""
    card = make_card()
    slide = open_slide(noise(300, 410), mpp=MPP)
    path = tmp_path_factory.mktemp("composed") / "out"
    seg = segment(slide, FakeModel(card), path, tissue=False, fraction=0.5)
    seg.edit(Box(33, 41, 90, 140), np.ones((57, 99), np.uint8))
    assert len(seg.labels) > 1
    assert set(np.unique(seg.states)) == {TileState.COARSE, TileState.REFINED, TileState.EDITED}
    return seg


@settings(max_examples=30)
@given(data=st.data())
def test_any_box_of_any_level_is_a_crop_of_the_whole(
    composed: Segmentation, data: st.DataObject
) -> None:
    level = data.draw(st.integers(0, len(composed.labels) - 1))
    height, width = composed.layout.level_shapes[level]
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    box = Box(
        top, left, data.draw(st.integers(top + 1, height)), data.draw(st.integers(left + 1, width))
    )
    assert np.array_equal(composed.read_labels(box, level), whole(composed, level)[box.slices])


def test_lazy_labels_are_the_read_ones(composed: Segmentation) -> None:
    for level, lazy in enumerate(composed.labels):
        assert lazy.shape == composed.layout.level_shapes[level]
        assert np.array_equal(np.asarray(lazy), whole(composed, level))
    assert np.array_equal(np.asarray(composed.labels[0][5:70:3, 8:9]), whole(composed)[5:70:3, 8:9])


def test_a_result_opened_again_is_the_same(composed: Segmentation) -> None:
    again = Segmentation.open(composed.path)
    assert np.array_equal(again.states, composed.states)
    assert np.array_equal(again.scores, composed.scores)
    for level in range(len(composed.labels)):
        assert np.array_equal(whole(again, level), whole(composed, level))


# -- edits -------------------------------------------------------------------------------------

EDITED = Box(10, 20, 40, 50)


def test_edits_stay_above_refinement_and_undo_restores(tmp_path: Path) -> None:
    seg = make(tmp_path, refine="none")
    painted = np.zeros(EDITED.shape, np.uint8)
    painted[::2] = 1
    seg.edit(EDITED, painted)
    seg.refine(seg.plan(fraction=1.0))
    assert np.array_equal(seg.read_labels(EDITED), painted)
    around = np.ones(SHAPE, bool)
    around[EDITED.slices] = False
    assert np.array_equal(whole(seg)[around], dense(seg.card)[around])
    assert seg.undo_edit()
    assert np.array_equal(whole(seg), dense(seg.card))
    assert (seg.states == TileState.REFINED).all()
    assert not seg.undo_edit()


def test_edits_are_undone_one_by_one_in_another_session_too(tmp_path: Path) -> None:
    seg = make(tmp_path, refine="none")
    shown = [whole(seg)]
    for value in (1, 0):
        seg.edit(EDITED.shift(5 * value, 0), np.full(EDITED.shape, value, np.uint8))
        shown.append(whole(seg))
    again = Segmentation.open(seg.path)
    for before in reversed(shown[:-1]):
        assert again.undo_edit()
        assert np.array_equal(whole(again), before)


def test_255_leaves_a_pixel_as_it_is(tmp_path: Path) -> None:
    seg = make(tmp_path, refine="none")
    before = seg.read_labels(EDITED)
    painted = np.full(EDITED.shape, 255, np.uint8)
    painted[3, 4] = 1 - before[3, 4]
    seg.edit(EDITED, painted)
    assert np.argwhere(seg.read_labels(EDITED) != before).tolist() == [[3, 4]]


@pytest.mark.parametrize(
    ("box", "value"), [(EDITED, 2), (EDITED.shift(60, 0), 1), (Box(0, 0, 3, 3), 1)]
)
def test_an_edit_that_does_not_fit_is_refused_and_changes_nothing(
    tmp_path: Path, box: Box, value: int
) -> None:
    seg = make(tmp_path, refine="none")
    before = whole(seg)
    with pytest.raises(SegmentationError, match="edit"):
        seg.edit(box, np.full(EDITED.shape, value, np.uint8))
    assert np.array_equal(whole(seg), before)
    assert not seg.undo_edit()


# -- plans -------------------------------------------------------------------------------------


def test_a_plan_says_what_it_costs_and_brings(tmp_path: Path) -> None:
    seg = make(tmp_path, refine="none")
    plan = seg.plan(fraction=0.5)
    assert (plan.n_tiles, plan.selected, plan.fraction) == (15, 15, 0.5)
    assert plan.estimated_seconds == 15 * FakeModel.seconds_per_tile
    assert 0 < plan.expected_dice_before < plan.expected_dice < 1
    assert seg.plan(budget_s=2.1).n_tiles == 8
    assert seg.plan(region=Box(0, 0, 17, 16)).tiles in {((0, 0), (1, 0)), ((1, 0), (0, 0))}
    scores = [seg.scores[tile] for tile in plan.tiles]
    assert scores == sorted(scores, reverse=True)

    seg.refine(plan)
    assert {tuple(t) for t in np.argwhere(seg.states == TileState.REFINED)} == set(plan.tiles)
    again = seg.plan(fraction=0.5)
    assert (again.n_tiles, again.selected, again.estimated_seconds) == (0, 15, 0)
    assert again.expected_dice_before == pytest.approx(plan.expected_dice)
    assert seg.plan(fraction=1.0).n_tiles == TILES - 15


def test_a_plan_computes_nothing(tmp_path: Path) -> None:
    seg = make(tmp_path, refine="none")
    seg.plan(fraction=1.0)
    assert seg.model.calls == 0
    assert (seg.states == TileState.COARSE).all()


def test_lower_thresholds_hold_what_higher_ones_held(tmp_path: Path) -> None:
    seg = make(tmp_path, refine="none")
    thresholds = np.quantile(seg.scores, [0.9, 0.6, 0.3, 0.0])
    plans = [seg.plan(float(threshold)).tiles for threshold in thresholds]
    assert 0 < len(plans[0]) < len(plans[1]) < len(plans[2]) < len(plans[3])
    for strict, loose in pairwise(plans):
        assert loose[: len(strict)] == strict


@pytest.mark.parametrize(
    "criteria", [{}, {"threshold": 0.1, "fraction": 0.1}, {"fraction": 1.1}, {"budget_s": -1}]
)
def test_a_plan_wants_one_criterion_in_its_range(tmp_path: Path, criteria: Any) -> None:
    seg = make(tmp_path, refine="none")
    with pytest.raises(SelectionError) as caught:
        seg.plan(**criteria)
    assert "\n" not in str(caught.value)


class Unmeasured(FakeModel):
    """Its speed is measured when it is asked for."""

    measured = 0

    @property
    def seconds_per_tile(self) -> float:
        self.measured += 1
        return 0.25


def test_speed_is_measured_only_where_it_is_asked_for(tmp_path: Path) -> None:
    model = Unmeasured()
    seg = segment(noise_slide(*SHAPE), model, tmp_path / "out", tissue=False, fraction=0.2)
    seg.refine(Selection(threshold=0.3))
    assert model.measured == 0
    assert seg.plan(fraction=0.5).estimated_seconds is not None
    assert model.measured == 1
    seg.refine(Selection(budget_s=2.6))
    assert model.measured == 2


# -- the overview ------------------------------------------------------------------------------


def test_coarser_levels_never_lag_behind_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = 500  # a few tiles, or a window or two
    monkeypatch.setattr("napari_twostage.engine.write_queue.FLUSH_BYTES", limit)
    slide = open_slide(noise(40, 2100), mpp=MPP)  # so long that there are levels above the coarse
    options = RunOptions(tissue=False, fraction=0.2)
    written = prepare(slide, FakeModel(), tmp_path / "out", options)
    for taken in run_to_end(written, options.selection(written.card)):
        if isinstance(taken, CoarseWindowDone):
            written.writer.commit()  # which happens within a second anyway
            growing = Segmentation.open(tmp_path / "out", slide=slide, model=FakeModel())
            place = growing.layout.fine_box(taken.core)
            level = len(growing.labels) - 1
            shown = growing.read_labels(place.scaled(1 / growing.layout.steps[level]), level)
            factor = growing.layout.steps[level] // growing.card.ratio
            assert factor > 1
            expected = thin(labels(taken.logits), factor)
            assert np.array_equal(shown, expected)
    seg = Segmentation.open(tmp_path / "out", slide=slide, model=FakeModel())
    most, last = 0, len(seg.labels) - 1
    step = seg.layout.steps[last]
    for taken in seg.iter_refine(Selection(fraction=0.4)):
        most = max(most, seg.writer.buffered_bytes)
        if isinstance(taken, ChipRefined):
            place = seg.tiles.box(taken.chip.tiles[0])
            shown = seg.read_labels(place.scaled(1 / step), last)
            inside = taken.labels[: place.height, : place.width]
            assert np.array_equal(shown, thin(inside, step))
    one = sum((seg.card.tile_px // step) ** 2 for step in seg._files.store.pyramid.steps)
    assert 0 < most < limit + one  # the last one is written, and then all are
    assert not seg._files.store.pyramid.stale


def test_edits_during_a_run_are_those_after_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    boxes = [Box.at(int(top), int(left), 40, 40) for top, left in rng.integers(0, 250, (6, 2))]
    labels = rng.choice(np.array([0, 1, 255], np.uint8), (len(boxes), 40, 40))
    slide = open_slide(noise(300, 410), mpp=MPP)

    def fresh(name: str) -> Segmentation:
        return segment(slide, FakeModel(), tmp_path / name, tissue=False, refine="none")

    def edit(seg: Segmentation) -> None:
        for box, painted in zip(boxes, labels, strict=True):
            seg.edit(box, painted)

    after, during = fresh("after"), fresh("during")
    after.refine(Selection(fraction=0.5))
    edit(after)
    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(edit, during)
        during.refine(Selection(fraction=0.5))
        job.result()
    during.writer.flush()
    for seg in (during, Segmentation.open(during.path)):
        for level in range(len(seg.labels)):
            assert np.array_equal(whole(seg, level), whole(after, level))
        assert np.array_equal(seg.states, after.states)
    for _ in boxes:
        assert seg.undo_edit()
        assert after.undo_edit()
        assert np.array_equal(whole(seg), whole(after))


def test_two_who_edit_at_once_can_both_undo(tmp_path: Path) -> None:
    seg = make(tmp_path, refine="none")
    before = whole(seg)
    with ThreadPoolExecutor(4) as pool:
        for value in (0, 1) * 8:
            pool.submit(seg.edit, EDITED, np.full(EDITED.shape, value, np.uint8))
    assert [edit.number for edit in seg._files.log.edits] == list(range(16))
    while seg.undo_edit():
        pass
    assert np.array_equal(whole(seg), before)


# -- going on ----------------------------------------------------------------------------------


@pytest.mark.parametrize("taken", [1, 3, 6, 14])
def test_a_run_that_was_stopped_goes_on_to_the_same_result(tmp_path: Path, taken: int) -> None:
    slide, model = noise_slide(*SHAPE), FakeModel()
    steps = iter_segment(slide, model, tmp_path / "out", tissue=False, refine="all")
    for _ in range(taken):
        next(steps)
    steps.close()
    seg = make(tmp_path, refine="all")
    assert np.array_equal(whole(seg), dense(seg.card))


def test_a_finished_run_is_not_computed_again(tmp_path: Path) -> None:
    make(tmp_path, refine="all")
    assert make(tmp_path, refine="all").model.calls == 0


OTHERS = {
    "parameters": {"tissue": True},
    "region": {"region": Box(0, 0, 20, 20)},
    "uncertainty": {"uncertainty": "entropy"},
    "model": {"model": FakeModel(make_card(default_threshold=0.4))},
    "slide": {"slide": noise_slide(*SHAPE, seed=1)},
}


@pytest.mark.parametrize("other", OTHERS)
def test_a_result_of_something_else_is_refused_and_kept(tmp_path: Path, other: str) -> None:
    before = whole(make(tmp_path))
    arguments = {"slide": noise_slide(*SHAPE), "model": FakeModel(), "tissue": False}
    with pytest.raises(SegmentationError, match="choose another output folder") as caught:
        segment(out=tmp_path / "out", **{**arguments, **OTHERS[other]})
    assert "\n" not in str(caught.value)
    assert np.array_equal(whole(make(tmp_path)), before)


def test_what_is_no_result_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    with pytest.raises(SegmentationError):
        make(tmp_path, overwrite=True)
    assert (tmp_path / "out" / "thesis.txt").read_text() == "years of work"


def test_overwriting_starts_afresh(tmp_path: Path) -> None:
    make(tmp_path, refine="all")
    assert (make(tmp_path, refine="none", overwrite=True).states == TileState.COARSE).all()
