"""The frontier's arithmetic: tallies, oracles and curves against brute force."""

from __future__ import annotations

import csv
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.training.make_dataset import make_dataset
from tests.training.tiny_run import CROPS

from napari_twostage import load_model, open_slide, segment
from napari_twostage.method.uncertainty import TileStatistics
from napari_twostage.training.evaluation.metrics import bootstrap_groups, dice, resample_weights
from napari_twostage.training.evaluation.outcomes import run_image
from napari_twostage.training.evaluation.table import NOTHING
from training.frontier.__main__ import main
from training.frontier.curves import (
    DiceCurve,
    cheapest,
    efficiency,
    oracle_at,
    trace_all,
    trace_order,
)
from training.frontier.learned import describe_tiles, fit
from training.frontier.report import find_lead, make_set_table
from training.frontier.scores import AVERAGES, Average, ImageCounts, score
from training.frontier.selectors import (
    CHANGE_ORACLE,
    best_sets,
    label_oracle,
    rank_by,
    rank_randomly,
)
from training.frontier.single_models import (
    Point,
    bootstrap_cheapest,
    frontier_of,
    single_at,
)
from training.frontier.study import load_study
from training.frontier.study_results import StudyResults
from training.frontier.tallies import Counts, ImageTally, count_tiles, sum_tiles
from training.frontier.trial_results import expected_gain, measure_two_stages
from training.frontier.trial_seconds import make_segment

TILE = 8
NO_COUNTS = Counts(np.zeros(9, np.int64), np.zeros(9, np.int64))


def planes(seed: int, shape: tuple[int, int] = (20, 24)) -> tuple[np.ndarray, ...]:
    """Truth, a poor segmentation of it and a better one."""
    rng = np.random.default_rng(seed)
    truth = (rng.random(shape) < 0.4).astype(np.uint8)
    poor = np.where(rng.random(shape) < 0.3, 1 - truth, truth).astype(np.uint8)
    better = np.where(rng.random(shape) < 0.1, 1 - truth, truth).astype(np.uint8)
    return truth, poor, better


def make_tally(seed: int) -> ImageTally:
    truth, poor, better = planes(seed)
    coarse, refined, changed = count_tiles(poor, better, truth, TILE)
    rng = np.random.default_rng(seed)
    scores = {"noisy": changed + rng.normal(0, 2, len(changed))}
    return ImageTally(
        name=str(seed),
        group=str(seed),
        shape=(3, 3),
        pixels=truth.size,
        truth=int(truth.sum()),
        coarse=coarse,
        refined=refined,
        changed=changed,
        scores=scores,
    )


def test_dice_of_a_selection_is_that_of_the_labels_it_makes() -> None:
    truth, poor, better = planes(3)
    image = make_tally(3)
    chosen = np.array([1, 0, 0, 1, 1, 0, 0, 0, 1], bool)
    where = np.kron(chosen.reshape(3, 3), np.ones((TILE, TILE), bool))[:20, :24]
    assert image.dice(chosen) == pytest.approx(dice(np.where(where, better, poor), truth))


def test_tiles_of_the_edge_are_summed_too() -> None:
    ones = np.ones((20, 24), np.uint8)
    assert sum_tiles(ones, TILE).tolist() == [64] * 6 + [32] * 3


@pytest.mark.parametrize("seed", range(6))
def test_best_sets_are_the_best_of_all_sets(seed: int) -> None:
    image = make_tally(seed)
    found = best_sets(image)
    for count in range(len(image.changed) + 1):
        sets = (s for k in range(count + 1) for s in combinations(range(9), k))
        best = max(image.dice(np.isin(np.arange(9), chosen)) for chosen in sets)
        assert found[count] == pytest.approx(best)


@pytest.mark.parametrize("average", AVERAGES)
def test_no_selector_is_above_the_label_oracle(average: Average) -> None:
    images = [make_tally(seed) for seed in range(12)]
    images[3] = replace(images[3], truth=0, coarse=NO_COUNTS, refined=NO_COUNTS)
    oracle, total = label_oracle(images, average), 12 * 9
    for ranking in (
        rank_by(images, CHANGE_ORACLE),
        rank_by(images, "noisy"),
        *(rank_randomly(images, seed) for seed in range(5)),
    ):
        curve = trace_order(images, ranking)
        # between its corners the oracle is drawn as the straight line that mixing them reaches
        bounds = [oracle_at(oracle, total, fraction) for fraction in curve.fractions]
        assert np.all(curve.scores(average) <= np.array(bounds) + 1e-6)


