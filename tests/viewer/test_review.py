"""The review in a real window: places are framed, done with, and counted; the pointer is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_twostage.geometry import Box
from napari_twostage.viewer.colormaps import Ink

if TYPE_CHECKING:
    from tests.viewer.conftest import Window

UM = {"scale": (0.5, 0.5), "units": ("um", "um")}


@pytest.fixture
def review(window) -> Window:
    """Window with a finished coarse pass, and every tile above the threshold."""
    window.run_coarse()
    window.part("threshold").setValue(0.0)
    window.settle()
    return window


def line(window: Window) -> str:
    return str(window.part("review_place").text())


def framed(window: Window) -> Box:
    """Box of the fine grid that the white frame on the canvas covers."""
    window.panel.layers.redraw()
    drawn = window.panel.layers.tile_overlay.draw(window.panel.session.seg.grid.box, 1)
    white = np.argwhere(drawn == Ink.PLACE)
    (top, left), (bottom, right) = white.min(axis=0), white.max(axis=0) + 1
    return Box(int(top), int(left), int(bottom), int(right))


def center(window: Window) -> np.ndarray:
    """Middle of the view, in fine pixels."""
    return np.asarray(window.viewer.scene.camera.center[-2:]) / 0.5 + 0.5


def test_place_after_place_until_none_is_left(review) -> None:
    session = review.panel.session
    count = len(session.review.queue)
    assert line(review).startswith(f"{count} places to review · about ")
    assert not any(map(review.enabled, ("accept_place", "edit_place", "refine_place")))

    review.press("next_place")
    assert line(review).startswith(f"1 of {count} · about ")
    first = session.review.place
    assert framed(review) == first.box.grow(5).clip((150, 130))
    middle = np.array([first.box.top + first.box.bottom, first.box.left + first.box.right]) / 2
    review.until(lambda: np.abs(center(review) - middle).max() < 2)

    review.press("accept_place")
    assert line(review).startswith(f"1 of {count - 1} · ")
    assert session.review.place != first
    review.settle()
    assert review.panel.review_section.status == "1 accepted"
    assert not review.panel.layers.tile_overlay.selected[first.tiles[0]]

    review.press("next_place")
    assert line(review).startswith(f"2 of {count - 1} · ")
    second = session.review.place
    review.press("refine_place")
    review.settle()
    assert line(review) == f"Refined · {count - 2} places left"
    assert session.seg.refined.sum() == len(second.tiles)
    assert not review.enabled("refine_place")
    assert framed(review).contains(second.box)

    review.press("undo_accept")
    review.settle()
    assert session.review.place == first
    assert line(review).startswith(f"1 of {count - 1} · ")
    assert review.panel.review_section.status == ""

    review.press("edit_place")
    review.until(lambda: review.enabled("commit_edit"))
    assert session.editing.box.contains(first.box)
    assert not review.enabled("accept_place")
    review.press("discard_edit")
    assert review.enabled("accept_place")


def test_failed_tiles_are_shown_and_retried(review) -> None:
    session = review.panel.session
    assert review.part("failed_tiles").text() == ""
    assert not review.enabled("retry_failed")
    session.seg.writer.record_failed([(2, 3), (8, 1)], "slide: it is damaged")
    review.panel.show_session()
    assert review.part("failed_tiles").text() == "2 tiles failed: slide: it is damaged"
    review.press("next_failed")
    assert session.review.place.tiles == ((2, 3),)
    assert line(review).startswith("1 tile failed here · ")
    assert not review.enabled("accept_place")
    review.press("next_failed")
    assert session.review.place.tiles == ((8, 1),)
    review.press("retry_failed")
    review.settle()
    assert not session.seg.failures
    assert session.seg.refined[2, 3]
    assert not review.enabled("retry_failed")


def test_the_pointer_is_told_why_a_place_is_uncertain(review) -> None:
    session, layers = review.panel.session, review.panel.layers
    seg, tile = session.seg, (3, 3)
    box = seg.tiles.box(tile)
    position = (box.top * 0.5 + 2, box.left * 0.5 + 2)

    def told() -> str:
        words = layers.explain(position)
        assert layers.tiles._get_tooltip_text(position, world=True) == words
        assert layers.tiles.get_status(position, world=True)["coordinates"].endswith(words)
        return str(words)

    pixels = float(f"{seg.scores[tile] / 2 * box.area:.2g}")
    assert f" % sure · about {pixels:,.0f} doubtful pixels in this tile" in told()
    assert told().split(",")[0] in {"background", "nucleus border", "inside nucleus"}
    session.refine_region(box)
    review.settle()
    assert ", was " in told()
    assert " · refined at " in told()
    seg.writer.record_failed([(0, 0)], "slide: it is damaged")
    assert layers.explain((1.0, 1.0)) == "failed: slide: it is damaged"
    assert layers.explain((-5.0, 1.0)) == ""

    review.viewer.cursor.position = position
    pointer = review.part("review_pointer")
    review.until(lambda: pointer.text() == told()[:1].upper() + told()[1:])
    review.press("next_place")
    assert pointer.text().startswith("Point at the slide")


def test_a_hidden_layer_of_labels_takes_only_the_class_from_the_words(review) -> None:
    layers = review.panel.layers
    layers.labels.visible = False
    words = layers.explain((20.0, 20.0))
    assert " % sure · about " in words
    assert "nucleus" not in words
