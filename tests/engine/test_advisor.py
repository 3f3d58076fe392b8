"""Advice against runs: what it says of its windows is what a run over them gives."""

from __future__ import annotations

import json
import shlex
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.fakes import FakeModel, damage, make_card, noise_slide

from napari_twostage.cli import main
from napari_twostage.engine.advisor import _choose, _Seconds, advise
from napari_twostage.engine.api import segment
from napari_twostage.engine.slide_advice import Advice
from napari_twostage.errors import SelectionError, SlideError
from napari_twostage.geometry import Box
from napari_twostage.method.agreement import ChangeKinds, TileChanges, kinds_of_change
from napari_twostage.method.selection import EVERYTHING
from napari_twostage.samples import sample_slide

if TYPE_CHECKING:
    from pathlib import Path

ONE_WINDOW = (32, 32)
"""Shape of a slide that is a single coarse window, of four tiles."""
ADVICE = Advice(
    choice="two stages",
    threshold=0.12,
    fraction=0.31,
    measure="expected",
    dice=(0.8, 0.85, 0.853),
    changed=0.021,
    kinds=ChangeKinds(10, 20, 70),
    windows=8,
    tiles=100,
    unreadable=0,
    unfit="",
    seconds=(10, 40, 120),
)


def both_stages(tmp_path: Path, model: FakeModel, shape: tuple[int, int]) -> list[np.ndarray]:
    slide = noise_slide(*shape, seed=2)
    seg = segment(slide, model, tmp_path / "all.zarr", refine="none", tissue=False)
    whole = Box(0, 0, *shape)
    coarse = seg.read_labels(whole)
    seg.refine(EVERYTHING)
    return [coarse, seg.read_labels(whole)]


