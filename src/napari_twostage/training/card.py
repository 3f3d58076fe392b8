"""The card of a model before it is measured: what its configuration says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_twostage.models import LabelClass, ModelCard
from napari_twostage.training.config import ClassConfig, ConfigError
from napari_twostage.training.datasets import mpp_range

if TYPE_CHECKING:
    from pathlib import Path

    from napari_twostage.training.config import TrainConfig

UNMEASURED: dict[str, Any] = {"default_threshold": 0.5, "refinement_gain": 0.0}
COLOURS = ("#ffb000", "#648fff", "#dc267f", "#fe6100", "#785ef0")
"""Told apart with any colour vision; of classes that state none."""
FOREGROUND = (ClassConfig(name="foreground"),)


def draft_card(config: TrainConfig, data: Path) -> ModelCard:
    """Draft the card of a run with a [card].

    Tiles are what stage 2 was trained on, less the halo, unless [card] says otherwise.

    Raises
    ------
    ModelError
        If sizes do not fit together.
    """
    stated, fine_mpp = config.card, (config.card and config.card.fine_mpp) or config.data.mpp
    last = config.stage1 if config.kind == "joint" else config.stage2
    if stated is None or fine_mpp is None or last is None:
        raise ConfigError("a card needs a [card], a pixel size and two stages")
    network, whole = config.network, config.whole_images
    halo = 0 if whole else stated.halo_px
    window = whole.size_px // int(network.ratio) if whole else last.crop_px
    return ModelCard(
        name=stated.name,
        version=stated.version,
        description=stated.description,
        architecture={"name": network.architecture, **network.options},
        fine_architecture=None
        if network.fine_options is None
        else {"name": network.architecture, **network.fine_options},
        refiner=network.refiner,
        classes=tuple(
            LabelClass(entry.name, entry.color or COLOURS[(value - 1) % len(COLOURS)], value)
            for value, entry in enumerate(config.data.classes or FOREGROUND, start=1)
        ),
        fine_mpp=fine_mpp,
        mpp_range=stated.mpp_range or mpp_range(fine_mpp),
        ratio=int(network.ratio),
        fine_ratio=network.fine_ratio,
        tile_px=stated.tile_px or window - 2 * halo,
        halo_px=halo,
        coarse_window_px=stated.coarse_window_px,
        coarse_halo_px=stated.coarse_halo_px,
        context=network.context,
        mean=network.mean,
        std=network.std,
        uncertainty=stated.uncertainty,
        training_data=stated.training_data or data.absolute().name,
        licence=stated.licence,
        **UNMEASURED,
    )
