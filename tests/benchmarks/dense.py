"""Dense segmentation: our engine, MONAI, TIAToolbox, and the forward pass of the same windows.

    python -m tests.benchmarks.dense --device cpu openvino \
        --peer-python monai=envs/monai/bin/python tiatoolbox=envs/tiatoolbox/bin/python

All use one network (stage 2 of the model), one precision (float32), one slide, one window size and
one batch size. Ours reads, computes and writes every tile, and only its stage 2 counts: the coarse
pass before it is not part of a dense run. Forward runs the model on windows read beforehand, and
only the model is timed. Peers get the network as TorchScript and do not need this package. Each
runs in the interpreter given for it, in a fresh process per round, with the allocator tuned like
ours, and starts its clock when everything is loaded and warm. Peers without one are left out.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import warnings
from argparse import ArgumentTypeError
from dataclasses import asdict
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from tests.benchmarks import common
from tests.benchmarks.peers.peer import PeerTask

from napari_twostage import open_slide, segment
from napari_twostage.cli.bench import time_stages, warm_up
from napari_twostage.engine.api import working_grid
from napari_twostage.method.tiling import TileGrid
from napari_twostage.models.backends.torch_backend import KEEP_BYTES
from napari_twostage.models.card_rules import LOWER_PRECISIONS
from napari_twostage.models.networks.fold import build_module
from napari_twostage.slides.view import View
from napari_twostage.training.evaluation.table import Table
from napari_twostage.utils.timing import Seconds, Timing, time_in_turn, timed

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable, Iterator

    from napari_twostage.method.tiling import Chip
    from napari_twostage.models.bundle import Bundle
    from napari_twostage.models.model import Model
    from napari_twostage.slides.base import Slide

SIDE, QUICK_SIDE = 8192, 1024
PEERS = {"monai": "MONAI sliding window", "tiatoolbox": "TIAToolbox SemanticSegmentor"}
FASTER, OVERHEAD, LOWER_OVERHEAD = 1.5, 1.05, 1.10
"""Goals: least speed relative to peers; most time relative to forward, in f32 and in others."""
SAME_SHARE = 0.01
"""Largest difference between shares of foreground: MONAI averages overlapping windows."""


def main() -> None:
    """Time ours and forward on every device, and the peers, in turn."""
    options = common.parse(make_parser())
    side = QUICK_SIDE if options.quick else options.side
    path = common.big_slide(options.slides, side, side, tissue=1)
    models = [common.load(options.model, device) for device in options.device]
    for model in models:
        warm_up(model)
    ways: dict[str, Callable[[], Seconds]] = {}
    with open_slide(path) as slide, tempfile.TemporaryDirectory() as folder:
        for device, model in zip(options.device, models, strict=True):
            ways[f"forward, {device}"] = partial(forward, slide, model)
            ways[f"napari-twostage, {device}"] = partial(run_ours, slide, model)
        task = make_task(path, models[0], Path(folder))
        peers = [Peer(name, python, task) for name, python in options.peers]
        ways |= {PEERS[peer.name]: peer.run for peer in peers}
        timings = time_in_turn(ways, options.rounds)
        check_same(foreground(slide, models[0]), peers)
    versions = {name: version for peer in peers for name, version in peer.versions.items()}
    notes = [
        f"{slide.name}: {len(chips(slide, models[0]))} windows of stage 2 of "
        f"{models[0].card.name}, {models[0].refine_batch} in a batch.",
        *(f"{PEERS[name]} was not named and was left out." for name in missing(options)),
        *goals(timings, options.device, peers),
    ]
    drawn = common.draw_bars(timings, "seconds")
    common.publish(tabulate(timings, options.device), notes, drawn, options, **versions)


def make_parser() -> ArgumentParser:
    """Command-line parser; several devices are allowed."""
    parser = common.parser(__doc__)
    parser.add_argument("--model", default="nuclei", help="bundled name, folder or zip")
    parser.add_argument("--device", nargs="+", default=["cpu"], help="one or more (default cpu)")
    parser.add_argument("--side", type=int, default=SIDE, help=f"of the slide (default {SIDE})")
    parser.add_argument(
        "--peer-python", dest="peers", nargs="+", type=peer_python, default=[],
        metavar="NAME=PYTHON", help=f"interpreters of {' and '.join(PEERS)}",
    )  # fmt: skip
    return parser


def peer_python(text: str) -> tuple[str, str]:
    """Read ``monai=/path/to/python``."""
    name, _, python = text.partition("=")
    if name not in PEERS or not Path(python).is_file():
        raise ArgumentTypeError(f"expected {' or '.join(PEERS)}=PYTHON, found {text}")
    return name, python


def missing(options: Namespace) -> list[str]:
    """Peers without an interpreter."""
    return [name for name in PEERS if name not in dict(options.peers)]


# -- ours -------------------------------------------------------------------------------------


def run_ours(slide: Slide, model: Model) -> Seconds:
    """Seconds of stage 2 over every tile, from the slide file to the result."""
    return time_stages(slide, model, refine="all", tissue=False)["refine"]


def chips(slide: Slide, model: Model) -> list[Chip]:
    """Chips of stage 2 when every tile is refined."""
    card, grid = model.card, working_grid(slide, model.card)
    tiles = TileGrid(grid.shape, card.tile_px, card.halo_px)
    return tiles.chips(list(tiles.touching(grid.box)), merge=card.mergeable)


def batches(slide: Slide, model: Model) -> Iterator[list[Chip]]:
    """Chips in groups of several batches of one shape, so that no processor idles between them."""
    count = common.FULL_BATCHES * model.refine_batch
    ordered = sorted(chips(slide, model), key=lambda chip: chip.window.shape)
    for _, group in groupby(ordered, key=lambda chip: chip.window.shape):
        same = list(group)
        for start in range(0, len(same), count):
            yield same[start : start + count]


def forward(slide: Slide, model: Model) -> Seconds:
    """Seconds of stage 2 over the same windows, without reading them."""
    view, spent = View(slide, working_grid(slide, model.card)), Seconds(0, 0)
    for batch in batches(slide, model):
        windows = [view.read(chip.window) for chip in batch]
        spent += timed(partial(model.refine, windows))
    return spent


def foreground(slide: Slide, model: Model) -> float:
    """Share of pixels that our dense run labels as foreground, to check the peers against."""
    with tempfile.TemporaryDirectory() as folder:
        seg = segment(slide, model, Path(folder) / "out.zarr", refine="all", tissue=False)
        return float((seg.labels[0] > 0).mean().compute())


# -- peers ------------------------------------------------------------------------------------


class Peer:
    """Other engine, run by a script in its own interpreter.

    Parameters
    ----------
    name : str
        Key of `PEERS`.
    python : str
        Interpreter that has it installed.
    task : PeerTask
        Network, slide and sizes.
    """

    def __init__(self, name: str, python: str, task: PeerTask) -> None:
        self.name = name
        self.versions: dict[str, str] = {}
        self.foreground = 0.0
        script = Path(__file__).parent / "peers" / f"run_{name}.py"
        written = Path(task.folder) / f"{name}.json"
        written.write_text(json.dumps(asdict(task)))
        self._command = [python, str(script), str(written)]

    def run(self) -> Seconds:
        """Run one round; return the seconds that the script measured."""
        done = subprocess.run(
            self._command, env=tuned_environment(), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"{PEERS[self.name]} failed:\n{done.stderr[-2000:]}")
        found = json.loads(done.stdout.splitlines()[-1])
        self.versions, self.foreground = found["versions"], found["foreground"]
        return Seconds(found["wall"], found["cpu"])


def tuned_environment() -> dict[str, str]:
    """Environment with the settings of `tune_allocator`, for a process without this package."""
    settings = ("mmap_threshold", "trim_threshold")
    tunables = ":".join(f"glibc.malloc.{name}={KEEP_BYTES}" for name in settings)
    shared = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return {**shared, "GLIBC_TUNABLES": tunables}


def make_task(slide: Path, model: Model, folder: Path) -> PeerTask:
    """Save the network, and describe how to run it."""
    card = model.card
    network = folder / "network.pt"
    side = card.window_px
    save_network(model.bundle, network, (model.refine_batch, 3, side, side))
    return PeerTask(
        network=str(network),
        slide=str(slide),
        tile_px=card.tile_px,
        halo_px=card.halo_px,
        batch=model.refine_batch,
        threads=torch.get_num_threads(),
        folder=str(folder),
    )


class ChannelsFirst(torch.nn.Module):
    """Stage 2 as peers call a network: (N, 3, H, W) uint8 to logits."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__()
        self.stages = build_module(bundle)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.stages.refine(images.permute(0, 2, 3, 1))


