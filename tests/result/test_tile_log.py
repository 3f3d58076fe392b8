"""The log: replaying the journal gives what the live one holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_twostage.geometry import Box
from napari_twostage.method.tiling import TileGrid, TileState
from napari_twostage.result.journal import Journal
from napari_twostage.result.journal_events import (
    EditMade,
    EditUndone,
    PyramidFlushed,
    TilesAccepted,
    TilesFailed,
    TilesRefined,
    WindowDone,
)
from napari_twostage.result.tile_log import TileLog

TILES = TileGrid((60, 75), tile_px=16, halo_px=4)
tiles = st.tuples(st.integers(0, 3), st.integers(0, 4))
some_tiles = st.lists(tiles, min_size=1, max_size=4, unique=True)
boxes = st.builds(
    Box.at, st.integers(0, 50), st.integers(0, 60), st.integers(1, 10), st.integers(1, 15)
)
reasons = st.sampled_from(["damaged", "gone"])


def edit(log: TileLog, box: Box) -> int:
    number = log.edits_made
    log.record(EditMade(number, box))
    return number


Action = Callable[[TileLog], object]
actions = st.one_of(
    st.builds(
        lambda core, bad, shown: lambda log: log.record(WindowDone(core, bad, shown)),
        boxes,
        st.dictionaries(tiles, reasons, max_size=2),
        st.booleans(),
    ),
    st.builds(lambda chosen: lambda log: log.record(TilesRefined(tuple(chosen))), some_tiles),
    st.builds(
        lambda chosen, why: lambda log: log.record(TilesFailed(tuple(chosen), why)),
        some_tiles,
        reasons,
    ),
    st.builds(
        lambda chosen, back: lambda log: log.record(TilesAccepted(tuple(chosen), back)),
        some_tiles,
        st.booleans(),
    ),
    st.just(lambda log: log.record(PyramidFlushed())),
    st.builds(lambda box: lambda log: edit(log, box), boxes),
    st.just(lambda log: log.edits and log.record(EditUndone(log.edits[-1].number))),
)


@pytest.fixture
def log(tmp_path: Path) -> TileLog:
    return TileLog(Journal(tmp_path / "journal.jsonl"), TILES)


def all_of(log: TileLog) -> dict[str, object]:
    everywhere = np.ones(TILES.shape, bool)
    return {
        "windows": log.windows,
        "refined": log.refined.tolist(),
        "failed": log.failed,
        "accepted": log.acceptances,
        "edits": log.edits,
        "stale_tiles": log.stale_tiles,
        "stale_windows": log.stale_windows,
        "edits_made": log.edits_made,
        "states": log.states(everywhere).tolist(),
    }


@settings(max_examples=40)
@given(st.lists(actions, max_size=12))
def test_a_replayed_log_equals_the_live_one(steps: list[Action]) -> None:
    with TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "journal.jsonl")
        live = TileLog(journal, TILES)
        for step in steps:
            step(live)
        live.commit()
        assert all_of(TileLog(journal, TILES)) == all_of(live)


def states(log: TileLog) -> np.ndarray:
    everywhere = np.ones(TILES.shape, bool)
    return log.states(everywhere)


def test_only_seen_tissue_is_coarse(log: TileLog) -> None:
    seen = np.zeros(TILES.shape, bool)
    seen[0, 2] = True
    found = log.states(seen)
    assert found[0].tolist() == [0, 0, TileState.COARSE, 0, 0]
    assert not found[1:].any()


def test_a_failed_tile_can_be_refined_later(log: TileLog) -> None:
    log.record(TilesFailed(((1, 2), (1, 3)), "damaged"))
    assert states(log)[1, 2] == TileState.FAILED
    assert log.failed == {(1, 2): "damaged", (1, 3): "damaged"}
    log.record(TilesRefined(((1, 2),)))
    assert states(log)[1, 2] == TileState.REFINED
    assert log.failed == {(1, 3): "damaged"}


def test_a_window_that_can_be_read_after_all_has_no_failed_tiles(log: TileLog) -> None:
    core = Box(0, 0, 4, 4)
    log.record(WindowDone(core, {(0, 0): "damaged", (0, 1): "damaged"}))
    log.record(WindowDone(core, {(0, 1): "gone"}))
    assert log.failed == {(0, 1): "gone"}
    log.record(WindowDone(core, {}))
    assert not log.failed


def test_the_last_of_equal_acceptances_is_taken_back(log: TileLog) -> None:
    first, second = ((0, 0), (0, 1)), ((1, 0),)
    for tiles in (first, second, first):
        log.record(TilesAccepted(tiles))
    log.record(TilesAccepted(first, taken_back=True))
    assert log.acceptances == [first, second]
    log.record(TilesAccepted(((2, 2),), taken_back=True))
    assert log.acceptances == [first, second]


def test_edited_shows_over_all_until_it_is_undone(log: TileLog) -> None:
    log.record(TilesRefined(((0, 0),)))
    first = edit(log, Box(0, 0, 20, 4))
    second = edit(log, Box(0, 0, 2, 2))
    assert first != second
    log.record(EditUndone(second))
    assert states(log)[:3, 0].tolist() == [TileState.EDITED, TileState.EDITED, TileState.COARSE]
    log.record(EditUndone(first))
    assert states(log)[:2, 0].tolist() == [TileState.REFINED, TileState.COARSE]
    assert edit(log, Box(0, 0, 1, 1)) not in (first, second), "no number is used twice"


def test_windows_that_the_overview_lacks_are_known(log: TileLog) -> None:
    first, second, third = (Box.at(0, left, 8, 8) for left in (0, 8, 16))
    log.record(WindowDone(first, {}, in_pyramid=False))
    log.record(PyramidFlushed())
    log.record(WindowDone(second, {}, in_pyramid=False))
    log.record(WindowDone(third, {}))
    assert log.stale_windows == {second}
    assert log.windows == {first, second, third}


def test_what_the_overview_lags_behind_is_known(log: TileLog) -> None:
    log.record(TilesRefined(((0, 0),)))
    log.record(PyramidFlushed())
    number = edit(log, Box(15, 15, 17, 17))
    assert log.stale_tiles == {(0, 0), (0, 1), (1, 0), (1, 1)}
    log.record(PyramidFlushed())
    log.record(EditUndone(number))
    assert log.stale_tiles == {(0, 0), (0, 1), (1, 0), (1, 1)}
