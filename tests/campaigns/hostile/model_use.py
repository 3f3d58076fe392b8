"""Small models to damage, and their use: loaded, and run over a few windows of a small slide."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import tests.models.random_model as random_model
from tests.campaigns.runner import WrongResultError
from tests.fakes import noise

import napari_twostage.models.backends.openvino
import napari_twostage.models.backends.torch_backend  # noqa: F401 - imported before forks
from napari_twostage.engine.api import iter_segment
from napari_twostage.method.steps import ChipRefined, CoarseWindowDone
from napari_twostage.models import load_model
from napari_twostage.models.converted import pack, read_converted
from napari_twostage.slides import open_slide

if TYPE_CHECKING:
    from pathlib import Path

STEPS = 4
"""Windows and tiles that are computed: valid cards may ask for very many."""
TINY = {"name": "unet", "backbone": "resnet18", "width": 1 / 32}
"""Architecture of some hundred kilobytes of weights."""


def write_tiny(folder: Path) -> None:
    """Write a bundle folder of a tiny network, for torch and converted."""
    from napari_twostage.models.backends.conversion import convert_bundle

    bundle = random_model.random_bundle(architecture=TINY)
    bundle = replace(bundle, card=replace(bundle.card, name="tiny"))
    bundle = replace(bundle, converted=convert_bundle(bundle))
    networks = read_converted(bundle)
    assert networks is not None
    # not in integers, but as the file holds them
    replace(bundle, quantised=pack(networks, bundle)).save(folder)


def use_model(path: Path, device: str, *, precision: str = "f32", must_fail: bool = False) -> None:
    """Load a model and compute a few windows with it.

    Raises
    ------
    WrongResultError
        If logits are not finite, or a model runs that must not.
    """
    model = load_model(path, device=device, precision=precision)
    slide = open_slide(noise(96, 112), mpp=0.5)
    refined = windows = 0
    with tempfile.TemporaryDirectory(dir=path.parent) as out:
        steps = iter_segment(slide, model, f"{out}/a.zarr", tissue=False, refine="all")
        for step in steps:
            if isinstance(step, CoarseWindowDone):
                windows += 1
                if not np.isfinite(step.logits).all():
                    raise WrongResultError("logits that are not finite were kept")
            refined += isinstance(step, ChipRefined)
            if max(refined, windows) >= STEPS:
                steps.close()
                break
    if must_fail:
        raise WrongResultError("a model that must be refused ran")