def test_dice_is_averaged_in_three_ways() -> None:
    """Over images, over those with foreground, pooled; and in the rounds of a bootstrap."""
    rng = np.random.default_rng(0)
    truth, pixels = np.array([50.0, 0.0, 20.0]), np.full(3, 1000.0)
    shared = rng.integers(0, 20, (2, 4, 3)) * (truth > 0)
    found = shared + rng.integers(0, 9, shared.shape)
    counts = ImageCounts(shared.astype(float), found.astype(float), truth, pixels)
    each = (2 * shared + 1) / (found + truth + 1)
    assert score(counts, "images") == pytest.approx(each.mean(axis=(0, 2)))
    assert score(counts, "foreground") == pytest.approx(each[..., [0, 2]].mean(axis=(0, 2)))
    pooled = 2 * shared.sum(-1) / (found.sum(-1) + truth.sum())
    assert score(counts, "pooled") == pytest.approx(pooled.mean(axis=0))
    for average in AVERAGES:
        rounds = score(counts, average, np.array([[1.0, 1.0, 1.0], [0.0, 1.0, 2.0]]))
        assert rounds.shape == (4, 2)
        assert rounds[:, 0] == pytest.approx(score(counts, average))
    assert rounds[:, 1] == pytest.approx(
        (2 * 2 * shared[..., 2] / (found[..., 1] + 2 * found[..., 2] + 40)).mean(axis=0)
    )
    assert counts.at(2).false_share() == pytest.approx(found[:, 2, 1].mean() / 1000)


def test_curves_run_from_stage_1_to_everything_refined() -> None:
    images = [make_tally(seed) for seed in range(5)]
    nothing, everything = np.zeros(9, bool), np.ones(9, bool)
    for curve in trace_all(images, ["noisy"]).values():
        dice_along = curve.scores("images")
        assert dice_along[0] == pytest.approx(np.mean([i.dice(nothing) for i in images]))
        assert dice_along[-1] == pytest.approx(np.mean([i.dice(everything) for i in images]))
        assert np.allclose(curve.refined[-1], 1)
        assert np.allclose(curve.refined.mean(axis=1), curve.fractions, atol=0.5 / 45 + 1e-9)


def test_efficiency_is_one_for_the_oracle_and_lower_for_noise() -> None:
    images = [make_tally(seed) for seed in range(30)]
    curves = trace_all(images, ["noisy"])
    best, chance = curves[CHANGE_ORACLE], curves["random"]
    assert efficiency(best, chance, best) == pytest.approx(1)
    assert efficiency(chance, chance, best) == pytest.approx(0)
    assert 0.2 < efficiency(curves["noisy"], chance, best) < 1


def test_the_cheapest_point_lies_between_the_points_measured() -> None:
    cost, values = np.array([0.1, 0.2, 0.4]), np.array([0.80, 0.86, 0.90])
    assert cheapest(cost, values, 0.88) == pytest.approx(0.3)
    assert cheapest(cost, values, 0.5) == pytest.approx(0.1)
    assert np.isnan(cheapest(cost, values, 0.95))


STUDIES = Path(__file__).parents[2] / "training" / "studies"
STUDY = """
name = "squares"
folds = 2
dense = "dense"
half = "half"
candidates = [
    { name = "dense", config = "tiny.toml", changes = { kind = "single", "network.ratio" = 1 } },
    { name = "half", config = "tiny.toml", changes = { kind = "single" } },
    { name = "soft_targets", config = "tiny.toml", teacher = "dense", \
changes = { kind = "single", distillation = 0.5 } },
    { name = "pair", config = "tiny.toml", parts = ["half", "dense"] },
    { name = "joint", config = "tiny.toml", changes = { kind = "joint", "card.tile_px" = 32, \
"network.refiner" = { width = 16, dilations = [1] } } },
]
"""


def study_arguments(folder: Path, study: str) -> list[str]:
    """A data set, a configuration and a study in a folder, as arguments of the command."""
    make_dataset(folder / "data")
    (folder / "tiny.toml").write_text(CROPS)
    (folder / "study.toml").write_text(study)
    folders = [(f"--{name}", str(folder / name)) for name in ("data", "runs", "out")]
    return [str(folder / "study.toml"), *(word for pair in folders for word in pair)]


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    return study_arguments(tmp_path, STUDY)


