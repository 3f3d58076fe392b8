"""The ledger: replaying the journal gives what the live one holds."""

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
from napari_twostage.result.tile_log import Ledger

TILES = TileGrid((60, 75), tile_px=16, halo_px=4)
tiles = st.tuples(st.integers(0, 3), st.integers(0, 4))
some_tiles = st.lists(tiles, min_size=1, max_size=4, unique=True)
boxes = st.builds(
    Box.at, st.integers(0, 50), st.integers(0, 60), st.integers(1, 10), st.integers(1, 15)
)
reasons = st.sampled_from(["damaged", "gone"])

Action = Callable[[Ledger], object]
actions = st.one_of(
    st.builds(
        lambda core, bad, shown: lambda ledger: ledger.window_done(core, bad, shown=shown),
        boxes,
        st.dictionaries(tiles, reasons, max_size=2),
        st.booleans(),
    ),
    st.builds(lambda chosen: lambda ledger: ledger.tiles_refined(chosen), some_tiles),
    st.builds(
        lambda chosen, why: lambda ledger: ledger.tiles_failed(chosen, why), some_tiles, reasons
    ),
    st.just(lambda ledger: ledger.overview_fresh()),
    st.builds(lambda box: lambda ledger: ledger.edited(box), boxes),
    st.just(lambda ledger: ledger.edits and ledger.edit_undone(ledger.edits[-1][0])),
)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(Journal(tmp_path / "journal.jsonl"), TILES)


def all_of(ledger: Ledger) -> dict[str, object]:
    everywhere = np.ones(TILES.shape, bool)
    return {
        "windows": ledger.windows,
        "refined": ledger.refined.tolist(),
        "failed": ledger.failed,
        "unreadable": ledger.unreadable,
        "edits": ledger.edits,
        "behind": ledger.behind,
        "windows_behind": ledger.windows_behind,
        "edits_made": ledger.edits_made,
        "states": ledger.states(everywhere).tolist(),
    }


@settings(max_examples=40)
@given(st.lists(actions, max_size=12))
def test_a_replayed_ledger_equals_the_live_one(steps: list[Action]) -> None:
    with TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "journal.jsonl")
        live = Ledger(journal, TILES)
        for step in steps:
            step(live)
        assert all_of(Ledger(journal, TILES)) == all_of(live)


def states(ledger: Ledger) -> np.ndarray:
    everywhere = np.ones(TILES.shape, bool)
    return ledger.states(everywhere)


def test_only_seen_tissue_is_coarse(ledger: Ledger) -> None:
    seen = np.zeros(TILES.shape, bool)
    seen[0, 2] = True
    found = ledger.states(seen)
    assert found[0].tolist() == [0, 0, TileState.COARSE, 0, 0]
    assert not found[1:].any()


def test_a_failed_tile_can_be_refined_later(ledger: Ledger) -> None:
    ledger.tiles_failed([(1, 2), (1, 3)], "damaged")
    assert states(ledger)[1, 2] == TileState.FAILED
    assert ledger.failed == {(1, 2): "damaged", (1, 3): "damaged"}
    ledger.tiles_refined([(1, 2)])
    assert states(ledger)[1, 2] == TileState.REFINED
    assert ledger.failed == {(1, 3): "damaged"}


def test_edited_shows_over_all_until_it_is_undone(ledger: Ledger) -> None:
    ledger.tiles_refined([(0, 0)])
    first = ledger.edited(Box(0, 0, 20, 4))
    second = ledger.edited(Box(0, 0, 2, 2))
    assert first != second
    ledger.edit_undone(second)
    assert states(ledger)[:3, 0].tolist() == [TileState.EDITED, TileState.EDITED, TileState.COARSE]
    ledger.edit_undone(first)
    assert states(ledger)[:2, 0].tolist() == [TileState.REFINED, TileState.COARSE]
    assert ledger.edited(Box(0, 0, 1, 1)) not in (first, second), "no number is used twice"


def test_windows_that_the_overview_lacks_are_known(ledger: Ledger) -> None:
    first, second, third = (Box.at(0, left, 8, 8) for left in (0, 8, 16))
    ledger.window_done(first, {})
    ledger.overview_fresh()
    ledger.window_done(second, {})
    ledger.window_done(third, {}, shown=True)
    assert ledger.windows_behind == {second}
    assert ledger.windows == {first, second, third}


def test_what_the_overview_lags_behind_is_known(ledger: Ledger) -> None:
    ledger.tiles_refined([(0, 0)])
    ledger.overview_fresh()
    number = ledger.edited(Box(15, 15, 17, 17))
    assert ledger.behind == {(0, 0), (0, 1), (1, 0), (1, 1)}
    ledger.overview_fresh()
    ledger.edit_undone(number)
    assert ledger.behind == {(0, 0), (0, 1), (1, 0), (1, 1)}
