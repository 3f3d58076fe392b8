"""The models that ship with the package do what their cards say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import napari_twostage as ts
from napari_twostage.geometry import Box
from napari_twostage.models.bundle import BUNDLED, bundled_names, read_bundle
from napari_twostage.samples import sample_slide

if TYPE_CHECKING:
    from pathlib import Path

MOST_BYTES = 60_000_000


def test_nuclei_are_found_one_by_one_in_the_sample_slide(tmp_path: Path) -> None:
    model = ts.load_model("nuclei")
    assert (model.card.version, model.card.objects) == ("3.0", "distance")
    region = Box.at(1400, 900, 256, 256)  # epidermis
    seg = ts.segment(sample_slide(), model, tmp_path / "a.zarr", refine="none", region=region)
    share = np.mean(seg.read_labels(seg.box_to_fine(region)) > 0)
    assert 0.05 < share < 0.5
    assert seg.tells_objects_apart


@pytest.mark.parametrize("name", bundled_names())
def test_bundled_models_say_what_they_learnt_from_and_how_good_they_are(name: str) -> None:
    card = read_bundle(name).card
    assert "CC BY 4.0" in card.training_data
    assert card.licence == "BSD-3-Clause"
    assert card.metrics
    assert card.precision_loss
    assert 0 < card.default_threshold < 1


def test_bundled_models_run_without_torch_and_are_small() -> None:
    assert all(read_bundle(name).converted for name in bundled_names())
    sizes = [path.stat().st_size for path in BUNDLED.rglob("*") if path.is_file()]
    assert sum(sizes) < MOST_BYTES
