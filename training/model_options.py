"""Options that commands share which measure models on sets, or train the runs of a study."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_twostage.training.config.image_sections import SetConfig

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Sequence


def add_model_options(parser: ArgumentParser) -> None:
    """Add the configuration, the data, the model and the sets that it was never trained on."""
    parser.add_argument("config", type=Path, help="configuration that the model was trained with")
    parser.add_argument("--data", type=Path, required=True, help="folder of the sets")
    parser.add_argument("--model", default="nuclei", help="bundled name or bundle folder")
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--outside", nargs="*", default=[], metavar="SET=MPP", help="sets never trained on"
    )


def add_study_options(parser: ArgumentParser) -> None:
    """Add the study, its data, and how its runs are trained."""
    parser.add_argument("study", type=Path, help="TOML file of the study")
    parser.add_argument("--data", type=Path, required=True, help="folder of the data")
    parser.add_argument("--runs", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--out", type=Path, required=True, help="folder for tables and figure")
    parser.add_argument("--train", action="store_true", help="train what is missing")
    parser.add_argument("--jobs", type=int, default=1, help="runs to train side by side")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps, to train")


def outside_sets(texts: Sequence[str]) -> tuple[SetConfig, ...]:
    """Sets that ``--outside`` names, with their pixel sizes."""
    named = (text.rsplit("=", 1) for text in texts)
    return tuple(SetConfig(folder=folder, mpp=float(mpp)) for folder, mpp in named)
