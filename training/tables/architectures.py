"""Table 3: architectures by data sets; the baseline, the proposal, and controls of equal cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_twostage.training.evaluation.metrics import bootstrap_interval
from napari_twostage.training.evaluation.table import NOTHING, Table, percent
from training.item_timing import machine_line
from training.tables.printed import read_printed
from training.tables.run_seconds import spread_out, time_runs
from training.tables.runs import ARCHITECTURES, DataSetRuns, Run
from training.tables.scores import STAGE1, Score, name_threshold

if TYPE_CHECKING:
    from napari_twostage.utils.timing import Timing
    from training.tables.comparison import Comparison

DICE, TIME, TRAINING = "Dice (%)", "time / baseline", "training / baseline"
HEADER = (
    "architecture",
    "data set",
    "run",
    DICE,
    f"{DICE}, paper",
    "95 % interval",
    "Dice, native size (%)",
    "pooled Dice (%)",
    "IoU (%)",
    "ECE (%)",
    "tiles refined (%)",
    "MACs / baseline",
    "s / image [rounds]",
    TIME,
    f"{TIME}, paper",
    TRAINING,
    f"{TRAINING}, paper",
)
CONTROLS = {"half": 2, "quarter": 4}
TITLES = {
    "baseline": "one model, full size",
    "proposal": "two stages",
    "half": "one model at 1/2",
    "quarter": "one model at 1/4",
}


class Row(NamedTuple):
    """A finished run as a row of the table."""

    run: Run
    both: bool
    """Whether both stages run; a control may be the proposal's stage 1 alone."""


def make_table3(comparison: Comparison) -> Table:
    """Read or measure all finished runs."""
    paper = read_printed("table3")
    found = {
        (data_set.name, architecture): find_rows(comparison, data_set, architecture)
        for architecture in comparison.architectures
        for data_set in comparison.data_sets
    }
    runs = [row.run for rows in found.values() for row in rows.values()]
    table = Table("table3", HEADER, _caption(comparison, comparison.describe(runs)))
    for (data_set, architecture), rows in found.items():
        printed = paper[architecture].get(data_set, {})
        times = _time(comparison, rows) if rows else {}
        for name, title in TITLES.items():
            cells = {
                "architecture": ARCHITECTURES[architecture],
                "data set": data_set,
                "run": title,
            }
            cells |= _printed(printed, name)
            if name in rows:
                cells |= _quality(_score(comparison, rows[name]), both=rows[name].both)
                cells |= _speed(name, rows, times)
            table.add(cells)
    return table


def find_rows(comparison: Comparison, data_set: DataSetRuns, architecture: str) -> dict[str, Row]:
    """Rows of one architecture on one data set, by name."""
    proposal = data_set.find(architecture, "proposal")
    # A control at the proposal's own ratio is its stage 1: the same network, trained the same way.
    shared = [name for name, ratio in CONTROLS.items() if ratio == proposal.config.network.ratio]
    runs = comparison.gather(
        data_set, architecture, [name for name in TITLES if name not in shared]
    )
    rows = {name: Row(run, name == "proposal") for name, run in runs.items()}
    if "proposal" in rows:
        rows |= {name: Row(rows["proposal"].run, both=False) for name in shared}
    return rows


def _score(comparison: Comparison, row: Row) -> Score:
    name = name_threshold(comparison.threshold) if row.both else STAGE1
    return comparison.measure(row.run)[name]


def _time(comparison: Comparison, rows: dict[str, Row]) -> dict[str, Timing]:
    run = next(iter(rows.values())).run
    return time_runs(
        rows,
        spread_out(comparison.open_images(run), comparison.timing_images),
        comparison.rules(run),
        rounds=comparison.rounds,
        cache=run.folder.parent / "timing.json",
    )


def _quality(score: Score, *, both: bool) -> dict[str, str]:
    low, high = bootstrap_interval(score.dice)
    return {
        DICE: percent(float(np.mean(score.dice))),
        "95 % interval": f"{percent(low)} to {percent(high)}",
        "Dice, native size (%)": percent(float(np.mean(score.dice_native))),
        "pooled Dice (%)": percent(score.pooled_dice),
        "IoU (%)": percent(float(np.mean(score.iou))),
        "ECE (%)": percent(score.calibration_error),
        "tiles refined (%)": percent(score.refined) if both else NOTHING,
        "MACs / baseline": f"{score.cost:.3f}",
    }


def _speed(name: str, rows: dict[str, Row], times: dict[str, Timing]) -> dict[str, str]:
    time = times[name]
    trained = {key: row.run.seconds(2 if row.both else 1) for key, row in rows.items()}
    cells = {
        "s / image [rounds]": f"{time.median:.3f} [{time.spread[0]:.3f}, {time.spread[1]:.3f}]"
    }
    if "baseline" in rows:
        cells[TIME] = f"{time.over(times['baseline']):.2f}"
        cells[TRAINING] = f"{trained[name] / trained['baseline']:.2f}"
    return cells


def _printed(paper: dict[str, Any], name: str) -> dict[str, str]:
    """Printed cells of a row; the paper has neither our controls nor all our data sets."""
    if name not in paper:
        return {}
    figures, baseline = paper[name], paper["baseline"]
    return {
        f"{DICE}, paper": f"{figures['dice']:.1f}",
        f"{TIME}, paper": f"{figures['inference_s'] / baseline['inference_s']:.2f}",
        f"{TRAINING}, paper": f"{figures['train_s'] / baseline['train_s']:.2f}",
    }


def _caption(comparison: Comparison, described: str) -> str:
    return (
        f"{described} Dice (smooth 1) and IoU are means over images, with a bootstrap interval "
        "over images; ECE is the mean over 15 bins of abs(probability − frequency) of foreground, "
        f"weighted by pixels. Seconds are medians of {comparison.rounds} rounds, their ratios are "
        f"taken within rounds, over {comparison.timing_images} test images, from the decoded image "
        "to logits, the rows of an architecture on a data set in turn, allocator, memory format "
        "and threads alike: "
        f"{machine_line()}. Controls are the same network trained and run at a lower resolution, "
        "its logits enlarged bilinearly; one at the proposal's ratio is the proposal's stage 1. "
        "Training compares seconds until all stages were trained, on the machine of each run; "
        f"{NOTHING}: not run, or not in the paper."
    )
