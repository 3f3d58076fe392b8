"""Tables: table 1 against the paper; the others on tiny networks, with runs that nobody trained."""

from __future__ import annotations

import csv
from dataclasses import asdict
from statistics import mean
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from napari_twostage.models.networks.base import Network
from napari_twostage.models.networks.two_stage import TwoStage
from napari_twostage.training.datasets import DatasetError, Sample, Samples
from napari_twostage.training.datasets.resize import resize_mask
from napari_twostage.training.evaluation.table import NOTHING, Table
from napari_twostage.training.run.run_folder import claim_folder
from training.tables import operations
from training.tables import runs as runs_module
from training.tables.__main__ import main
from training.tables.data_sets import describe_samples
from training.tables.inference import StageMacs
from training.tables.printed import read_printed
from training.tables.runs import SAME_STAGE1, VARIANTS, DataSetRuns, RunError, require_one_scale
from training.tables.scores import ScoreSums

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_twostage.training.config import TrainConfig

CONFIG = """
kind = "two_stage"
seed = 0
[data]
validation_fraction = 0.0
[network]
architecture = "deeplabv3"
ratio = 4
context = true
mean = [0.0, 0.0, 0.0]
std = [1.0, 1.0, 1.0]
weights = "random"
[whole_images]
size_px = 256
[stage1]
epochs = 3
batch = 2
learning_rate = 1e-4
[stage2]
epochs = 3
batch = 2
learning_rate = 1e-4
"""


class Blurry(Network):
    """One convolution that blurs, one that tells bright from dark."""

    feature_channels = 2
    stride = 1

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 2, 3, padding=1)
        self.last = nn.Conv2d(2, 1, 1)
        nn.init.constant_(self.first.weight, 1 / 27)
        nn.init.constant_(self.last.weight, 1.5)
        nn.init.constant_(self.last.bias, -1.0)
        nn.init.zeros_(self.first.bias)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        blurred: torch.Tensor = self.first(x)
        return blurred


class Bench:
    """A folder of data, one of runs, and what was trained and loaded."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.data, self.runs, self.out = root / "data", root / "runs", root / "out"
        self.config = root / "config.toml"
        self.config.write_text(CONFIG)
        self.trained: list[Path] = []
        self.loaded: list[Path] = []
        self.at_hand: dict[str, dict[str, str]] = {}
        """What lay in the folder of a run when it began."""
        self._make_data()

    def _make_data(self) -> None:
        (self.data / "images").mkdir(parents=True)
        (self.data / "masks").mkdir()
        rng = np.random.default_rng(0)
        for index in range(6):
            mask = np.zeros((60, 80), bool)
            mask[10:40, 5 * index : 5 * index + 30] = True
            image = np.where(mask[..., None], 200, 40) + rng.integers(0, 40, (60, 80, 3))
            Image.fromarray(image.astype(np.uint8)).save(self.data / "images" / f"{index}.png")
            Image.fromarray(mask).save(self.data / "masks" / f"{index}.png")
        rows = [f"{index}.png,{'test' if index > 3 else 'train'}" for index in range(6)]
        (self.data / "manifest.csv").write_text("\n".join(["file,split", *rows]) + "\n")

    def run(self, config: TrainConfig, data: Path, out: Path, *, device: str) -> None:
        assert (data, device) == (self.data, "cpu")
        self.at_hand[out.name] = {path.name: path.read_text() for path in out.glob("*.safetensors")}
        claim_folder(out, config)
        stages = ("stage1",) if config.stage2 is None else ("stage1", "stage2")
        log = ["stage,step,loss,validation_dice,seconds"]
        for stage in stages:
            (out / f"{stage}.safetensors").write_text(f"{stage} of {out}")
            log += [f"{stage},1,0.5,,1.0", f"{stage},2,0.5,,10.0"]
        (out / "log.csv").write_text("\n".join(log) + "\n")
        self.trained.append(out)

    def load(self, config: TrainConfig, out: Path) -> TwoStage:
        self.loaded.append(out)
        network = config.network
        return TwoStage(
            Blurry(),
            Blurry(),
            ratio=network.ratio,
            context=network.context,
            mean=network.mean,
            std=network.std,
        )

    def data_set(self, *changes: str, name: str = "BOWL") -> DataSetRuns:
        return DataSetRuns(name, self.config, self.data, self.runs, changes)

    def make(self, table: str, *more: str) -> dict[str, list[dict[str, str]]]:
        """Run the command; the rows of each file it wrote."""
        where = ["BOWL", "manifest", str(self.data), str(self.runs)]
        common = ["--data", *where, "--out", str(self.out), "--device", "cpu"]
        main([table, str(self.config), *common, "--timing-images", "1", "--rounds", "2", *more])
        found = {}
        for path in sorted(self.out.glob("*.csv")):
            assert path.with_suffix(".md").exists()
            with path.open(newline="") as file:
                found[path.stem] = list(csv.DictReader(file))
        return found


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    made = Bench(tmp_path)
    monkeypatch.setattr(runs_module, "train", made.run)
    monkeypatch.setattr(runs_module, "load_trained_networks", made.load)
    return made


def test_table_1_is_the_papers(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the smallest and the largest size; tests of the cost count the others."""
    printed = read_printed("table1")
    ends = {"sides_px": [48, 768]} | {
        name: row | {"operations_m": [row["operations_m"][0], row["operations_m"][-1]]}
        for name, row in printed.items()
        if name != "sides_px"
    }
    monkeypatch.setattr(operations, "read_printed", lambda _: ends)
    table = operations.make_table1()
    assert len(table.rows) == 2 * 5
    for cells in table.rows:
        row = dict(zip(table.header, cells, strict=True))
        assert row["parameters (M)"] == row["parameters (M), paper"]
        assert abs(float(row["deviation (%)"])) < 1