@pytest.fixture(autouse=True)
def worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Choosing tiles always saves something: times of four tiles are chance."""
    monkeypatch.setattr("napari_twostage.engine.advisor.WORTH", 1.0)


def test_without_a_measured_gain_stage_2_stands_for_the_truth(tmp_path: Path) -> None:
    model = FakeModel(make_card(refinement_gain=0.0))
    coarse, fine = both_stages(tmp_path, model, ONE_WINDOW)
    found = advise(noise_slide(*ONE_WINDOW, seed=2), model, tissue=False, tolerance=0.06)
    assert found.measure == "agreement"
    assert found.changed == pytest.approx((coarse != fine).mean())
    assert sum(found.kinds) == (coarse != fine).sum()
    assert found.dice[0] == pytest.approx(2 * (coarse & fine).sum() / (coarse.sum() + fine.sum()))
    assert found.dice[-1] == 1
    assert found.tiles == 4
    assert (found.windows, found.choice) == (1, "two stages")

    seg = segment(
        noise_slide(*ONE_WINDOW, seed=2),
        model,
        tmp_path / "advised.zarr",
        tissue=False,
        threshold=found.threshold,
    )
    labels = seg.read_labels(Box(0, 0, *ONE_WINDOW))
    agreement = 2 * (labels & fine).sum() / (labels.sum() + fine.sum())
    assert agreement == pytest.approx(found.dice[1])
    assert seg.refined.mean() == found.fraction
    assert 0.94 <= found.dice[1] < 1


def test_a_model_that_was_measured_states_the_dice_that_its_runs_expect(tmp_path: Path) -> None:
    model = FakeModel()
    slide = noise_slide(128, 160)
    found = advise(slide, model, windows=99, tissue=False, tolerance=0.01)
    seg = segment(slide, model, tmp_path / "out.zarr", refine="none", tissue=False)
    assert found.measure == "expected"
    assert found.tiles == seg.scores.size
    plan = seg.plan(threshold=found.threshold)
    everything = seg.plan(fraction=1.0)
    assert found.dice == pytest.approx(
        (plan.expected_dice_before, plan.expected_dice, everything.expected_dice), abs=1e-3
    )
    assert plan.fraction == pytest.approx(found.fraction)
    assert found.dice[1] >= found.dice[2] - 0.01
    fewer = seg.plan(fraction=found.fraction - 2 / seg.scores.size)
    assert fewer.expected_dice < found.dice[2] - 0.01, "the fewest tiles that are as good"


class UnsureModel(FakeModel):
    """Stage 1 is unsure and right everywhere, by stage 2."""

    def coarse(self, windows: list[np.ndarray]) -> np.ndarray:
        return np.full_like(super().coarse(windows), 0.2)

    def refine(self, windows: list[np.ndarray]) -> np.ndarray:
        return np.full_like(super().refine(windows), 8.0)


def test_where_nothing_changes_the_coarse_pass_is_enough_whatever_was_expected() -> None:
    found = advise(noise_slide(128, 160), UnsureModel(), tissue=False)
    assert (found.choice, found.changed) == ("coarse", 0)
    assert found.dice[0] == found.dice[1] == found.dice[2] < 0.9
    assert found.describe().startswith("The coarse pass is enough")


def test_a_gain_too_small_to_matter_needs_no_refinement() -> None:
    found = advise(noise_slide(128, 160), FakeModel(), tissue=False, tolerance=0.5)
    assert (found.choice, found.threshold, found.fraction) == ("coarse", None, 0)
    assert found.seconds[0] == found.seconds[1] < found.seconds[2]


def test_a_gain_that_is_everywhere_needs_every_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_twostage.engine.advisor.WORTH", 0.8)
    found = advise(noise_slide(128, 160), FakeModel(), tissue=False, tolerance=0.0)
    assert (found.choice, found.threshold, found.fraction) == ("everything", None, 1)
    assert found.seconds[1] == found.seconds[2]


def test_few_windows_stand_for_the_slide() -> None:
    few = advise(noise_slide(320, 320), FakeModel(), windows=3, tissue=False)
    every = advise(noise_slide(320, 320), FakeModel(), windows=100, tissue=False)
    assert (few.windows, every.windows) == (3, 100)
    assert few.tiles == 12
    assert few.changed == pytest.approx(every.changed, rel=0.5)


def test_what_cannot_be_read_is_left_out() -> None:
    slide = noise_slide(64, 64)
    slide.fingerprint()  # read before the damage
    damage(slide, Box(0, 0, 20, 20))
    found = advise(slide, FakeModel(), tissue=False)
    assert found.tiles + found.unreadable == 16
    assert found.unreadable >= 4
    assert f"{found.unreadable} more cannot be read" in found.describe_places()
    damage(slide, Box(0, 0, 64, 64))
    with pytest.raises(SlideError, match="expected tissue that can be read, found none"):
        advise(slide, FakeModel(), tissue=False)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"windows": 0}, "1 or more, found 0"),
        ({"windows": 2.5}, "1 or more, found 2.5"),
        ({"tolerance": 1.5}, "tolerance in"),
        ({"tolerance": "x"}, "tolerance in"),
        ({"tolerance": float("nan")}, "tolerance in"),
    ],
)
def test_values_out_of_range_are_refused(given: dict[str, Any], expected: str) -> None:
    with pytest.raises(SelectionError, match=expected):
        advise(noise_slide(), FakeModel(), **given)


def test_changes_are_sorted_by_what_they_do() -> None:
    coarse, refined = np.zeros((2, 40, 40), np.uint8)
    coarse[2:8, 2:8] = refined[3:9, 2:8] = 1  # an outline moves by a row: 12 pixels
    coarse[20:24, 20:24] = 1  # dropped
    refined[30:33, 30:33] = 1  # found
    assert kinds_of_change(coarse, refined) == ChangeKinds(found=9, dropped=16, edges=12)


def test_agreement_is_that_of_the_labels_after_each_tile() -> None:
    rng = np.random.default_rng(0)
    coarse, refined = rng.integers(0, 3, (2, 6, 8, 8), dtype=np.uint8)
    changes = TileChanges.count(rng.random(6).astype(np.float32), list(coarse), list(refined))
    labels = coarse.copy()
    for count, dice in enumerate(changes.dice()):
        if count:
            tile = changes.order[count - 1]
            labels[tile] = refined[tile]
        same = ((labels == refined) & (labels > 0)).sum()
        assert dice == pytest.approx(2 * same / ((labels > 0).sum() + (refined > 0).sum()))
    for count in range(7):
        assert (changes.scores > changes.threshold(count)).sum() == count


@pytest.mark.parametrize(
    ("advice", "expected"),
    [
        (
            ADVICE,
            "Refine tiles that score above 0.12: 31 % of the tiles, 40 s in place of 2 min for "
            "every tile; expected Dice 0.800 → 0.850, with every tile 0.853.",
        ),
        (
            replace(ADVICE, seconds=(1.0, 1.8, 2.2)),
            "Refine tiles that score above 0.12: 31 % of the tiles, about 2 s as for every tile; "
            "expected Dice 0.800 → 0.850, with every tile 0.853.",
        ),
        (
            replace(ADVICE, choice="coarse", measure="agreement", dice=(0.999, 0.999, 1.0)),
            "The coarse pass is enough (10 s): quality unknown; agreement with every tile refined, "
            "as Dice, 0.999. Refining every tile takes 2 min.",
        ),
        (
            replace(ADVICE, choice="everything", measure="agreement", unfit="it is unlike"),
            "Refine every tile (2 min): quality unknown (it is unlike); the coarse labels agree "
            "with it by a Dice of 0.800. Choosing tiles saves little.",
        ),
        (
            replace(ADVICE, choice="everything", dice=(0.8, 0.853, 0.853)),
            "Refine every tile (2 min): expected Dice 0.800 → 0.853. Choosing tiles saves little.",
        ),
        (
            replace(ADVICE, choice="coarse", dice=(np.nan, np.nan, np.nan)),
            "Neither stage finds an object: check the model and the pixel size.",
        ),
    ],
)
def test_advice_is_a_sentence(advice: Advice, expected: str) -> None:
    assert advice.describe() == expected


def test_the_verb_advises_a_command_that_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slide = str(sample_slide())
    assert main(["advise", slide, "--json", "--quiet", "--windows", "3"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["model"] == "nuclei"
    assert said["windows"] == 3
    assert main(["advise", slide, "--quiet", "--windows", "3"]) == 0
    text = capsys.readouterr().out
    assert "Full resolution changes" in text
    command = text.splitlines()[-1].split()
    assert command[:6] == ["run", "napari-twostage", "segment", slide, "--model", "nuclei"]
    assert command[-1] == "CMU-1-Small-Region.twostage.zarr"
    words = command[2:-1]
    assert main([*words, str(tmp_path / "result.zarr"), "--quiet"]) == 0


def test_the_advised_command_reads_the_slide_alike(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slide = tmp_path / "a slide.svs"
    shutil.copy(sample_slide(), slide)
    given = ["--mpp", "0.45", "--intensity", "0,200", "--no-tissue", "--precision", "f32"]
    assert main(["advise", str(slide), *given, "--quiet", "--windows", "1"]) == 0
    words = shlex.split(capsys.readouterr().out.splitlines()[-1])
    assert words[:4] == ["run", "napari-twostage", "segment", str(slide)]
    assert words[words.index("--mpp") + 1] == "0.45"
    assert words[words.index("--intensity") + 1] == "0,200"
    assert words[words.index("--precision") + 1] == "f32"
    assert "--no-tissue" in words


def test_changes_of_nothing_are_said_so() -> None:
    said = replace(ADVICE, kinds=ChangeKinds(0, 0, 0), windows=1, tiles=1)
    assert said.describe_changes() == "Full resolution changes nothing in the places looked at."
    assert said.describe_places() == "1 place, 1 tile"


def test_scores_too_low_for_a_threshold_mean_every_tile() -> None:
    """A threshold is stated in ten-thousandths: below that, all tiles or none exceed it."""
    changes = TileChanges.count(
        np.array([4e-5, 3e-5, 2e-5], np.float32),
        list(np.zeros((3, 4, 4), np.uint8)),
        list(np.ones((3, 4, 4), np.uint8)),
    )
    found = _choose(changes.dice(), changes, _Seconds(1, 9), 0.4)
    assert found == ("everything", 3)


def test_advice_needs_a_slide(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["advise", str(tmp_path / "none.svs")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
