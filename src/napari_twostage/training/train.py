"""Training of a model from a configuration: ``napari-twostage train``.

A run can be killed and started again with the same command: it resumes from its last checkpoint,
and every step depends on the seed and its own number alone. Its folder receives the weights of each
stage, ``log.csv``, ``log.png`` and, if the configuration has a [card], ``bundle/`` for the plugin.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import torch

from napari_twostage.models.backends.choice import pick_device
from napari_twostage.models.backends.torch_backend import tune_allocator
from napari_twostage.models.bundle import CARD
from napari_twostage.models.networks.build import build_two_stage
from napari_twostage.training.calibrate import calibrate, draft_card
from napari_twostage.training.config import ConfigError
from napari_twostage.training.convert import try_to_convert
from napari_twostage.training.loop.distillation import add_teacher
from napari_twostage.training.loop.gain import add_gain
from napari_twostage.training.loop.stages import list_stages
from napari_twostage.training.loop.train_stage import is_fast_in_bf16, train_stage
from napari_twostage.training.run.images import open_samples
from napari_twostage.training.run.networks import build_initial_networks
from napari_twostage.training.run.run_folder import BUNDLE, claim_folder, reuse_stages
from napari_twostage.training.shift import shift_stages

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_twostage.training.config import TrainConfig


def train(
    config: TrainConfig,
    data: Path,
    out: Path,
    *,
    device: str = "auto",
    parts: Sequence[Path] = (),
    teacher: Path | None = None,
    progress: bool = True,
) -> None:
    """Train all stages; if the configuration has a card, calibrate and write a bundle.

    Parameters
    ----------
    config : TrainConfig
    data : path
        Folder of the data set.
    out : path
        Folder of the run; an unfinished run in it is resumed.
    device : str
        ``auto`` takes CUDA or MPS if available, else the CPU.
    parts : sequence of path
        Folders of single models' runs that become the first stages; see `run_folder.reuse_stages`.
    teacher : path, optional
        Folder of a single model's run to learn from; see `distillation.add_teacher`. Required if
        the configuration's `distillation` is above 0.
    progress : bool
        Show progress bars on stderr.

    Raises
    ------
    ConfigError, DatasetError, ModelError
        If `out` holds another run, or the data or the initial weights cannot be used.
    """
    _require_teacher(config, teacher)
    tune_allocator()
    torch.manual_seed(config.seed)
    place = pick_device(device)
    card = None if config.card is None else draft_card(config, data)
    if card is not None:
        with torch.device("meta"):  # sizes that do not fit are reported before the training
            build_two_stage(card)
    training, validation = open_samples(config, data)
    if teacher is not None:
        training = add_teacher(training, teacher, config)
    module = build_initial_networks(config).to(place)
    if config.precision == "bf16" and not is_fast_in_bf16(place):
        sys.stderr.write("this CPU only emulates bfloat16: training in float32\n")
    stages = list_stages(config, module, training)
    claim_folder(out, config)
    reuse_stages(parts, out, config)
    for stage in stages:
        train_stage(stage, config, validation, out, place, progress=progress)
        if stage.name == "stage1" and config.stage2 is not None and config.network.transfer:
            module.transfer()
    # the card is written last, so a bundle without one is unfinished
    if card is not None and not (out / BUNDLE / CARD).exists():
        shift_stages(module, config, validation)
        add_gain(module, config, validation, out, place, progress=progress)
        state = module.cpu().state_dict()
        calibrate(out / BUNDLE, card, state, validation, progress=progress)
        try_to_convert(out / BUNDLE)


def _require_teacher(config: TrainConfig, teacher: Path | None) -> None:
    """Refuse a teacher without a weight for it, and the reverse."""
    if (teacher is None) != (config.distillation == 0):
        raise ConfigError(
            f"expected a teacher and a distillation above 0, or neither; found {teacher} and "
            f"{config.distillation:g}; give --teacher RUN and --set distillation=0.5"
        )
