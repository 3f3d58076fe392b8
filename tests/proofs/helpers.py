"""Real pixels as slides, results as plain arrays, and child processes to kill."""

from __future__ import annotations

import time
from dataclasses import asdict
from multiprocessing import get_all_start_methods, get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_twostage import Box, Segmentation, segment
from napari_twostage.measure.objects import ObjectScan
from napari_twostage.method.instances import parted

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.process import BaseProcess

    from napari_twostage.models.model import Model

Pixels = NDArray[np.uint8]

SAMPLE = Path(__file__).parents[2] / "sample_data" / "CMU-1-Small-Region.svs"
CORNER = (1431, 742)
"""Where the small slide's densest tissue begins."""
MPP = 0.5


def tissue_pixels(height: int, width: int) -> Pixels:
    """Cut real H&E out of the sample slide: (height, width, 3)."""
    top, left = CORNER
    plane = tifffile.imread(SAMPLE, key=0)
    assert plane.shape[0] >= top + height
    assert plane.shape[1] >= left + width
    return np.ascontiguousarray(plane[top : top + height, left : left + width])


def write_tiff(path: Path, pixels: Pixels, *, mpp: float = MPP, **layout: Any) -> Path:
    """Write one level as a tiled TIFF that states its pixel size."""
    per_cm = 10_000 / mpp
    layout = {"tile": (128, 128), "compression": "zlib", **layout}
    tifffile.imwrite(
        path,
        pixels,
        photometric="rgb",
        metadata=None,
        resolution=(per_cm, per_cm),
        resolutionunit="CENTIMETER",
        **layout,
    )
    return path


def overwrite_tile(path: Path, index: int, damage: bytes) -> None:
    """Put bytes over the middle of one tile of level 0."""
    with tifffile.TiffFile(path) as tif:
        offset, count = tif.pages[0].dataoffsets[index], tif.pages[0].databytecounts[index]
    assert len(damage) < count // 2
    with path.open("r+b") as file:
        file.seek(offset + count // 2)
        file.write(damage)


def outcome(seg: Segmentation) -> dict[str, Any]:
    """All that a run decides, to be compared byte by byte."""
    found = {f"labels {k}": np.asarray(level) for k, level in enumerate(seg.labels)}
    if seg.tells_objects_apart:
        found["depth"] = seg.read_depth(seg.grid.box)
        if isinstance(seg.path, Path):  # by a URL each of a thousand tiles is a request
            found |= objects(seg)
    return {**found, "scores": seg.scores, "states": seg.states, "failures": seg.failures}


def objects(seg: Segmentation) -> dict[str, Any]:
    """Measurements of all objects, by name; they follow from labels and depth."""
    parts = [asdict(each.regions) for each in ObjectScan(seg).objects()]
    return {f"objects' {name}": np.concatenate([part[name] for part in parts]) for name in parts[0]}


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Compare two outcomes, byte by byte; objects if both have them."""
    assert set(found) ^ set(expected) <= {name for name in expected if name.startswith("objects'")}
    for name in found.keys() & expected.keys():
        values = expected[name]
        if isinstance(values, np.ndarray):
            same = found[name].shape == values.shape and found[name].tobytes() == values.tobytes()
            assert same, f"{name} differ"
        else:
            assert found[name] == values, name


def dense_labels(model: Model, read: Callable[[Box], Pixels], shape: tuple[int, int]) -> Pixels:
    """Run the dense baseline: stage 2 over every tile by itself, as one would write it naively."""
    side, halo = model.card.tile_px, model.card.halo_px
    labels = np.full(shape, 255, np.uint8)
    for top in range(0, shape[0], side):
        for left in range(0, shape[1], side):
            window = read(Box(top - halo, left - halo, top + side + halo, left + side + halo))
            logits = parted(model.refine([window])[0], model.card)[0]
            core = logits.argmax(0) if len(logits) > 1 else logits[0] > 0
            rows, columns = min(side, shape[0] - top), min(side, shape[1] - left)
            labels[top : top + rows, left : left + columns] = core[:rows, :columns]
    return labels


def padded_reader(pixels: Pixels, margin: int, factor: int = 1) -> Callable[[Box], Pixels]:
    """Read windows of an array reduced by a whole factor, with nothing of the engine's.

    The array is mirrored far beyond its edges first, so a reduced pixel on an odd edge averages
    what really is there with its mirror image.
    """
    far = margin * factor
    padded = np.pad(pixels, ((far, far), (far, far), (0, 0)), mode="reflect")
    height, width = (side // factor for side in padded.shape[:2])
    blocks = padded[: height * factor, : width * factor].astype(np.int64)
    sums = blocks.reshape(height, factor, width, factor, 3).sum((1, 3))
    reduced = ((2 * sums + factor**2) // (2 * factor**2)).astype(np.uint8)  # halves go up
    return lambda box: reduced[box.shift(margin, margin).slices]


def segment_in_child(slide: str, out: str, options: dict[str, Any]) -> None:
    """What a child process runs."""
    segment(slide, "nuclei", out, **options)


def start(slide: Path, out: Path, options: dict[str, Any]) -> BaseProcess:
    """Start a real process that segments a slide; it can be killed at any time.

    Where there is one, it is forked from a server that has imported everything and run nothing:
    what is left to kill is the run, not four seconds of imports.
    """
    context = get_context("forkserver" if "forkserver" in get_all_start_methods() else "spawn")
    context.set_forkserver_preload(["napari_twostage.models.model", "tests.proofs.helpers"])
    child = context.Process(target=segment_in_child, args=(str(slide), str(out), options))
    child.start()
    return child


def finish(slide: Path, out: Path, options: dict[str, Any]) -> float:
    """Let such a process run to its end; returns how many seconds it took."""
    began = time.monotonic()
    child = start(slide, out, options)
    child.join()
    assert child.exitcode == 0
    return time.monotonic() - began
