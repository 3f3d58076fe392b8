"""Touching nuclei are shown one by one: real weights on real tissue."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
from tests.proofs.helpers import tissue_pixels

from napari_twostage import load_model, open_slide, segment
from napari_twostage.method.instances import lines_between, separate
from napari_twostage.method.steps import ChipRefined
from napari_twostage.viewer.label_blocks import LabelBlocks

if TYPE_CHECKING:
    from pathlib import Path


def shown(blocks: LabelBlocks) -> np.ndarray:
    """The finest level once a line was drawn, or after ten seconds."""
    _ = blocks.levels[0][:]
    deadline = time.monotonic() + 10
    while not blocks.draw_lines() and time.monotonic() < deadline:
        time.sleep(0.02)
    return np.asarray(blocks.levels[0][:])


def test_lines_part_touching_nuclei_and_follow_refined_tiles(tmp_path: Path) -> None:
    slide = open_slide(tissue_pixels(500, 420), mpp=0.5)
    seg = segment(
        slide,
        load_model("nuclei", device="openvino", precision="f32"),
        tmp_path / "o.zarr",
        tissue=False,
        refine="none",
    )
    blocks = LabelBlocks(seg)
    for n_tiles in (0, 3):
        for step in seg.iter_refine(seg.plan(n_tiles=n_tiles)):
            if isinstance(step, ChipRefined):
                blocks.chip_refined(step)
        labels, depth = seg.read_labels(seg.grid.box), seg.read_depth(seg.grid.box)
        lines = lines_between(labels, separate(labels, depth))
        assert lines.sum() > 10
        np.testing.assert_array_equal(shown(blocks), np.where(lines, 0, labels))
    blocks.close()
