"""The review: order and position of uncertain places, what was accepted, failed tiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.fakes import FakeModel, damage, noise, noise_slide
from tests.proofs.helpers import overwrite_tile, write_tiff
from tests.session.helpers import PATIENCE_S, Recorder, coarse_session, open_session

import napari_twostage as ts
from napari_twostage.errors import SelectionError
from napari_twostage.method.tiling import TileGrid, TileState
from napari_twostage.session.places import PlaceQueue

if TYPE_CHECKING:
    from pathlib import Path


SIDE = 4
"""Tiles along the side of a place: they have 16 pixels."""


@pytest.fixture
def session(tmp_path: Path) -> ts.Session:
    """Session with 8 × 9 tiles, which lie in 2 × 3 places, all of them above the threshold."""
    opened = coarse_session(tmp_path / "out", noise_slide(128, 144))
    opened.threshold = 0.0
    return opened


def numbers(session: ts.Session, count: int) -> list[int]:
    return [session.review.next().number for _ in range(count)]


def best(session: ts.Session, number: int) -> float:
    """Highest score of a place's tiles that are coarse."""
    row, column = (SIDE * part for part in divmod(number, 3))
    part = np.s_[row : row + SIDE, column : column + SIDE]
    coarse = session.seg.states[part] == TileState.COARSE
    return float(session.seg.scores[part][coarse].max())


# -- order and position ------------------------------------------------------------------------


def test_places_come_from_the_most_uncertain_down_and_then_again(session) -> None:
    order = sorted(range(6), key=lambda number: -best(session, number))
    assert numbers(session, 6) == order
    assert session.review.describe().startswith("6 of 6 · about ")
    assert numbers(session, 1) == order[:1]
    assert session.review.previous().number == order[-1]
    assert session.review.previous().number == order[-2]


def test_a_place_has_the_tiles_above_the_threshold_and_their_doubtful_pixels(session) -> None:
    seg = session.seg
    session.threshold = float(np.median(seg.scores))
    shown = [session.review.next() for _ in range(len(session.review.queue))]
    tiles = sorted(list(tile) for place in shown for tile in place.tiles)
    assert tiles == np.argwhere(seg.scores > session.threshold).tolist()
    last = shown[-1]
    wrong = sum(seg.scores[tile] / 2 * seg.tiles.box(tile).area for tile in last.tiles)
    said = float(f"{wrong:.2g}")
    assert session.review.describe() == (
        f"{len(shown)} of {len(shown)} · about {said:,.0f} doubtful pixels"
    )
    for tile in last.tiles:
        assert last.box.contains(seg.tiles.box(tile))
    assert last.view.shape == (SIDE * 16, SIDE * 16)


def test_equal_scores_come_row_by_row() -> None:
    grid = TileGrid((64, 160), 16, 4)
    queue = PlaceQueue(grid, np.ones(grid.shape, bool), np.full(grid.shape, 0.5, np.float32))
    assert [queue[index].number for index in range(len(queue))] == [0, 1, 2]
    assert queue[2].box == ts.Box(0, 128, 64, 160)


def test_the_position_is_kept_while_places_are_refined(session) -> None:
    review, order = session.review, sorted(range(6), key=lambda number: -best(session, number))
    numbers(session, 3)
    session.refine(review.selection())
    session.wait(PATIENCE_S)
    assert set(session.review.place.tiles) == set(
        map(tuple, np.argwhere(session.seg.refined).tolist())
    )
    assert review.describe() == "Refined · 5 places left"
    assert not review.waits
    with pytest.raises(SelectionError, match="press Next"):
        review.selection()
    assert review.next().number == order[3]
    assert review.describe().startswith("3 of 5 · ")
    # the most uncertain tile of this place is refined by other means: the place stays the third
    most = session.seg.plan(region=review.place.box).tiles[0]
    session.refine_region(session.seg.tiles.box(most))
    session.wait(PATIENCE_S)
    assert most not in review.place.tiles
    assert review.describe().startswith("3 of 5 · ")
    assert review.previous().number == order[1]


def test_a_higher_threshold_shortens_the_queue_and_keeps_the_place(session) -> None:
    review, order = session.review, sorted(range(6), key=lambda number: -best(session, number))
    numbers(session, 2)
    session.threshold = (best(session, order[2]) + best(session, order[3])) / 2
    assert review.describe().startswith("2 of 3 · ")
    assert review.place.number == order[1]
    session.threshold = best(session, order[1])
    assert review.describe() == "Below the threshold · 1 place left"
    session.threshold = 0.0
    assert review.describe().startswith("2 of 6 · ")
    assert review.next().number == order[2]
    session.threshold = 1.0
    with pytest.raises(SelectionError, match="lower the threshold"):
        review.next()


# -- accepting ---------------------------------------------------------------------------------