def test_the_papers_averages_are_those_of_its_rows() -> None:
    """So no figure of table 3 was misread."""
    printed = read_printed("table3")
    averages = printed.pop("average")
    for kind, figures in averages.items():
        for figure, average in figures.items():
            rows = [data[kind][figure] for table in printed.values() for data in table.values()]
            assert len(rows) == 16
            assert mean(rows) == pytest.approx(average, abs=0.051)


def test_the_papers_ablations_share_the_column_of_its_table_3() -> None:
    main_column = {"tiles": 1, "sampling": 1, "threshold": 3, "features": 2}
    printed, deeplab = read_printed("table4"), read_printed("table3")["deeplabv3"]
    for part, column in main_column.items():
        for data, figures in deeplab.items():
            assert printed[part][data][column] == figures["proposal"]["dice"], (part, data)
            assert len(printed[part][data]) == len(printed[part]["columns"])


def test_table_2_measures_what_is_there(bench: Bench) -> None:
    main(["2", "--data", "Squares", "manifest", str(bench.data), "--out", str(bench.out)])
    with (bench.out / "table2.csv").open(newline="") as file:
        rows = {row["data set"]: row for row in csv.DictReader(file)}
    assert rows["Squares"]["images"] == "6"
    assert rows["Squares"]["mean size (px)"] == "60 × 80"
    assert rows["Squares"]["foreground (%)"] == f"{100 * 30 * 30 / (60 * 80):.1f}"
    assert rows["PH2"]["images"] == NOTHING
    assert rows["PH2"]["foreground (%), paper"] == "31.8"


def test_table_3_has_the_controls_beside_the_proposal(bench: Bench) -> None:
    (rows,) = bench.make("3", "--train", "--architectures", "deeplabv3", "unet").values()
    assert len(rows) == 2 * 4
    cost = {row["run"]: float(row["MACs / baseline"]) for row in rows[:4]}
    assert cost["one model, full size"] == 1
    assert cost["one model at 1/2"] == pytest.approx(1 / 4, abs=1e-3)
    assert cost["one model at 1/4"] == pytest.approx(1 / 16, abs=1e-3)
    assert cost["two stages"] >= cost["one model at 1/4"]
    baseline, proposal, _, quarter = rows[:4]
    assert baseline["time / baseline"] == "1.00"
    assert baseline["Dice (%), paper"] == "87.0"
    assert proposal["time / baseline, paper"] == f"{1772.0 / 4622.2:.2f}"
    assert quarter["Dice (%), paper"] == NOTHING
    assert float(baseline["Dice (%)"]) > 90
    # a quarter is stage 1 of the proposal: no run of its own, half of its training
    assert not (bench.runs / "unet" / "quarter").exists()
    assert (proposal["training / baseline"], quarter["training / baseline"]) == ("2.00", "1.00")


def test_a_rerun_computes_nothing(bench: Bench) -> None:
    first = bench.make("3", "--train", "--architectures", "unet")
    trained, loaded = len(bench.trained), len(bench.loaded)
    assert bench.make("3", "--train", "--architectures", "unet") == first
    assert (len(bench.trained), len(bench.loaded)) == (trained, loaded)
    (bench.runs / "unet" / "half" / "stage1.safetensors").write_text("trained anew")
    bench.make("3", "--architectures", "unet")
    again = bench.loaded[loaded:]
    assert again.count(bench.runs / "unet" / "half") == 2  # measured, and timed with the others
    assert again.count(bench.runs / "unet" / "baseline") == 1  # timed with it, not measured


def test_what_is_not_trained_has_no_figures(bench: Bench) -> None:
    bench.data_set("data.layout=manifest").find("unet", "baseline").train("cpu")
    (rows,) = bench.make("3", "--architectures", "unet").values()
    assert [row["Dice (%)"] == NOTHING for row in rows] == [False, True, True, True]


