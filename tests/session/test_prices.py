"""Prices count exactly the tiles that then run, and are the same after reopening."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.fakes import FakeModel, noise_slide
from tests.session.helpers import HeldModel, coarse_session, open_session

import napari_twostage as ts
from napari_twostage.engine.speed import Speed, Work, learned
from napari_twostage.engine.work_count import PAUSE_S
from napari_twostage.method.selection import Selection
from napari_twostage.session.prices import Price

if TYPE_CHECKING:
    from pathlib import Path

BOX = ts.Box(4, 50, 30, 70)
POLYGON = np.array([[40.0, 2.0], [66.0, 10.0], [45.0, 30.0]])
SPEED = Speed(runs=0.2, searches=1.0, windows=0.1, tiles=0.05, blocks=0.5)


@pytest.mark.parametrize(
    "wanted",
    [
        Selection(n_tiles=4), Selection(threshold=0.25), Selection(fraction=0.5),
        Selection(fraction=0.0), BOX, [POLYGON], ts.Box(0, 0, 70, 90),
    ],
)  # fmt: skip
def test_a_price_is_of_the_tiles_that_then_run(tmp_path: Path, wanted: object) -> None:
    session = coarse_session(tmp_path / "out")
    session.refine_next(3)
    session.wait().edit(ts.Box(10, 60, 20, 70))
    painted = session.wait().editing.labels.copy()
    painted[:] = 1
    session.commit_edit(painted)
    session.wait()
    price, before = session.price(wanted), session.seg.refined
    refine = session.refine if isinstance(wanted, Selection) else session.refine_region
    refine(wanted)
    session.wait()
    assert price.tiles == (session.seg.refined & ~before).sum()
    again = session.price(wanted)
    if not (isinstance(wanted, Selection) and wanted.n_tiles):
        assert (again.tiles, again.seconds, again.selected) == (0, 0.0, price.selected)
    if price.dice is not None:
        expected = session.seg.ranking.expected_dice(session.seg.refined)
        assert price.dice[1] == pytest.approx(expected, abs=1e-5)


def test_there_is_no_price_before_the_coarse_pass_but_its_own(tmp_path: Path) -> None:
    session = open_session(tmp_path / "out")
    assert session.price(BOX) is None
    assert session.prices.coarse() is None
    session.get_ready()
    session.wait()
    price = session.prices.coarse()
    assert price.seconds > 0
    session.run_coarse()
    session.wait()
    assert price.windows == len(session.seg.windows_done)


def test_the_price_is_the_same_after_reopening(tmp_path: Path) -> None:
    slide, model = noise_slide(), FakeModel()
    session = coarse_session(tmp_path / "out", slide, model)
    session.refine_next(5)
    session.wait()
    before = session.price(BOX)
    session.close()
    again = open_session(tmp_path / "out", slide, model)
    assert again.price(BOX).tiles == before.tiles
    assert again.price(BOX).seconds is not None  # the record of the result says how fast it was
    again.get_ready()
    price = again.wait().price(BOX)
    assert replace(price, seconds=0.0) == replace(before, seconds=0.0)
    assert price.seconds == pytest.approx(before.seconds, rel=0.1)
    again.close()


def test_a_run_that_was_paused_teaches_nothing(tmp_path: Path) -> None:
    model = HeldModel()
    session = coarse_session(tmp_path / "out", model=model)
    assert session.seg.record.runs[-1].work["windows"] > 0
    model.hold()
    session.refine_next(6)
    model.wait_begun()
    session.pause()
    model.step()
    for _ in range(3):
        session.poll()
    time.sleep(2 * PAUSE_S)
    model.release()
    session.resume()
    session.wait()
    run = session.seg.record.runs[-1]
    assert run.refined == 6
    assert run.work is None


def test_the_speed_follows_the_runs(tmp_path: Path) -> None:
    true = Speed(runs=0.3, searches=2.0, windows=0.3, tiles=0.02, blocks=1.0)
    works = [
        Work(searches=1, windows=12, blocks=6),
        *(Work(tiles=tiles, blocks=blocks) for tiles, blocks in ((20, 5), (400, 3), (90, 2))),
    ]
    found = SPEED.learn([(work, true.seconds(work)) for work in works])
    for work in works:
        assert found.seconds(work) == pytest.approx(true.seconds(work), rel=0.15)
    assert SPEED.learn([]) == SPEED
    only_coarse = SPEED.learn([(works[0], true.seconds(works[0]))])
    assert only_coarse.tiles == SPEED.tiles

    runs = coarse_session(tmp_path / "out").seg.record.runs
    assert learned(runs, None, None) is None  # nothing tells how long a tile takes
    elsewhere = [replace(run, machine="another", seconds={"coarse": 1e6}) for run in runs]
    assert learned(elsewhere, SPEED, None) == SPEED


@pytest.mark.parametrize(
    ("tiles", "selected", "share", "text"),
    [
        (0, 0, 0.0, "No tile is above the threshold."),
        (0, 1, 0.004, "The one tile above the threshold (0.4 % of tissue) is refined already."),
        (0, 92, 0.39, "All 92 tiles above the threshold (39 % of tissue) are refined already."),
        (0, 236, 1.0, "All 236 tiles are refined already."),
        (1, 1, 0.004, "1 doubtful tile selected (0.4 % of tissue). Refining takes about 12 s; "
         "estimated agreement (Dice) 0.73 → 0.77."),
        (92, 92, 0.39, "92 doubtful tiles selected (39 % of tissue). Refining takes about 12 s; "
         "estimated agreement (Dice) 0.73 → 0.77."),
        (52, 1092, 0.39, "1,092 doubtful tiles selected (39 % of tissue). Refining the 52 left "
         "takes about 12 s; estimated agreement (Dice) 0.73 → 0.77."),
        (236, 236, 1.0, "All 236 tiles selected. Refining takes about 12 s; "
         "estimated agreement (Dice) 0.73 → 0.77."),
    ],
)  # fmt: skip
def test_a_price_in_words(tiles: int, selected: int, share: float, text: str) -> None:
    assert Price(tiles, selected, share, 12.2, (0.731, 0.766)).describe_selection() == text


def test_a_small_button_says_it_in_a_few_words() -> None:
    price = Price(1, 1, 0.1, 0.3, (0.731, 0.732))
    assert price.describe_briefly() == "1 tile · under 1 s"
    assert price.describe_effect() == "under 1 s · Dice 0.731 → 0.732"
    assert replace(price, tiles=24, seconds=130.0).describe_briefly() == "24 tiles · 2 min"
    unknown = replace(price, seconds=None, dice=None, no_dice="nobody knows")
    assert unknown.describe_briefly() == "1 tile"
    assert "1 to refine; the effect is not known: nobody knows." in unknown.describe_selection()
