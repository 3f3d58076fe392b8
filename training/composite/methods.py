"""Methods compared on a composite slide: the dense run, stage 1 alone, two stages."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file
from tqdm import tqdm

from napari_twostage.engine.api import segment
from napari_twostage.models import load_model
from napari_twostage.models.bundle import write_bundle
from napari_twostage.training.evaluation.metrics import describe_difference
from napari_twostage.training.evaluation.table import Table, percent
from napari_twostage.training.run.networks import load_trained_networks, prepare_inference
from napari_twostage.training.run.run_folder import STAGE1, read_run_config
from napari_twostage.utils.timing import Seconds, time_in_turn
from training.frontier.tallies import count_pixels, dice_of
from training.item_timing import machine_line
from training.single_shift import shift_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_twostage.engine.segmentation import Segmentation
    from napari_twostage.models.model import Model
    from napari_twostage.slides.base import Slide
    from training.composite.slide import Composite, PlacedImage

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


class Method(NamedTuple):
    """A way to segment the slide."""

    model: Model
    threshold: float | None
    """Threshold above which tiles are refined; None for stage 1 alone."""


def load_dense(run: Path, model: Model, data: Path) -> Model:
    """Load a dense run as a model whose stage 1 works at full resolution, shifted as `model` is.

    Its logits are shifted on the images of `data` that its run held out.
    """
    config = read_run_config(run)
    network = config.network
    card = replace(
        model.card,
        name=DENSE,
        architecture={"name": network.architecture, **network.options},
        fine_architecture=None,
        refiner=None,
        ratio=1,
        fine_ratio=1,
        objects=network.objects,
        mean=network.mean,
        std=network.std,
        coarse_window_px=DENSE_WINDOW_PX,
        coarse_halo_px=32,
        gain_output=False,
        uncertainty="tent",
        temperature=1.0,
        domain=None,
    )
    tensors = load_file(run / STAGE1)
    module = prepare_inference(load_trained_networks(config, run))
    shift = torch.from_numpy(shift_of(module, config, data))
    tensors["last.bias"][: len(shift)] += shift.to(tensors["last.bias"])
    both = {f"stage{n}.{name}": value for n in (1, 2) for name, value in tensors.items()}
    with tempfile.TemporaryDirectory() as folder:
        write_bundle(Path(folder) / DENSE, card, both)
        return load_model(Path(folder) / DENSE, precision="f32")


@dataclass(frozen=True)
class Quality:
    """Quality of one method on the slide."""

    dice: NDArray[np.float64]
    """(images,) Dice of each placed image."""
    pooled: float
    """Dice of all placed images together."""
    expected: float
    """Dice that the engine expects."""
    refined: float
    """Refined share of the tissue tiles."""
    tissue: float
    """Share of all tiles that hold tissue."""


def compare(
    slide: Slide,
    composite: Composite,
    methods: dict[str, Method],
    rounds: int,
    *,
    tissue: bool | None = None,
) -> Table:
    """Segment the slide with every method, round after round; time all, measure the first.

    `tissue` says whether to look for it, as for `segment`.
    """
    qualities: dict[str, Quality] = {}
    with tqdm(total=rounds * len(methods), desc="composite", unit="run") as bar:

        def run(name: str) -> Seconds:
            with tempfile.TemporaryDirectory() as folder:
                started = Seconds.now()
                seg = _segment(slide, methods[name], Path(folder) / "run.zarr", tissue=tissue)
                spent = Seconds.now() - started
                if name not in qualities:  # labels are the same in every round
                    qualities[name] = _measure(seg, composite.placed)
            bar.update()
            return spent

        timings = time_in_turn({name: partial(run, name) for name in methods}, rounds)
    groups = [entry.name for entry in composite.placed]
    dense = qualities[DENSE]
    caption = _caption(slide, dense.tissue, composite)
    table = Table(f"composite_{Path(slide.name).stem}", HEADER, caption)
    for name, timing in timings.items():
        (fastest, slowest), quality = timing.spread, qualities[name]
        table.add(
            {
                "run": name,
                "seconds [rounds]": f"{timing.median:.1f} [{fastest:.1f}, {slowest:.1f}]",
                "speed-up": f"{timings[DENSE].over(timing):.1f}×",
                "tiles refined (%)": percent(quality.refined),
                "Dice (%)": percent(float(quality.dice.mean())),
                "against dense": describe_difference(quality.dice - dense.dice, groups),
                "pooled Dice (%)": percent(quality.pooled),
                "expected (%)": percent(quality.expected),
            }
        )
    return table


def _segment(slide: Slide, method: Method, out: Path, *, tissue: bool | None) -> Segmentation:
    if method.threshold is None:
        return segment(slide, method.model, out, tissue=tissue, refine="none")
    return segment(slide, method.model, out, tissue=tissue, threshold=method.threshold)


def _measure(seg: Segmentation, placed: Sequence[PlacedImage]) -> Quality:
    # true positives, predicted and true foreground pixels of each image
    counts = np.array([count_pixels(seg.read_labels(each.box), each.mask) for each in placed])
    refined = seg.refined
    return Quality(
        dice=np.array([dice_of(*each) for each in counts.tolist()]),
        pooled=dice_of(*counts.sum(axis=0).tolist()),
        expected=seg.ranking.expected_dice(refined),
        refined=float(refined.sum() / seg.tissue.sum()),
        tissue=float(seg.tissue.mean()),
    )


def _caption(slide: Slide, tissue: float, composite: Composite) -> str:
    height, width = slide.level_shapes[0]
    sources = len({entry.name for entry in composite.placed})
    return (
        f"{height} × {width} pixels with {len(composite.placed)} fields of {sources} test images; "
        f"{percent(tissue)} % of tiles are segmented by all runs. Seconds: tissue "
        "search, reading, both stages and writing, medians of runs in turn; the speed-up is that "
        "within a round. Dice (smooth 1) per field, averaged, and of all fields together, beside "
        "what the engine expects of the latter (the dense run is not calibrated); intervals "
        f"resample source images, differences are paired. {machine_line()}."
    )