def test_table_4_has_all_ablations(bench: Bench) -> None:
    tables = bench.make("4", "--train")
    assert set(tables) == {
        f"table4_{part}" for part in ("tiles", "sampling", "threshold", "features")
    }
    for part, (dice, paper, refined, cost) in tables.items():
        columns = [column for column in dice if column not in ("data set", "figure")]
        assert NOTHING not in dice.values(), part
        assert [float(paper[c]) for c in columns] == read_printed("table4")[part[7:]]["BOWL"]
        assert all(0 <= float(refined[c]) <= 100 and float(cost[c]) > 0 for c in columns)
    dice, _, refined, cost = tables["table4_threshold"]
    columns = ["1", "0.75", "0.5", "0.25", "0"]
    shares = [float(refined[c]) for c in columns]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 100)
    assert float(cost["1"]) == pytest.approx(1 / 16, abs=1e-3)
    assert float(cost["0"]) == pytest.approx(17 / 16, abs=1e-3)
    assert {path.name for path in bench.trained} == set(VARIANTS) - {"baseline", "half", "quarter"}


def test_ablations_of_stage_2_take_over_the_proposals_stage_1(bench: Bench) -> None:
    bench.make("4", "--train")
    proposal = bench.runs / "deeplabv3" / "proposal"
    shared = {"stage1.safetensors": f"stage1 of {proposal}"}
    for variant in set(VARIANTS) - {"baseline", "half", "quarter"}:
        assert bench.at_hand[variant] == (shared if variant in SAME_STAGE1 else {})


def test_what_shares_a_stage_1_differs_in_stage_2_only(bench: Bench) -> None:
    data_set = bench.data_set()
    proposal = asdict(data_set.find("unet", "proposal").config)
    for variant in SAME_STAGE1:
        found = asdict(data_set.find("unet", variant).config)
        for part in (proposal, found):
            for later in ("transfer", "context"):
                part["network"].pop(later, None)
            part.pop("tiles", None)
        assert found == proposal


def test_a_perfect_answer_scores_1_for_every_class_and_at_both_sizes() -> None:
    truth = np.kron(np.array([[0, 1], [2, 0]], np.uint8), np.ones((20, 30), np.uint8))
    square = resize_mask(truth, 32)
    logits = torch.nn.functional.one_hot(torch.from_numpy(square).long(), 3).permute(2, 0, 1) * 20.0
    sums = ScoreSums("perfect")
    sums.add(logits, 4, truth)
    score = sums.score(StageMacs(coarse=10, tile=10), full=160, grid=16)
    assert score.dice == score.iou == (1.0,)
    assert score.dice_native[0] > 0.9  # corners are rounded on the way there
    assert score.pooled_dice == 1
    assert score.calibration_error < 1e-3
    assert (score.refined, score.macs, score.cost) == (0.25, 50, 50 / 160)


def test_runs_of_another_configuration_are_refused(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.make("3", "--train", "--architectures", "unet")
    with pytest.raises(SystemExit):
        bench.make("3", "--architectures", "unet", "--set", "stage1.epochs=20")
    message = capsys.readouterr().err
    assert "stage1.epochs is 3, here 20" in message
    assert "config.json" in message


def test_scales_are_not_mixed_in_a_table(bench: Bench) -> None:
    small = bench.data_set("whole_images.size_px=64", name="PH2").find("unet", "proposal")
    large = bench.data_set().find("unet", "proposal")
    with pytest.raises(RunError, match="px is 64, in other rows 256"):
        require_one_scale([large, small])
    baseline = bench.data_set().find("fcn", "baseline")
    assert require_one_scale([baseline, large])["px"] == 256


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["3"], "found none; add --train"),
        (["4", "--architectures", "unet", "fcn"], "one architecture, found 2"),
        (["4", "--set", "network.ratio=2"], "ablations start from ratio 4"),
        (["3", "--set", "whole_images.size_px=100"], "size_px must be a multiple"),
        (["3", "--data", "BOWL", "manifest"], "NAME LAYOUT FOLDER RUNS"),
    ],
)
def test_what_cannot_be_made_is_told_in_a_line(
    bench: Bench, capsys: pytest.CaptureFixture[str], arguments: Sequence[str], message: str
) -> None:
    with pytest.raises(SystemExit) as exit_code:
        bench.make(*arguments)
    assert exit_code.value.code == 2
    assert message in capsys.readouterr().err.strip().splitlines()[-1]


def test_a_cell_needs_a_column() -> None:
    table = Table("some", ("a", "b"))
    table.add({"b": "1"})
    assert table.rows == [(NOTHING, "1")]
    with pytest.raises(ValueError, match="no columns"):
        table.add({"c": "1"})


def test_markdown_is_a_table_with_its_caption(tmp_path: Path) -> None:
    table = Table("some", ("a", "b"), "What it says.")
    table.add({"a": "1", "b": "2"})
    table.write(tmp_path)
    text = (tmp_path / "some.md").read_text()
    assert text == "| a | b |\n| --- | --- |\n| 1 | 2 |\n\nWhat it says.\n"


def test_facts_are_means_over_images() -> None:
    def blank(name: str, height: int, width: int, filled: int) -> Sample:
        mask = np.zeros((height, width), np.uint8)
        mask.flat[:filled] = 2
        return Sample(name, np.zeros((height, width, 3), np.uint8), mask)

    facts = describe_samples([blank("a", 10, 10, 50), blank("b", 20, 40, 0)])
    assert facts == (2, 15.0, 25.0, 0.25)
    with pytest.raises(DatasetError, match="no image"):
        describe_samples(Samples({}))