def test_one_command_goes_from_a_study_to_tables_and_a_figure(
    tmp_path: Path, arguments: list[str]
) -> None:
    timing = ["--rounds", "2", "--timing-images", "2"]
    assert main([*arguments, "--train", "--jobs", "2", "--device", "cpu", *timing]) == 0
    out = tmp_path / "out"
    with (out / "frontier_squares.csv").open(newline="") as file:
        rows = {row["run"]: row for row in csv.DictReader(file)}
    assert rows["dense"]["MACs / dense"] == "1.000"
    assert rows["half"]["MACs / dense"] == rows["joint, stage 1 only"]["MACs / dense"] == "0.250"
    assert float(rows["joint, every tile refined"]["MACs / dense"]) > 0.25
    assert rows["dense"]["against dense"] == "–"
    assert rows["dense"]["time / dense [rounds]"].startswith("1.00 [")
    assert "4 images of 2 folds" in (out / "frontier_squares.md").read_text()
    with Image.open(out / "frontier_squares.png") as picture:
        assert picture.width > picture.height > 300
    assert "(images)" in (out / "set_squares.md").read_text()
    # what the table says of every tile refined is what the engine's labels give
    study = load_study(tmp_path / "study.toml")
    found = []
    joint = next(candidate for candidate in study.candidates if candidate.name == "joint")
    for trial in study.trials(joint, tmp_path / "data", tmp_path / "runs"):
        model = load_model(trial.folder / "bundle", device="cpu")
        everywhere, nowhere = (make_segment(trial, threshold, "tent") for threshold in (-1.0, 2.0))
        for sample in trial.open_test()[0]:
            made = run_image(model, sample)
            found.append(dice(made.refined, sample.mask))
            # what the clock runs is what the engine computes; a rounding may flip a pixel
            assert (everywhere(sample.image) != made.refined).mean() < 1e-3
            assert (nowhere(sample.image) != made.coarse).mean() < 0.1  # of one window, not several
    assert rows["joint, every tile refined"]["Dice per image (%)"] == f"{100 * np.mean(found):.1f}"
    # and what the curve says of a threshold is what the engine makes of it
    for trial in study.trials(joint, tmp_path / "data", tmp_path / "runs"):
        tallies, model = measure_two_stages(trial), load_model(trial.folder / "bundle")
        scores = np.concatenate([image.scores["tent"] for image in tallies])
        for threshold in np.quantile(scores, (0.1, 0.5, 0.9)):
            for image, sample in zip(tallies, trial.open_test()[0], strict=True):
                slide = open_slide(sample.image, mpp=(0.5, 0.5))
                out = tmp_path / f"{image.name} {threshold}.zarr"
                seg = segment(slide, model, out, tissue=False, threshold=float(threshold))
                labels = seg.read_labels(seg.grid.box)
                chosen = image.scores["tent"] > threshold
                assert image.dice(chosen) == pytest.approx(dice(labels, sample.mask))
    # a pair is the single models themselves
    for stage, part in ((1, "half"), (2, "dense")):
        for fold in ("fold 0 seed 0", "fold 1 seed 0"):
            pair, single = (tmp_path / "runs" / name / fold for name in ("pair", part))
            weights = (pair / f"stage{stage}.safetensors").read_bytes()
            assert weights == (single / "stage1.safetensors").read_bytes()


GAIN_STUDY = """
name = "squares"
folds = 0
dense = "dense"
selector = "gain output"
candidates = [
    { name = "dense", config = "tiny.toml", changes = { kind = "single", "network.ratio" = 1 } },
    { name = "half", config = "tiny.toml", changes = { kind = "single" } },
    { name = "pair", config = "tiny.toml", parts = ["half", "dense"], changes = { \
"stage1.crop_px" = 128, "stage1.halo_px" = 32, "stage2.halo_px" = 16, \
"gain.steps" = 2 } },
]
"""


