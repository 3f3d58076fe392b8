"""Two stages against the dense run on a composite slide: ``python -m training.composite ...``.

Images of a test split are laid in islands on empty ground and written as a JPEG pyramid; the same
engine segments it densely (one network at full resolution, over the tissue only) and in two
stages, in turn. O receives the slide and a table.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from safetensors.torch import load_file
from tqdm import tqdm

from napari_twostage.engine.api import segment
from napari_twostage.errors import ModelError
from napari_twostage.models import load_model
from napari_twostage.models.bundle import write_bundle
from napari_twostage.slides import open_slide
from napari_twostage.training.checkpoint import STAGE1, read_claim
from napari_twostage.training.config import ConfigError
from napari_twostage.training.datasets import DatasetError, load_dataset
from napari_twostage.utils.timing import Seconds, time_in_turn
from training.composite.slide import compose_slide, write_slide
from training.frontier.comparison import describe_difference
from training.frontier.tallies import count_pixels, dice_of
from training.tables.table import Table, percent
from training.timing import machine_facts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_twostage.engine.segmentation import Segmentation
    from napari_twostage.models.model import Model
    from napari_twostage.slides.base import Slide
    from training.composite.slide import Composite, Field

HEADER = (
    "run",
    "seconds [rounds]",
    "speed-up",
    "tiles refined (%)",
    "Dice (%)",
    "against dense",
    "pooled Dice (%)",
    "expected (%)",
)
DENSE = "dense"
DENSE_WINDOW_PX = 32 + 512 + 32


class Way(NamedTuple):
    """How the slide is segmented."""

    model: Model
    threshold: float | None
    """Above which tiles are refined; None for stage 1 alone."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Compose, segment, compare; 2 for what the user must correct."""
    parser = argparse.ArgumentParser(prog="python -m training.composite", description=__doc__)
    parser.add_argument("--model", default="nuclei", help="bundled name or bundle folder")
    parser.add_argument(
        "--dense", type=Path, required=True, metavar="RUN", help="folder of the dense network's run"
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--layout", default="manifest")
    parser.add_argument("--split", default="test")
    parser.add_argument("--ground", choices=("bright", "dark"), default="dark")
    parser.add_argument("--side", type=int, default=16384, help="of the slide, in pixels")
    parser.add_argument("--share", type=float, default=0.2, help="of it that holds images")
    parser.add_argument(
        "--thresholds", type=float, nargs="+", help="in place of the model's own threshold"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    try:
        samples = load_dataset(options.layout, options.data, options.split)
        composite = compose_slide(
            samples,
            side_px=options.side,
            share=options.share,
            bright_field=options.ground == "bright",
        )
        model = load_model(options.model)
        dense = _load_dense(options.dense, model)
    except (ConfigError, DatasetError, ModelError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"{options.data.name}-{options.ground}.tif"
    write_slide(path, composite.image, model.card.fine_mpp)
    ways = {DENSE: Way(dense, None), "stage 1 only": Way(model, None)}
    for threshold in options.thresholds or [model.card.default_threshold]:
        ways[f"two stages, threshold {threshold:g}"] = Way(model, threshold)
    with open_slide(path, mpp=model.card.fine_mpp) as slide:
        table = compare(slide, composite, ways, options.rounds)
    table.write(options.out)
    sys.stdout.write(f"{table.to_markdown()}\n")
    return 0


def _load_dense(run: Path, model: Model) -> Model:
    """One network at full resolution as a model whose first stage is all there is to run."""
    network = read_claim(run).network
    card = replace(
        model.card,
        name=DENSE,
        architecture={"name": network.architecture, **network.options},
        fine_architecture=None,
        refiner=None,
        ratio=1,
        fine_ratio=1,
        context=False,
        coarse_window_px=DENSE_WINDOW_PX,
        coarse_halo_px=32,
        temperature=1.0,
    )
    tensors = load_file(run / STAGE1)
    both = {f"stage{n}.{name}": value for n in (1, 2) for name, value in tensors.items()}
    with tempfile.TemporaryDirectory() as folder:
        write_bundle(Path(folder) / DENSE, card, both)
        return load_model(Path(folder) / DENSE)


@dataclass(frozen=True)
class Verdict:
    """What a way made of the slide."""

    dice: NDArray[np.float64]
    """(fields,)"""
    pooled: float
    """Dice of all fields together."""
    expected: float
    """The Dice that the engine expects."""
    refined: float
    """Share of the tissue tiles."""
    tissue: float
    """Share of all tiles."""


def compare(slide: Slide, composite: Composite, ways: dict[str, Way], rounds: int) -> Table:
    """Segment the slide in every way, round after round; time all, and judge the first."""
    verdicts: dict[str, Verdict] = {}
    with tqdm(total=rounds * len(ways), desc="composite", unit="run") as bar:

        def run(name: str) -> Seconds:
            with tempfile.TemporaryDirectory() as folder:
                started = Seconds.now()
                seg = _segment(slide, ways[name], Path(folder) / "run.zarr")
                spent = Seconds.now() - started
                if name not in verdicts:  # the labels are the same in every round
                    verdicts[name] = _judge(seg, composite.fields)
            bar.update()
            return spent

        timings = time_in_turn({name: partial(run, name) for name in ways}, rounds)
    groups = [field.name for field in composite.fields]
    dense = verdicts[DENSE]
    caption = _caption(slide, dense.tissue, composite)
    table = Table(f"composite_{Path(slide.name).stem}", HEADER, caption)
    for name, timing in timings.items():
        (fastest, slowest), verdict = timing.spread, verdicts[name]
        table.add(
            {
                "run": name,
                "seconds [rounds]": f"{timing.median:.1f} [{fastest:.1f}, {slowest:.1f}]",
                "speed-up": f"{timings[DENSE].over(timing):.1f}×",
                "tiles refined (%)": percent(verdict.refined),
                "Dice (%)": percent(float(verdict.dice.mean())),
                "against dense": describe_difference(verdict.dice - dense.dice, groups),
                "pooled Dice (%)": percent(verdict.pooled),
                "expected (%)": percent(verdict.expected),
            }
        )
    return table


def _segment(slide: Slide, way: Way, out: Path) -> Segmentation:
    if way.threshold is None:
        return segment(slide, way.model, out, refine="none")
    return segment(slide, way.model, out, threshold=way.threshold)


def _judge(seg: Segmentation, fields: Sequence[Field]) -> Verdict:
    # of each image, pixels that are hits, labelled, true
    counts = np.array([count_pixels(seg.read_labels(each.box), each.mask) for each in fields])
    refined = seg.refined
    return Verdict(
        dice=np.array([dice_of(*each) for each in counts.tolist()]),
        pooled=dice_of(*counts.sum(axis=0).tolist()),
        expected=seg.ranking.expected_dice(refined),
        refined=float(refined.sum() / seg.tissue.sum()),
        tissue=float(seg.tissue.mean()),
    )


def _caption(slide: Slide, tissue: float, composite: Composite) -> str:
    height, width = slide.level_shapes[0]
    sources = len({field.name for field in composite.fields})
    return (
        f"{height} × {width} pixels with {len(composite.fields)} fields of {sources} test images; "
        f"{percent(tissue)} % of tiles hold tissue, and all runs skip the others. Seconds: tissue "
        "search, reading, both stages and writing, medians of runs in turn; the speed-up is that "
        "within a round. Dice (smooth 1) per field, averaged, and of all fields together, beside "
        "what the engine expects of the latter (the dense run is not calibrated); intervals "
        f"resample source images, differences are paired. {machine_facts()}."
    )


if __name__ == "__main__":
    sys.exit(main())
