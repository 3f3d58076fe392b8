"""One TOML file, one frozen value: what a training run does."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from napari_twostage.training.augment import Augmentation
from napari_twostage.training.sections import ConfigError, read_section, read_toml, require
from napari_twostage.training.whole import WholeImages  # noqa: TC001 (its fields are read from here)

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "CardConfig",
    "ClassConfig",
    "ConfigError",
    "DataConfig",
    "LossConfig",
    "NetworkConfig",
    "StageConfig",
    "TilesConfig",
    "TrainConfig",
    "load_config",
]


SUPERFLUOUS = {"single": ("stage2", "card"), "joint": ("stage2",)}
"""Sections that a kind of run ignores, so that one file serves several kinds."""


@dataclass(frozen=True, kw_only=True)
class ClassConfig:
    """A class that is told from the background; its value in the masks is its place in the list."""

    name: str
    color: str = ""
    """``#rrggbb``, in the viewer and in masks that are painted; empty: the card gets one."""

    @property
    def text(self) -> str:
        """As `napari_twostage.training.datasets.load_dataset` takes it."""
        return f"{self.name}={self.color}" if self.color else self.name


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which images, and how often."""

    layout: str = "manifest"
    """How the folder is laid out: a name that `datasets.load_dataset` knows."""
    split: str = "train"
    seed: int = 0
    """Of the split, where the layout comes without one."""
    folds: int = 0
    """Parts that the split is dealt into by `seed`, groups kept together; 0 for none."""
    fold: int = 0
    """The one that is left out of training altogether."""
    limit: int = 0
    """How many images of the split to use, drawn by `seed`; 0 for all."""
    validation_fraction: float = 0.15
    """Share of the split that is held out, to be looked at and never trained on."""
    bright_field_weight: float = 1.0
    """How many times as often bright-field images are drawn; of crops only."""
    classes: tuple[ClassConfig, ...] = ()
    """None: one foreground, as the layout defines it."""
    mpp: float | None = None
    """Micrometres per pixel at which slides are read."""

    def __post_init__(self) -> None:
        require(0 <= self.validation_fraction < 1, "validation_fraction must be in [0, 1)")
        require(self.folds == 0 or self.folds >= 2, "folds must be 0 for none, or 2 and more")
        require(0 <= self.fold < max(1, self.folds), "fold must be one of the folds, from 0")
        require(self.limit >= 0, "limit must be 0 for all images, or their number")
        require(self.mpp is None or self.mpp > 0, "mpp must be positive")

    @property
    def outputs(self) -> int:
        """Logits per pixel: one for a single class, else one a class and the background's."""
        return 1 if len(self.classes) <= 1 else len(self.classes) + 1


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """What is trained."""

    architecture: str
    ratio: float
    """Fine pixels per pixel that stage 1 sees, a whole number where there is a second stage; a
    single model at ratio 1 is the dense one."""
    context: bool
    """Whether stage 2 adds Model 1's penultimate features to its own."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    transfer: bool = True
    """Whether Model 2 starts as a copy of the trained Model 1, not from `weights` itself."""
    weights: str = "imagenet"
    """What networks start from: ``imagenet``, ``coco``, a file, ``published`` for what the paper's
    runs started from (COCO for FCN and DeepLabV3, else ImageNet), or ``random``."""
    options: dict[str, Any] = field(default_factory=dict)
    """Of the network's class, such as ``backbone``."""
    fine_options: dict[str, Any] | None = None
    """Of stage 2's network, where they differ; it then takes over no weights of stage 1."""
    fine_ratio: int = 1
    """Fine pixels per pixel that stage 2 sees, at most `ratio`; its logits are enlarged."""
    refiner: dict[str, Any] | None = None
    """Options of the `LocalRefiner` that is trained jointly in a second network's place."""

    def __post_init__(self) -> None:
        require(self.ratio >= 1, "ratio must be 1 or more")
        require(self.fine_ratio >= 1, "fine_ratio must be 1 or more")
        require(min(self.std) > 0, "std must be positive")
        differ = self.fine_options is not None
        require(not (differ and self.transfer), "fine_options need transfer = false")


@dataclass(frozen=True, kw_only=True)
class StageConfig:
    """How one network is trained."""

    batch: int
    learning_rate: float
    steps: int = 0
    epochs: int = 0
    """In place of steps: how often each image is seen."""
    crop_px: int = 0
    """Side of a crop in fine pixels, where crops are trained on."""
    optimiser: Literal["adam", "adamw"] = "adamw"
    schedule: Literal["constant", "cosine"] = "cosine"
    """A cosine comes after a warm-up."""
    weight_decay: float = 0.01
    average: float = 0.99
    """Decay per step of the running average of the weights, which is what is kept; 0 keeps the
    last weights."""

    def __post_init__(self) -> None:
        require(self.batch >= 1, "batch must be 1 or more")
        require(self.learning_rate > 0, "learning_rate must be positive")
        require((self.steps > 0) != (self.epochs > 0), "give either steps or epochs, positive")
        require(0 <= self.average < 1, "average must be in [0, 1)")

    def count_steps(self, images: int) -> int:
        """Steps that the stage takes over so many images; the last batch of all is filled up."""
        return self.steps or math.ceil(self.epochs * images / self.batch)