def test_a_pair_with_a_gain_output_is_ordered_by_it_as_the_engine_orders(tmp_path: Path) -> None:
    words = study_arguments(tmp_path, GAIN_STUDY)
    timing = ["--rounds", "1", "--timing-images", "1", "--device", "cpu"]
    assert main([*words, "--train", *timing]) == 0
    with (tmp_path / "out" / "headline_squares.csv").open(newline="") as file:
        selectors = [row["selector"] for row in csv.DictReader(file) if row["run"] == "pair"]
    assert {"tent", "learned", "gain output", "change oracle"} <= set(selectors)
    study = load_study(tmp_path / "study.toml")
    pair = next(candidate for candidate in study.candidates if candidate.name == "pair")
    [trial] = study.trials(pair, tmp_path / "data", tmp_path / "runs")
    [image], model = measure_two_stages(trial), load_model(trial.folder / "bundle", precision="f32")
    [sample] = trial.open_test()[0]
    slide = open_slide(sample.image, mpp=(0.5, 0.5))
    seg = segment(slide, model, tmp_path / "out.zarr", tissue=False, refine="none")
    assert seg.record.parameters.uncertainty == "gain"
    np.testing.assert_allclose(image.scores["gain output"], seg.scores.ravel(), atol=1e-6)


def test_a_frontier_without_its_dense_run_is_refused_in_one_line(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert "add --train" in (said := capsys.readouterr().err)
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            'dense = "dense"',
            'dense = "thick"',
            "dense and half must be among dense, half, soft_targets, pair, joint",
        ),
        ('name = "half"', 'name = "dense"', "names of their own"),
        ("folds = 2", "seeds = 0", "seeds must be 1 or more"),
        ("folds = 2", "folds = 2\nfolds_run = 3", "folds_run must be at most folds"),
        ("tiny.toml", "tinier.toml", "tinier.toml"),
        ('teacher = "dense"', 'teacher = "pair"', "teachers must be among dense, half, joint"),
        (
            '["half", "dense"]',
            '["joint", "pair"]',
            "parts must be among dense, half, joint",
        ),
    ],
)
def test_a_faulty_study_is_refused_in_one_line(
    tmp_path: Path,
    arguments: list[str],
    capsys: pytest.CaptureFixture[str],
    old: str,
    new: str,
    message: str,
) -> None:
    (tmp_path / "study.toml").write_text(STUDY.replace(old, new))
    assert main(arguments) == 2
    assert message in (said := capsys.readouterr().err)
    assert said.count("\n") == 1


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_studies_name_runs_that_can_be_trained(path: Path) -> None:
    study = load_study(path)
    for candidate in study.candidates:
        for trial in study.trials(candidate, Path("data"), Path("runs")):
            assert trial.single or trial.config.card is not None  # which its bundle needs


def point(name: str, cost: float, *values: float) -> Point:
    """Single model of one seed with these values of Dice, on images of 10,000 true pixels."""
    sizes = np.full(len(values), 1e4)
    shared = (np.array(values) * (2e4 + 1) - 1) / 2
    return Point(name, cost, ImageCounts(shared[None], sizes[None], sizes, 10 * sizes))


def test_single_models_of_a_cost_lie_between_their_neighbours() -> None:
    values = {0.0625: 0.8, 0.25: 0.9, 0.5: 0.89, 1.0: 0.94}
    singles = [point(str(c), c, v, v) for c, v in values.items()]
    singles.append(point("another of that cost", 0.25, 0.87, 0.87))
    hull = frontier_of(singles)
    assert [each.cost for each in hull] == [0.0625, 0.25, 1.0]
    assert single_at(hull, 0.125) == pytest.approx(0.85)
    assert single_at(hull, 0.01) == pytest.approx(0.8)
    assert single_at(hull, 3.0) == pytest.approx(0.94)
    differ = [point("a", 0.25, 0.5, 0.7), point("b", 1.0, 0.9, 0.7)]
    rounds = single_at(differ, 0.5, "images", np.array([[2.0, 0.0], [0.0, 2.0]]))
    assert rounds == pytest.approx([0.7, 0.7])


def test_intervals_resample_groups_not_images() -> None:
    rng = np.random.default_rng(0)
    levels = rng.normal(size=20)
    groups = [f"patient {number}" for number in range(20) for _ in range(50)]
    values = np.repeat(levels, 50) + rng.normal(0, 0.01, 1000)
    spread = bootstrap_groups(values, groups)
    expected = 1.96 * levels.std() / np.sqrt(20)
    assert spread.high - spread.mean == pytest.approx(expected, rel=0.25)
    alone = bootstrap_groups(values, [str(number) for number in range(1000)])
    assert alone.high - alone.low < 0.3 * (spread.high - spread.low)