def test_an_accepted_place_leaves_the_queue_for_good(session, tmp_path) -> None:
    review, order = session.review, sorted(range(6), key=lambda number: -best(session, number))
    with pytest.raises(SelectionError, match="no place is shown"):
        review.accept()
    before = session.forecast.n_tiles
    place = review.next()
    assert review.accept().number == order[1]  # at once, before it is written
    assert review.describe().startswith("1 of 5 · ")
    session.wait(PATIENCE_S)
    assert review.accepted_places == 1
    assert session.forecast.n_tiles == before - len(place.tiles)

    again = coarse_session(tmp_path / "out", session.slide)
    again.threshold = 0.0
    assert again.review.accepted_places == 1
    assert again.review.next().number != place.number


def test_no_refinement_changes_what_was_accepted(session) -> None:
    place = session.review.next()
    session.review.accept()
    session.wait(PATIENCE_S)
    accepted = session.seg.accepted
    for refine in (
        session.refine_uncertain,
        lambda: session.refine_region(ts.Box(0, 0, 128, 144)),
        session.refine_next,
    ):
        refine()
        session.wait(PATIENCE_S)
    np.testing.assert_array_equal(session.seg.refined, ~accepted)
    assert accepted.sum() == len(place.tiles)
    assert "1 place accepted by hand" in session.as_python()


def test_acceptances_are_taken_back_one_by_one(session) -> None:
    review = session.review
    first = review.next()
    second = review.accept()
    session.wait(PATIENCE_S)
    review.accept()
    assert review.take_back() == second  # asked for while the acceptance is being written
    session.wait(PATIENCE_S)
    assert review.accepted_places == 1
    assert review.describe().startswith("1 of 5 · ")
    assert review.take_back() == first
    session.wait(PATIENCE_S)
    assert not session.seg.accepted.any()
    assert review.next() == second
    with pytest.raises(SelectionError, match="no place was accepted"):
        review.take_back()


def test_an_acceptance_that_cannot_be_written_comes_back(session, tmp_path) -> None:
    place = session.review.next()
    other = ts.Segmentation.open(tmp_path / "out")
    with other.writer.writing():
        session.review.accept()
        with pytest.raises(ts.errors.LockedError):
            session.wait(PATIENCE_S)
    assert session.notice.kind == "error"
    assert session.review.accepted_places == 0
    assert session.review.previous() == place


def test_an_edited_place_leaves_the_queue(session) -> None:
    review = session.review
    review.next()
    session.edit(review.surroundings())
    session.wait(PATIENCE_S)
    session.commit_edit(1 - session.editing.labels)
    session.wait(PATIENCE_S)
    assert review.describe().startswith("Edited · ")


# -- failed tiles ------------------------------------------------------------------------------


def test_failed_tiles_are_retried_once_the_slide_is_mended(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "slide.tif", noise(128, 128), tile=(64, 64))
    sound = path.read_bytes()
    overwrite_tile(path, 3, b"\xff" * 64)
    session = open_session(tmp_path / "out", ts.open_slide(path))
    recorder = Recorder(session)
    session.run_coarse()
    session.wait(PATIENCE_S)
    seg, failed = session.seg, set(session.seg.failures)
    assert failed
    (line,) = recorder.errors
    assert line.startswith(f"{len(failed)} tiles failed and have no labels: slide.tif: ")
    assert "press Retry under Review" in line

    place = session.review.next_failed()
    assert set(place.tiles) <= failed
    assert "failed here" in session.review.describe()
    session.refine_region(ts.Box(0, 0, 128, 128))  # tries them again, and fails again
    session.wait(PATIENCE_S)
    assert set(seg.failures) >= failed
    path.write_bytes(sound)
    session.refine(session.review.failed_selection())
    session.wait(PATIENCE_S)
    assert not seg.failures
    assert not seg.check()
    whole = ts.segment(
        ts.open_slide(path), FakeModel(), tmp_path / "whole", refine="all", tissue=False
    )
    np.testing.assert_array_equal(seg.read_labels(seg.grid.box), whole.read_labels(seg.grid.box))
    with pytest.raises(SelectionError, match="no tile has failed"):
        session.review.next_failed()


def test_a_failed_tile_says_what_it_shows(tmp_path: Path) -> None:
    slide = noise_slide()
    slide.fingerprint()
    session = coarse_session(tmp_path / "out", slide)
    seg = session.seg
    full = np.array(
        [
            [bool(seg.read_labels(seg.tiles.box((row, column))).any()) for column in range(6)]
            for row in range(5)
        ]
    )
    assert full.any()
    recorder = Recorder(session)
    damage(slide, ts.Box(0, 0, 70, 90))
    session.refine_region(ts.Box(0, 0, 70, 90))
    session.wait(PATIENCE_S)
    (line,) = recorder.errors
    kept = "kept their coarse labels" if full.all() else f"{full.sum()} of them kept coarse labels"
    assert line.startswith(f"30 tiles failed and {kept}: ")
