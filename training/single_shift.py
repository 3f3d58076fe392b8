"""Shift of a single model's logits, fitted as the stages of a bundle are shifted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from napari_twostage.training.run.images import open_samples
from napari_twostage.training.shift import stage1_shift

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_twostage.models.networks.two_stage import TwoStage
    from napari_twostage.training.config import TrainConfig


def shift_of(module: TwoStage, config: TrainConfig, data: Path) -> NDArray[np.float64]:
    """Fit the shift (K,) on the images that a single model's run held out; 0 if there are none.

    Parameters
    ----------
    module : TwoStage
        Its trained network is stage 1.
    config : TrainConfig
    data : path
        Folder of the data set.
    """
    _, held_out = open_samples(config, data)
    if not len(held_out):
        return np.zeros(config.data.outputs)
    return stage1_shift(module, config, tqdm(held_out, desc="shift", unit="image"))
