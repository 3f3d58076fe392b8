"""What can be undone follows from the journal, and earlier versions read that journal, too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.fakes import FakeModel, noise_slide

import napari_twostage as ts
from napari_twostage.result.history import EditStep, History
from napari_twostage.result.journal_events import (
    EditMade,
    EditUndone,
    PixelsLost,
    RecordGrown,
    RefinementUndone,
    TilesRefined,
    parse,
)
from napari_twostage.result.unrefined import UnrefinedResult

if TYPE_CHECKING:
    from pathlib import Path


def test_an_undone_refinement_reads_as_lost_tiles_before_it_was_known() -> None:
    line = RefinementUndone(((1, 2),)).as_json()
    assert parse(line) == RefinementUndone(((1, 2),))
    del line["undone"]
    assert parse(line) == PixelsLost(tiles=((1, 2),))
    again = TilesRefined(((1, 2),), "token").as_json()
    assert parse(again) == TilesRefined(((1, 2),), "token")
    del again["again"]
    assert parse(again) == TilesRefined(((1, 2),))


def test_runs_are_steps_and_come_after_edits_made_during_them() -> None:
    history = History((3, 3))
    for event in (
        RecordGrown(runs=({"token": "a"},)),
        TilesRefined(((0, 0),)),
        EditMade(0, ts.Box(0, 0, 1, 1)),
        TilesRefined(((0, 1),)),
        RecordGrown(runs=({"token": "a", "finished": True},)),
        RecordGrown(runs=({"token": "b"},)),
        TilesRefined(((1, 1), (0, 1))),
    ):
        history.take(event)
    last = history.last_refinement
    assert last == history.last
    assert last.token == "b"
    assert history.tiles(last).sum() == 2
    history.take(RefinementUndone(((1, 1), (0, 1))))
    assert history.last.token == "a"
    assert history.tiles(history.last).sum() == 1
    history.take(PixelsLost(tiles=((0, 0),)))
    assert history.last == EditStep(0)
    history.take(EditUndone(0))
    assert history.last is None
    history.take(TilesRefined(((1, 1), (0, 1)), "b"))
    assert history.last.token == "b"


def test_labels_before_refinement_are_read_at_every_level(tmp_path: Path) -> None:
    seg = ts.segment(noise_slide(), FakeModel(), tmp_path / "out", refine="none", tissue=False)
    place = ts.Box(5, 5, 40, 30)
    seg.edit(place, 1 - seg.read_labels(place))
    boxes = [ts.Box(0, 0, *shape) for shape in seg.level_shapes]
    coarse = [seg.read_labels(box, level) for level, box in enumerate(boxes)]
    seg.refine(seg.plan(fraction=1.0))
    before = UnrefinedResult(seg)
    for level, box in enumerate(boxes):
        assert (seg.read_labels(box, level) != coarse[level]).any()
        assert (before.read_labels(box, level) == coarse[level]).all()
        part = ts.Box(3, 4, *(max(5, n // 2) for n in box.shape))
        assert (before.read_labels(part, level) == coarse[level][part.slices]).all()
