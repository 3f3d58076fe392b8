"""The weights of `nuclei` 3 make a bundle that can be used in a clone."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import napari_twostage as ts
from napari_twostage.geometry import Box
from napari_twostage.samples import sample_slide

WEIGHTS = Path(__file__).parents[2] / "training" / "weights" / "nuclei3"


def test_they_find_nuclei_in_the_sample_slide(tmp_path: Path) -> None:
    model = ts.load_model(WEIGHTS, device="cpu")
    assert (model.card.name, model.card.version, model.card.objects) == (
        "nuclei", "3.0", "distance",
    )  # fmt: skip
    region = Box.at(1400, 900, 256, 256)  # epidermis
    seg = ts.segment(sample_slide(), model, tmp_path / "a.zarr", refine="none", region=region)
    share = np.mean(seg.read_labels(seg.box_to_fine(region)) > 0)
    assert 0.05 < share < 0.5