@dataclass(frozen=True, kw_only=True)
class TilesConfig:
    """Which tiles of a whole image stage 2 is trained on."""

    selection: Literal["random", "weighted", "highest"] = "weighted"
    count: int = 1
    """Tiles per image and step."""
    uncertainty: Literal["tent", "entropy", "neg_plogp"] = "tent"

    def __post_init__(self) -> None:
        require(self.count >= 1, "count must be 1 or more")


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """What is minimised."""

    name: Literal["cross_entropy_dice", "focal", "focal_dice"] = "cross_entropy_dice"
    alpha: float = 0.25
    """Focal loss: weight of the foreground, against 1 − alpha of the background."""
    gamma: float = 2.0
    """Focal loss: how much less sure pixels count."""


@dataclass(frozen=True, kw_only=True)
class CardConfig:
    """What the model's card states beside what is measured; classes come from the data."""

    name: str
    version: str = "1.0"
    description: str = ""
    licence: str = "not stated"
    training_data: str = ""
    """Empty: the name of the data's folder."""
    fine_mpp: float | None = None
    """None: the mpp of the data."""
    mpp_range: tuple[float, float] | None = None
    """None: what slides are read as they are for, while training at `fine_mpp`."""
    tile_px: int | None = None
    """None: a crop of stage 2's training, less the halo."""
    halo_px: int = 32
    """Context round a tile in fine pixels; whole images are cut without."""
    coarse_window_px: int = 448
    coarse_halo_px: int = 32
    uncertainty: Literal["tent", "entropy", "neg_plogp"] = "tent"


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A training run."""

    kind: Literal["two_stage", "joint", "single"]
    """Joint: both stages are trained together, as [stage1] says; stage 2 is a local refiner or a
    network with context. A single model is stage 1 alone. Both leave [stage2] out, a single model
    [card] as well."""
    seed: int
    data: DataConfig
    network: NetworkConfig
    stage1: StageConfig
    stage2: StageConfig | None = None
    loss: LossConfig = field(default_factory=LossConfig)
    distillation: float = 0.0
    """How much of the loss compares with a teacher's answers, in [0, 1]; of crops only."""
    precision: Literal["bf16", "float32"] = "bf16"
    """Of activations while training; weights are float32 either way."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    """Of crops."""
    whole_images: WholeImages | None = None
    """Train on whole images, as the paper does, in place of crops."""
    tiles: TilesConfig = field(default_factory=TilesConfig)
    """Of whole images."""
    card: CardConfig | None = None
    """With it, the run ends in a bundle; without it, in weights."""

    def __post_init__(self) -> None:
        ratio = self.network.ratio
        require(0 <= self.distillation <= 1, "distillation must be in [0, 1]")
        crops = self.whole_images is None and self.kind != "joint"
        require(crops or not self.distillation, "distillation needs crops, and no joint training")
        listed = [stage for stage in (self.stage1, self.stage2) if stage is not None]
        if self.kind == "two_stage":
            require(self.stage2 is not None, "kind two_stage needs a [stage2]")
        if self.kind == "joint":
            together = self.network.refiner is not None or self.network.context
            require(together, "kind joint needs a network.refiner, or context = true")
            require(self.whole_images is None, "kind joint is trained on crops")
        if self.kind != "single":
            require(ratio == int(ratio), "ratio must be a whole number where there are two stages")
            require(ratio % self.network.fine_ratio == 0, "ratio must be a multiple of fine_ratio")
        if self.whole_images is None:
            for stage in listed:
                require(stage.crop_px > 0, "crops need a crop_px in each stage, or a size_px")
                require(stage.epochs == 0, "crops are counted in steps, not in epochs")
                fits = ratio != int(ratio) or stage.crop_px % ratio == 0
                require(fits, "crop_px must be a multiple of ratio")
        else:
            unit = ratio**2 if self.kind == "two_stage" else ratio
            fits = self.whole_images.size_px % unit == 0
            require(fits, f"size_px must be a multiple of {unit}, to part into tiles")
            require(self.network.fine_ratio == 1, "whole images need a fine_ratio of 1")
            require(self.tiles.count <= ratio**2, f"an image has only {ratio**2} tiles")
        if self.card is not None:
            stated = self.card.fine_mpp or self.data.mpp
            require(stated is not None, "[card] needs a fine_mpp, or [data] an mpp")
            held_out = self.data.validation_fraction > 0
            require(held_out, "[card] needs a validation_fraction, to calibrate on")


def load_config(path: str | Path, changes: Sequence[str] = ()) -> TrainConfig:
    """Read and check a TOML configuration.

    Parameters
    ----------
    path : path
        The file.
    changes : sequence of str
        Values to use in place of the file's, as ``section.key=value``.

    Raises
    ------
    ConfigError
        If the file is missing, no TOML, or has unknown, missing or impossible values.
    """
    path = Path(path)
    table = read_toml(path)
    for change in changes:
        _change(table, change)
    superfluous = SUPERFLUOUS.get(str(table.get("kind")), ())
    table = {key: value for key, value in table.items() if key not in superfluous}
    return read_section(TrainConfig, table, str(path))


def _change(table: dict[str, Any], change: str) -> None:
    keys, separator, text = change.partition("=")
    if not separator:
        raise ConfigError(f"expected section.key=value, found '{change}'; write it with a =")
    *sections, key = keys.strip().split(".")
    for section in sections:
        table = table.setdefault(section, {})
    try:
        table[key] = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        table[key] = text.strip()  # a word, which a shell has stripped of its quotes
