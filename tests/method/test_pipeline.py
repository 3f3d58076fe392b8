"""The method without a disk: lazy, in order, with results that do not depend on batching."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes import FakeModel, FakeReader, make_card, noise

from napari_twostage.errors import LogitsError
from napari_twostage.geometry import Box
from napari_twostage.method.lookahead import COMPUTE_AHEAD, READ_AHEAD
from napari_twostage.method.pipeline import (
    LOGIT_LIMIT,
    Work,
    coarse_pass,
    refine_tiles,
    segment_slide,
)
from napari_twostage.method.selection import Plan, Selection
from napari_twostage.method.steps import (
    ChipFailed,
    ChipRefined,
    CoarsePassStarted,
    CoarseWindowDone,
    TilesSelected,
)
from napari_twostage.method.tiling import Tile, TileGrid
from napari_twostage.method.uncertainty import labels

FINE = noise(134, 90)
"""Nine by six tiles of 16 pixels, the last of each cut by the edge."""
COARSE = noise(34, 23)
ALL = tuple(np.ndindex(9, 6))


def work(model: FakeModel | None = None, **changes: Any) -> Work:
    model = model or FakeModel()
    side = model.card.coarse_core_px
    coarse = FakeReader(COARSE)
    windows = [Box.at(b.top, b.left, side, side) for b in coarse.grid.box.blocks(side)]
    tiles = TileGrid(FINE.shape[:2], model.card.tile_px, model.card.halo_px)
    values = {"fine": FakeReader(FINE), "coarse": coarse, "tiles": tiles, "windows": windows}
    return Work(model=model, **{**values, **changes})


def plan(tiles: tuple[Tile, ...]) -> Plan:
    return Plan(
        n_tiles=len(tiles),
        selected=len(tiles),
        fraction=1.0,
        estimated_seconds=None,
        expected_dice=1.0,
        expected_dice_before=1.0,
        tiles=tiles,
        selection=Selection(),
    )


def refined(job: Work, tiles: list[Tile] | tuple[Tile, ...]) -> dict[Tile, bytes]:
    """Labels of each tile, as bytes."""
    found = {}
    for step in refine_tiles(job, tiles):
        assert isinstance(step, ChipRefined)
        for tile in step.chip.tiles:
            place = job.tiles.core(tile).shift(-step.chip.core.top, -step.chip.core.left)
            found[tile] = step.labels[place.slices].tobytes()
    return found


@pytest.mark.parametrize("concurrent_batches", [1, 2])
def test_the_coarse_pass_comes_first_and_tiles_in_the_order_of_the_plan(
    concurrent_batches: int,
) -> None:
    wanted = ((3, 1), (0, 0), (2, 5), (8, 5))
    model = FakeModel(refine_batch=1, concurrent_batches=concurrent_batches)
    steps = list(segment_slide(work(model), lambda: plan(wanted)))
    windows = len(work().windows)
    assert steps[0] == CoarsePassStarted(windows)
    assert all(isinstance(step, CoarseWindowDone) for step in steps[1 : windows + 1])
    assert steps[windows + 1] == TilesSelected(plan(wanted))
    assert [step.chip.tiles for step in steps[windows + 2 :]] == [(tile,) for tile in wanted]


def test_the_plan_is_requested_once_after_every_window_was_taken() -> None:
    taken = requests = 0
    job = work()

    def select() -> Plan:
        nonlocal requests
        requests += 1
        assert taken == len(job.windows)
        return plan(())

    for step in segment_slide(job, select):
        taken += isinstance(step, CoarseWindowDone)
    assert requests == 1


def ahead(model: FakeModel) -> int:
    """Most chips that are started before the first one is yielded."""
    return model.refine_batch * (READ_AHEAD + COMPUTE_AHEAD + model.concurrent_batches)


def test_nothing_runs_before_the_first_step() -> None:
    job = work()
    segment_slide(job, lambda: plan(ALL))
    refine_tiles(job, ALL)
    assert not job.coarse.read_boxes
    assert not job.fine.read_boxes


@pytest.mark.parametrize("concurrent_batches", [1, 2])
def test_reading_ahead_is_bounded_and_closing_cancels(concurrent_batches: int) -> None:
    job = work(FakeModel(concurrent_batches=concurrent_batches))
    steps = refine_tiles(job, ALL)
    next(steps)
    steps.close()
    assert len(job.fine.read_boxes) <= ahead(job.model) < len(ALL)
    assert 1 <= job.model.calls <= concurrent_batches + COMPUTE_AHEAD


def test_coarse_cores_partition_the_plane_and_hold_its_logits() -> None:
    job = work()
    owners = np.zeros(COARSE.shape[:2], int)
    found = np.empty((1, *COARSE.shape[:2]), np.float16)
    for step in coarse_pass(job):
        owners[step.core.slices] += 1
        found[:, *step.core.slices] = step.logits
        assert not step.unreadable
    assert (owners == 1).all()
    halo = job.model.card.coarse_halo_px
    padded = np.pad(COARSE, ((halo, halo), (halo, halo), (0, 0)), mode="reflect")
    whole = job.model._logits(padded)[:, halo:-halo, halo:-halo] / 8
    np.testing.assert_array_equal(found, whole.astype(np.float16))


def test_logits_are_kept_within_their_limit() -> None:
    job = work(coarse=FakeReader(np.full((16, 16, 3), 255, np.uint8)), windows=[Box(0, 0, 8, 8)])
    job.model.coarse = lambda windows: np.full((len(windows), 1, 12, 12), 1e9, np.float32)
    (step,) = coarse_pass(job)
    assert (step.logits == LOGIT_LIMIT).all()


# -- law 2 -------------------------------------------------------------------------------------


@given(order=st.permutations(ALL), count=st.integers(1, len(ALL)), batch=st.integers(1, 7))
def test_a_tiles_labels_depend_on_no_order_batch_or_other_tile(
    order: list[Tile], count: int, batch: int
) -> None:
    everything = refined(work(FakeModel(looks_far=True)), ALL)
    model = FakeModel(looks_far=True, refine_batch=batch)
    some = refined(work(model), order[:count])
    assert some == {tile: everything[tile] for tile in order[:count]}


@given(order=st.permutations(ALL), count=st.integers(1, len(ALL)), batch=st.integers(1, 5))
def test_merged_chips_of_a_local_refiner_give_the_labels_of_unmerged_ones(
    order: list[Tile], count: int, batch: int
) -> None:
    apart, merged = (
        refined(work(FakeModel(make_card(mergeable=merge), refine_batch=batch)), order[:count])
        for merge in (False, True)
    )
    assert merged == apart


def test_merging_is_only_for_models_whose_card_says_so() -> None:
    for mergeable in (False, True):
        job = work(FakeModel(make_card(mergeable=mergeable)))
        chips = [step.chip for step in refine_tiles(job, ALL)]
        assert (len(chips) < len(ALL)) is mergeable


def test_refining_all_tiles_is_the_dense_run_with_the_same_halo() -> None:
    job = work()
    found = np.empty(FINE.shape[:2], np.uint8)
    for step in refine_tiles(job, ALL):
        inside = step.chip.core.clip(FINE.shape[:2])
        found[inside.slices] = step.labels[: inside.height, : inside.width]
    halo = job.model.card.halo_px
    padded = np.pad(FINE, ((halo, halo), (halo, halo), (0, 0)), mode="reflect")
    np.testing.assert_array_equal(found, labels(job.model._logits(padded))[halo:-halo, halo:-halo])


# -- what is in view ---------------------------------------------------------------------------

VIEWS = st.lists(
    st.one_of(
        st.none(),
        st.builds(Box.at, *[st.integers(-20, 140)] * 2, *[st.integers(0, 60)] * 2),
    ),
    min_size=1,
    max_size=8,
)


class Panning:
    """Focus that shows one box after another and moves on after every few calls."""

    def __init__(self, views: list[Box | None], every: int) -> None:
        self.views, self.every = views, every
        self.shown: list[Box | None] = []

    def __call__(self) -> Box | None:
        self.shown.append(self.views[len(self.shown) // self.every % len(self.views)])
        return self.shown[-1]


def in_order(boxes: list[Box], shown: list[Box | None]) -> list[Box]:
    """Expected order of boxes: at each moment the first one in view, otherwise the first one."""
    left, order = list(boxes), []
    for view in shown:
        touching = [box for box in left if view and box.intersect(view).area]
        order.append((touching or left)[0])
        left.remove(order[-1])
    return order


@settings(max_examples=20)
@given(views=VIEWS, every=st.integers(1, 9), order=st.permutations(ALL), merge=st.booleans())
def test_tiles_in_view_come_first_and_each_comes_once(
    views: list[Box | None], every: int, order: list[Tile], merge: bool
) -> None:
    focus = Panning(views, every)
    job = work(FakeModel(make_card(mergeable=merge)), focus=focus)
    wanted = order[:40]
    steps = list(refine_tiles(job, wanted))
    assert sorted(tile for step in steps for tile in step.chip.tiles) == sorted(wanted)
    chips = job.tiles.chips(wanted, merge=merge)
    if not merge:  # merged chips have several shapes, and a batch holds one
        expected = in_order([chip.core for chip in chips], focus.shown)
        assert [step.chip.core for step in steps] == expected
    assert {step.chip for step in steps} == set(chips)
    assert len(focus.shown) == len(chips)


@settings(max_examples=10)
@given(views=VIEWS, every=st.integers(1, 9))
def test_labels_do_not_depend_on_the_focus(views: list[Box | None], every: int) -> None:
    model = FakeModel(looks_far=True)
    assert refined(work(model, focus=Panning(views, every)), ALL) == refined(work(model), ALL)


@given(views=VIEWS, every=st.integers(1, 9))
def test_coarse_windows_in_view_come_first(views: list[Box | None], every: int) -> None:
    focus = Panning(views, every)
    job = work(focus=focus)
    found = [step.core for step in coarse_pass(job)]
    ratio = job.model.card.ratio
    fine = {core.scaled(ratio): core.clip(COARSE.shape[:2]) for core in job.windows}
    assert found == [fine[box] for box in in_order(list(fine), focus.shown)]


@pytest.mark.parametrize("concurrent_batches", [1, 2])
def test_a_pan_takes_effect_within_what_is_read_ahead(concurrent_batches: int) -> None:
    view: list[Box | None] = [None]
    job = work(FakeModel(concurrent_batches=concurrent_batches), focus=lambda: view[0])
    steps = refine_tiles(job, ALL)
    next(steps)
    last = job.tiles.core((8, 5))
    view[0] = last
    following = [step.chip.core for step in islice(steps, ahead(job.model))]
    assert last in following


# -- damage ------------------------------------------------------------------------------------


def test_a_chip_that_cannot_be_read_fails_and_the_others_are_refined() -> None:
    job = work(fine=FakeReader(FINE, damaged=Box(40, 40, 42, 42)))
    whole = refined(work(), ALL)
    reached = {t for t in ALL if job.tiles.core(t).grow(4).intersect(Box(40, 40, 42, 42)).area}
    failed, done = set(), {}
    for step in refine_tiles(job, ALL):
        if isinstance(step, ChipFailed):
            assert step.reason == "damaged"
            failed.update(step.chip.tiles)
        else:
            done[step.chip.tiles[0]] = step.labels.tobytes()
    assert failed == reached
    assert done == {tile: whole[tile] for tile in ALL if tile not in reached}


def test_damage_costs_the_coarse_pass_only_the_tiles_it_is_in() -> None:
    job = work(coarse=FakeReader(COARSE, damaged=Box(9, 9, 10, 14)))
    steps = list(coarse_pass(job))
    unreadable = {tile: why for step in steps for tile, why in step.unreadable.items()}
    assert unreadable == {(2, 2): "damaged", (2, 3): "damaged"}
    assert len(steps) == len(job.windows)
    for damaged, sound in zip(steps, coarse_pass(work()), strict=True):
        if not damaged.core.grow(2).intersect(Box(9, 9, 10, 14)).area:
            np.testing.assert_array_equal(damaged.logits, sound.logits)


def test_a_window_that_is_all_damage_does_not_stop_the_run() -> None:
    job = work(coarse=FakeReader(COARSE, damaged=Box(-99, -99, 99, 99)))
    steps = list(coarse_pass(job))
    assert {tile for step in steps for tile in step.unreadable} == set(ALL)


def test_a_failure_of_the_model_ends_the_run() -> None:
    job = work()

    def broken(_: list[np.ndarray]) -> np.ndarray:
        raise MemoryError("no room")

    job.model.refine = broken
    with pytest.raises(MemoryError):
        list(refine_tiles(job, ALL))


def test_only_what_is_left_of_the_coarse_pass_is_done() -> None:
    job = work()
    left = replace(job, windows=job.windows[3:5])
    assert [s.core for s in coarse_pass(left)] == [
        s.core for s in islice(coarse_pass(work()), 3, 5)
    ]


class BadModel(FakeModel):
    """Model that gives one value of a chosen window, and no other number there."""

    def __init__(self, value: float, call: int) -> None:
        super().__init__()
        self.bad, self.left = value, call

    def coarse(self, windows: list[np.ndarray]) -> np.ndarray:
        return self._spoilt(super().coarse(windows))

    def refine(self, windows: list[np.ndarray]) -> np.ndarray:
        return self._spoilt(super().refine(windows))

    def _spoilt(self, logits: np.ndarray) -> np.ndarray:
        self.left -= 1
        if not self.left:
            logits[-1, 0, 0, 0] = self.bad
        return logits


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_logits_that_are_no_numbers_end_the_run_with_stage_and_place(value: float) -> None:
    # the second batch of three; windows of 8 coarse pixels, three a row
    with pytest.raises(LogitsError, match=r"model fake .* stage 1, .* row 8, column 16:"):
        list(coarse_pass(work(BadModel(value, 2))))
    with pytest.raises(LogitsError, match=r"model fake .* stage 2, tile at row 0, column 80:"):
        list(refine_tiles(work(BadModel(value, 2)), ALL))


def test_large_logits_are_numbers() -> None:
    done = list(coarse_pass(work(BadModel(1e30, 1))))
    assert all(np.isfinite(step.logits).all() for step in done)
    assert max(step.logits.max() for step in done) == LOGIT_LIMIT