def test_expected_gain_is_what_correcting_a_tile_would_add() -> None:
    """Against Dice itself, with one tile's errors taken away; to first order."""
    rng = np.random.default_rng(0)
    parts = [rng.uniform(low, high, (5, 5)) for low, high in ((200, 900), (1, 9), (1, 9))]
    right, missed, wrong = (part.astype(np.float32) for part in parts)
    score = np.zeros((5, 5), np.float32)
    found = expected_gain(TileStatistics(score, right, wrong, missed)).reshape(5, 5)
    before = (2 * right.sum() + 1) / (2 * right.sum() + missed.sum() + wrong.sum() + 1)
    for place in ((0, 0), (3, 1), (4, 4)):
        corrected = 2 * (right.sum() + missed[place])
        errors = missed.sum() + wrong.sum() - missed[place] - wrong[place]
        after = (corrected + 1) / (corrected + errors + 1)
        assert found[place] == pytest.approx(after - before, rel=0.01)


def test_the_learned_selector_predicts_what_it_was_fitted_to() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(4000, 3))
    rate = np.exp(1.0 + 0.8 * features[:, 0] - 0.5 * features[:, 2])
    model = fit([features[:2000], features[2000:]], [*np.split(rng.poisson(rate), 2)])
    unseen = rng.normal(size=(500, 3))
    expected = np.exp(1.0 + 0.8 * unseen[:, 0] - 0.5 * unseen[:, 2])
    assert np.median(np.abs(model.predict(unseen) / expected - 1)) < 0.05


def test_tiles_are_described_by_what_stage_1_says_of_them_alone() -> None:
    logits = np.full((1, 16, 24), -8.0)
    logits[0, 2:6, 2:6] = 8.0  # a sure object in the first tile
    logits[0, 9:15, 17:23] = 0.3  # an unsure one in the last
    described = describe_tiles(logits, TILE)
    assert described.shape == (6, 7)
    doubt, _, _, _, _, edge, foreground = described.T
    assert doubt.argmax() == 5
    assert edge[0] > 0
    assert edge[5] > 0
    assert np.array_equal(np.flatnonzero(foreground), [0, 5])
    assert np.allclose(described[1:5, 5:], 0)


def test_intervals_of_the_cheapest_cost_hold_it_and_count_failures_as_dense() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.02, 60)
    cost = np.array([0.1, 0.2, 0.4])
    dice_along = np.array([0.80, 0.86, 0.90])[:, None] + noise + rng.normal(0, 0.01, (3, 60))
    weights = resample_weights([str(number) for number in range(60)], 0) / 60
    along, goals = dice_along @ weights.T, (noise + 0.88) @ weights.T
    reached = cheapest(cost, dice_along.mean(axis=1), float((noise + 0.88).mean()))
    spread = bootstrap_cheapest(cost, along, goals)
    assert 0.2 < spread.low < reached < spread.high < 0.4
    assert bootstrap_cheapest(cost, along, goals + 0.11)[:3] == (1.0, 1.0, 1.0)


def test_a_lead_is_what_the_curve_has_above_the_single_models() -> None:
    """Two images; the curve is 0.1 above the line of single models at a quarter of the cost."""
    dense = point("dense", 1.0, 0.9, 0.9)
    study = replace(load_study(STUDIES / "bowl.toml"), dense="dense", half="0.50")
    half = point("0.50", 0.25, 0.6, 0.7)
    results = StudyResults(study, ["a", "b"], 0.5, [half, dense])
    curve_point = point("curve", 0.25, 0.7, 0.8)
    stacked = ImageCounts(
        np.repeat(curve_point.counts.true_positives[:, None], 3, axis=1),
        np.repeat(curve_point.counts.predicted[:, None], 3, axis=1),
        curve_point.counts.truth,
        curve_point.counts.pixels,
    )
    curve = DiceCurve(np.arange(3.0), np.zeros((3, 2)), stacked)
    hull = frontier_of([half, dense])
    assert find_lead(results, hull, np.array([0.05, 0.25, 0.6]), curve).startswith("+10.00 [+10.00")
    assert find_lead(results, hull, np.array([0.6, 0.7, 0.8]), curve) == NOTHING
    (row,) = make_set_table(results).rows
    assert row[2] == "+25.0 (images), +25.0 (foreground), +25.0 (pooled)"
    assert row[3] == "50 %"
