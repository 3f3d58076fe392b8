"""Train a model from a TOML configuration.

A run can be killed and started again with the same command: it goes on from its last checkpoint,
and every step depends on the seed and its number alone. O receives the weights of each stage,
``log.csv``, ``log.png``, and, where the configuration has a [card], ``bundle/`` for the plugin.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from napari_twostage.errors import ModelError
from napari_twostage.models.backends.allocator import tune_allocator
from napari_twostage.models.backends.choice import pick_device
from napari_twostage.models.bundle import CARD
from napari_twostage.models.networks.build import build_two_stage
from napari_twostage.training.calibrate import calibrate
from napari_twostage.training.card import draft_card
from napari_twostage.training.checkpoint import claim, take_over
from napari_twostage.training.config import ConfigError, load_config
from napari_twostage.training.datasets import DatasetError
from napari_twostage.training.loop import is_fast_in_bf16, train_stage
from napari_twostage.training.pretrained import build_module
from napari_twostage.training.samples import open_samples
from napari_twostage.training.stages import list_stages
from napari_twostage.training.teacher import teach

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_twostage.training.config import TrainConfig

BUNDLE = "bundle"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one configuration to its end; 2 for what the user must correct."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--out", type=Path, required=True, help="folder for weights and log")
    parser.add_argument(
        "--parts",
        type=Path,
        nargs="+",
        default=[],
        metavar="RUN",
        help="folders of single models that become stage 1, or both stages, and are not trained",
    )
    parser.add_argument(
        "--teacher",
        type=Path,
        metavar="RUN",
        help="folder of a single model that is learned from, where the configuration says how much",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="in place of the file's value: network.architecture=unet",
    )
    options = parser.parse_args(arguments)
    try:
        config = load_config(options.config, options.set)
        run(
            config,
            options.data,
            options.out,
            device=options.device,
            parts=options.parts,
            teacher=options.teacher,
        )
    except (ConfigError, DatasetError, ModelError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def run(
    config: TrainConfig,
    data: Path,
    out: Path,
    *,
    device: str = "auto",
    parts: Sequence[Path] = (),
    teacher: Path | None = None,
) -> None:
    """Train all stages, and make a bundle where the configuration has a card.

    Parameters
    ----------
    config : TrainConfig
    data : path
        Folder of the data set.
    out : path
        Folder of the run; one that was begun there is gone on with.
    device : str
        ``auto`` takes CUDA or MPS where there is one, else the CPU.
    parts : sequence of path
        Folders of single models' runs; see `checkpoint.take_over`.
    teacher : path, optional
        Folder of a single model's run; see `teacher.teach`. Needed where the configuration has a
        `distillation`.

    Raises
    ------
    ConfigError, DatasetError, ModelError
        If `out` holds another run, or the data or the starting weights cannot be used.
    """
    tune_allocator()
    torch.manual_seed(config.seed)
    place = pick_device(device)
    if (teacher is None) != (config.distillation == 0):
        raise ConfigError(
            f"expected a teacher and a distillation above 0, or neither; found {teacher} and "
            f"{config.distillation:g}; give --teacher RUN and --set distillation=0.5"
        )
    card = None if config.card is None else draft_card(config, data)
    if card is not None:
        with torch.device("meta"):  # what does not fit together is said before the training
            build_two_stage(card)
    training, validation = open_samples(config, data)
    if teacher is not None:
        training = teach(training, teacher, config)
    module = build_module(config).to(place)
    if config.precision == "bf16" and not is_fast_in_bf16(place):
        sys.stderr.write("this CPU only emulates bfloat16: training in float32\n")
    stages = list_stages(config, module, training)
    claim(out, config)
    take_over(parts, out)
    for stage in stages:
        train_stage(stage, config, validation, out, place)
        if stage.name == "stage1" and config.stage2 is not None and config.network.transfer:
            module.transfer()
    # the card is what a bundle gets last
    if card is not None and not (out / BUNDLE / CARD).exists():
        calibrate(out / BUNDLE, card, module.cpu().state_dict(), validation)


if __name__ == "__main__":
    sys.exit(main())
