"""kill -9 at any moment costs time, and nothing else: a resumed run ends in the same bytes."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.proofs.helpers import (
    SAMPLE,
    assert_same,
    finish,
    outcome,
    start,
    tissue_pixels,
    write_tiff,
)

from napari_twostage import Box, Segmentation, segment

if TYPE_CHECKING:
    from pathlib import Path

    from napari_twostage.models.model import Model

KILLED = getattr(signal, "SIGKILL", signal.SIGTERM)
"""Signal by which a process that was killed ended; Windows has but the other one."""
KILLS = 20
KILLS_IN_A_ROW = 5
KILLS_IN_STAGE = 6
MOST_RESULTS = 40
"""Kills that miss so often do not fall where they were meant to."""


def kill_again_and_again(
    slide: Path,
    out: Path,
    options: dict[str, Any],
    rng: np.random.Generator,
    seconds: float,
    between: tuple[float, float],
    most: int,
) -> int:
    """Kill a run, and the runs that go on with it, at random moments; then let one finish.

    Moments are fractions of ``seconds``, of a run from start to end. Returns how many were hit
    alive: one may come to its end before its moment does.
    """
    for hits in range(most):
        child = start(slide, out, options)
        child.join(seconds * rng.uniform(*between))
        child.kill()
        child.join()
        if child.exitcode == 0:
            return hits
        assert child.exitcode == -KILLED
    finish(slide, out, options)
    return most


def survive(
    slide: Path,
    folder: Path,
    options: dict[str, Any],
    expected: dict[str, Any],
    seconds: float,
    between: tuple[float, float],
    kills: int,
    in_a_row: int,
) -> None:
    """Have so many kills hit, and compare every result that comes of it.

    How long a run takes is measured again after a miss: other work slows a machine at times.
    """
    rng = np.random.default_rng(0)
    hits, results = 0, 0
    while hits < kills:
        assert results < MOST_RESULTS
        out = folder / f"{results}.zarr"
        most = min(in_a_row, kills - hits)
        now = kill_again_and_again(slide, out, options, rng, seconds, between, most)
        assert_same(opened(out), expected)
        if not now:
            seconds = finish(slide, folder / f"{results} again.zarr", options)
        hits += now
        results += 1


def without_pyramid(folder: Path) -> tuple[Path, dict[str, Any]]:
    """Write a slide too large to be looked at without a pyramid, nearly all of it glass."""
    pixels = np.full((4203, 4309, 3), 245, np.uint8)
    pixels[901:1301, 807:1207] = tissue_pixels(400, 400)
    slide = write_tiff(folder / "slide.tif", pixels, tile=(512, 512))
    return slide, {"refine": "all", "region": Box.at(901, 807, 300, 300)}


def with_many_windows(_: Path) -> tuple[Path, dict[str, Any]]:
    """Take the sample slide as it is."""
    return SAMPLE, {"refine": "none", "tissue": False}


STAGES = {"pyramid": without_pyramid, "coarse": with_many_windows}


def opened(out: Path) -> dict[str, Any]:
    return outcome(Segmentation.open(out))


@pytest.mark.slow
def test_killed_runs_end_in_the_same_bytes(model: Model, tmp_path: Path) -> None:
    side, core = model.card.tile_px, model.card.coarse_core_px * model.card.ratio
    pixels = tissue_pixels(3 * side + 37, core + side + 11)  # two coarse windows, and odd
    slide = write_tiff(tmp_path / "slide.tif", pixels)
    options = {"refine": "all", "tissue": False}
    finish(slide, tmp_path / "warm.zarr", options)  # the first one starts the server
    seconds = finish(slide, tmp_path / "undisturbed.zarr", options)
    expected = opened(tmp_path / "undisturbed.zarr")
    assert len(expected["scores"].ravel()) >= 20

    survive(slide, tmp_path, options, expected, seconds, (0, 1), KILLS, KILLS_IN_A_ROW)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["pyramid", "coarse"])
def test_killed_in_the_stages_before(stage: str, tmp_path: Path) -> None:
    slide, options = STAGES[stage](tmp_path)
    finish(slide, tmp_path / "warm.zarr", options)
    seconds = finish(slide, tmp_path / "undisturbed.zarr", options)
    expected = opened(tmp_path / "undisturbed.zarr")
    record = json.loads((tmp_path / "undisturbed.zarr" / "record.json").read_text())
    spent = record["runs"][0]["seconds"]
    assert spent[stage] > 0.1

    stages = list(spent)
    after = sum(spent[later] for later in stages[stages.index(stage) + 1 :])
    between = ((seconds - after - spent[stage]) / seconds, (seconds - after) / seconds)
    survive(slide, tmp_path, options, expected, seconds, between, KILLS_IN_STAGE, 2)


def test_killed_while_the_result_folder_is_made(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slide = write_tiff(tmp_path / "slide.tif", tissue_pixels(140, 150))
    out = tmp_path / "out.zarr"

    class Killed(BaseException):
        """What no handler catches."""

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("napari_twostage.result.result_files.write_record", die)
        with pytest.raises(Killed):
            segment(slide, model, out, refine="none", tissue=False)
    assert not out.exists()

    seg = segment(slide, model, out, refine="none", tissue=False)
    assert not np.isnan(seg.scores).any()
    assert {path.name for path in tmp_path.iterdir()} == {"slide.tif", "out.zarr"}