def save_network(bundle: Bundle, path: Path, shape: tuple[int, ...]) -> None:
    """Trace stage 2 in our memory layout, and save it as TorchScript."""
    network = ChannelsFirst(bundle).eval()
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # deprecated, but read by every torch
        traced = torch.jit.trace(network, torch.zeros(shape, dtype=torch.uint8))
        torch.jit.save(traced, path)


def check_same(expected: float, peers: list[Peer]) -> None:
    """Exit if a peer labels a different share of the pixels: it ran something else."""
    for peer in peers:
        if abs(peer.foreground - expected) > SAME_SHARE:
            raise SystemExit(
                f"{PEERS[peer.name]} labels {peer.foreground:.1%} of the pixels, "
                f"ours {expected:.1%}: they do not run the same network"
            )


# -- results ----------------------------------------------------------------------------------


def tabulate(timings: dict[str, Timing], devices: list[str]) -> Table:
    """Table of every engine, relative to the forward pass on the first device."""
    bound = f"× forward, {devices[0]}"
    table = Table("dense", ("engine", *common.TIMES, bound))
    for name, timing in timings.items():
        ratio = timing.over(timings[f"forward, {devices[0]}"])
        table.add({"engine": name, **common.cells(timing), bound: f"{ratio:.2f}"})
    return table


def goals(timings: dict[str, Timing], devices: list[str], peers: list[Peer]) -> Iterator[str]:
    """Goals: overhead on every device, and speed relative to each peer."""
    for device in devices:
        ours = timings[f"napari-twostage, {device}"]
        ratio = ours.over(timings[f"forward, {device}"])
        most = LOWER_OVERHEAD if device.endswith(LOWER_PRECISIONS) else OVERHEAD
        wanted = f"at most {most}× forward on {device}"
        yield common.goal(wanted, f"{ratio:.3f}×", met=ratio <= most)
        for peer in peers:
            lead = timings[PEERS[peer.name]].over(ours)
            wanted = f"on {device} at least {FASTER}× as fast as {PEERS[peer.name]}"
            yield common.goal(wanted, f"{lead:.2f}×", met=lead >= FASTER)


if __name__ == "__main__":
    main()
