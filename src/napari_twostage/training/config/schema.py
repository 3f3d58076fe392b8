"""Configuration of a run: its networks, stages, loss and card."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from napari_twostage.models.card import (  # noqa: TC001 - read at runtime
    ObjectTarget,
    Uncertainty,
)
from napari_twostage.training.config.image_sections import (
    Augmentation,
    DataConfig,
    TilesConfig,
    WholeImages,
)
from napari_twostage.training.config.sections import ConfigError, read_section, read_toml, require

if TYPE_CHECKING:
    from collections.abc import Sequence

SUPERFLUOUS = {"single": ("stage2", "card"), "joint": ("stage2",)}
"""Sections that a kind of run ignores, so that one file can serve several kinds."""


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Networks of both stages."""

    architecture: str
    ratio: float
    """Fine pixels per side of a stage 1 pixel, 1 or more; an integer if there is a second stage. A
    single model at ratio 1 is the dense one."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    context: bool = False
    """Add stage 1's penultimate features of the whole image to those of stage 2, as in the paper:
    only with `whole_images`, and not in a bundle."""
    transfer: bool = True
    """Start stage 2 as a copy of the trained stage 1, not from `weights`."""
    weights: str = "imagenet"
    """Initial weights: ``imagenet``, ``coco``, a file, ``random``, or ``published`` for those of
    the paper's runs (COCO for FCN and DeepLabV3, else ImageNet)."""
    start: str = ""
    """Model to go on from in place of `weights`: a bundled name, a folder or a zip, whose networks
    are those of this configuration. A single model at ratio 1 takes its stage 2."""
    start_share: float = 0.0
    """Share of the start's weights in the final ones, a weighted mean: it keeps what the start knew
    of other images. The last validation in the log is of the weights before. See Wortsman et al.,
    Robust fine-tuning of zero-shot models, CVPR 2022."""
    options: dict[str, Any] = field(default_factory=dict)
    """Options of the network's class, such as ``backbone``."""
    fine_options: dict[str, Any] | None = None
    """Options of stage 2's network if they differ; it then starts without stage 1's weights."""
    fine_ratio: int = 1
    """Fine pixels per side of a stage 2 pixel, at most `ratio`; its logits are enlarged."""
    refiner: dict[str, Any] | None = None
    """Options of a `LocalRefiner`, trained jointly in place of a second network."""
    objects: ObjectTarget = "none"
    """Target of one more output, which tells touching objects apart; see `datasets.objects`."""

    def __post_init__(self) -> None:
        require(self.ratio >= 1, "ratio must be 1 or more")
        require(self.fine_ratio >= 1, "fine_ratio must be 1 or more")
        require(min(self.std) > 0, "std must be positive")
        require(0 <= self.start_share <= 1, "start_share must be in [0, 1]")
        require(bool(self.start) or not self.start_share, "start_share needs a start")
        differ = self.fine_options is not None
        require(not (differ and self.transfer), "fine_options need transfer = false")


@dataclass(frozen=True, kw_only=True)
class StageConfig:
    """Training schedule of one network."""

    batch: int
    learning_rate: float
    halo_px: int = 0
    """Rim of a crop that is context and not part of the loss, as in the engine's windows."""
    steps: int = 0
    epochs: int = 0
    """Passes over all images, in place of `steps`."""
    crop_px: int = 0
    """Side of a crop in fine pixels; 0 for whole images."""
    optimiser: Literal["adam", "adamw"] = "adamw"
    schedule: Literal["constant", "cosine"] = "cosine"
    """``cosine`` follows a linear warm-up."""
    weight_decay: float = 0.01
    average: float = 0.99
    """Decay per step of the running average of the weights, which the run keeps; 0 keeps the
    last weights."""
    miss_price: float = 1.0
    """Price of a missed foreground pixel in the loss, against that of a false one. Above 1, stage 1
    misses less and outlines more, which stage 2 can correct. The focal part has `alpha` for it."""
    average_last: float = 0.0
    """Share of the steps, the last ones, whose weights are averaged alike; 0: by `average`."""

    def __post_init__(self) -> None:
        require(self.batch >= 1, "batch must be 1 or more")
        require(self.learning_rate > 0, "learning_rate must be positive")
        require((self.steps > 0) != (self.epochs > 0), "give either steps or epochs, positive")
        require(0 <= self.average < 1, "average must be in [0, 1)")
        require(self.miss_price > 0, "miss_price must be positive")
        require(0 <= self.average_last <= 1, "average_last must be in [0, 1]")
        fits = 0 <= 2 * self.halo_px <= self.crop_px
        require(fits, "halo_px must be 0 or more, and leave something of the crop")

    def count_steps(self, images: int) -> int:
        """Steps of the stage for this number of images; the very last batch is filled up."""
        return self.steps or math.ceil(self.epochs * images / self.batch)


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Loss function."""

    name: Literal["cross_entropy_dice", "focal", "focal_dice"] = "cross_entropy_dice"
    alpha: float = 0.25
    """Focal loss: weight of the foreground, against 1 − alpha of the background."""
    gamma: float = 2.0
    """Focal loss: exponent that reduces the weight of confident pixels."""
    objects: float = 1.0
    """Weight of the object output's loss."""


@dataclass(frozen=True, kw_only=True)
class GainConfig:
    """Schedule of stage 1's gain output, which is trained last; see `loop.gain`."""

    steps: int = 300
    learning_rate: float = 0.02

    def __post_init__(self) -> None:
        require(self.steps > 0, "steps must be positive")
        require(self.learning_rate > 0, "learning_rate must be positive")


@dataclass(frozen=True, kw_only=True)
class CardConfig:
    """Stated part of the model's card; the rest is measured, classes come from [data]."""

    name: str
    version: str = "1.0"
    description: str = ""
    licence: str = "not stated"
    training_data: str = ""
    """Empty: the name of the data's folder."""
    fine_mpp: float | None = None
    """None: the mpp of the data."""
    mpp_range: tuple[float, float] | None = None
    """Pixel sizes that are read without resampling; None: around `fine_mpp`, as in training."""
    tile_px: int | None = None
    """None: a training crop of stage 2, less the halo."""
    halo_px: int = 32
    """Context around a tile in fine pixels; whole images are cut without a halo."""
    coarse_window_px: int = 448
    coarse_halo_px: int = 32
    uncertainty: Uncertainty | None = None
    """None: the gain if there is a [gain], else tent."""
    least_object_um2: float = 0.0
    """Area below which objects are not counted."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A training run."""

    kind: Literal["two_stage", "joint", "single"]
    """``joint`` trains both stages together on the schedule of [stage1]; stage 2 is a local
    refiner. ``single`` is stage 1 alone. Both ignore [stage2], and
    ``single`` ignores [card]."""
    seed: int
    data: DataConfig
    network: NetworkConfig
    stage1: StageConfig
    stage2: StageConfig | None = None
    gain: GainConfig | None = None
    """If present, stage 1 learns to predict what refinement corrects, and tiles are ordered by it;
    needs two stages that are trained on crops, and a card."""
    loss: LossConfig = field(default_factory=LossConfig)
    distillation: float = 0.0
    """Share of the loss that compares with a teacher's output, in [0, 1]; crops only."""
    precision: Literal["bf16", "float32"] = "bf16"
    """Precision of activations during training; weights are float32 either way."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    """Used with crops only."""
    whole_images: WholeImages | None = None
    """Train on whole images, as in the paper, in place of crops."""
    tiles: TilesConfig = field(default_factory=TilesConfig)
    """Used with whole images only."""
    card: CardConfig | None = None
    """If present, the run ends with a model bundle; otherwise with weights."""

    def __post_init__(self) -> None:
        ratio = self.network.ratio
        require(0 <= self.distillation <= 1, "distillation must be in [0, 1]")
        crops = self.whole_images is None and self.kind != "joint"
        require(crops or not self.distillation, "distillation needs crops, and no joint training")
        require(
            not (self.distillation and self.data.sets), "distillation needs a single set of images"
        )
        tissue = max(self.augmentation.pale, self.augmentation.tint) > 0
        depth = self.network.objects == "distance"
        require(depth or not tissue, 'pale and tint need network.objects = "distance"')
        objects = self.network.objects != "none"
        require(crops or not objects, "objects need crops, and no joint training")
        listed = [stage for stage in (self.stage1, self.stage2) if stage is not None]
        if self.kind == "two_stage":
            require(self.stage2 is not None, "kind two_stage needs a [stage2]")
            kept = not (self.network.start and self.network.transfer)
            require(kept, "a start needs transfer = false, to keep its stage 2")
        if self.kind == "joint":
            require(self.network.refiner is not None, "kind joint needs a network.refiner")
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
        if self.network.context:
            seen = self.whole_images is not None and self.card is None
            require(seen, "context needs whole_images, and no [card]: nothing sees a whole slide")
        if self.gain is not None:
            self._check_gain()
        if self.card is not None:
            stated = self.card.fine_mpp or self.data.mpp
            require(stated is not None, "[card] needs a fine_mpp, or [data] an mpp")
            held_out = self.data.validation_fraction > 0
            require(held_out, "[card] needs a validation_fraction, to calibrate on")
            last = self.stage2 if self.kind == "two_stage" else None
            if last is not None and self.whole_images is None:
                learnt = self.card.halo_px >= last.halo_px
                require(learnt, "card.halo_px must be stage2.halo_px or more: its rim is unlearnt")

    def _check_gain(self) -> None:
        first, last = self.stage1, self.stage2
        whole = self.kind == "two_stage" and self.whole_images is None and last is not None
        require(
            whole and self.card is not None and self.network.refiner is None,
            "gain needs kind two_stage, crops and a [card], and no refiner",
        )
        if last is not None:
            tile, inner = last.crop_px - 2 * last.halo_px, first.crop_px - 2 * first.halo_px
            fits = first.halo_px >= max(last.halo_px, 2 * self.network.ratio) and inner >= tile
            require(fits, "gain needs crops of stage 1 with a tile and its halo in their middle")
            aligned = first.halo_px % self.network.ratio == 0 and tile % self.network.ratio == 0
            require(aligned, "gain needs a halo of stage 1 and tiles that are multiples of ratio")


def load_config(path: str | Path, changes: Sequence[str] = ()) -> TrainConfig:
    """Read and check a TOML configuration.

    Parameters
    ----------
    path : path
    changes : sequence of str
        Values to use in place of the file's, as ``section.key=value``.

    Raises
    ------
    ConfigError
        If the file is missing or not TOML, or has unknown, missing or invalid values.
    """
    path = Path(path)
    table = read_toml(path)
    for change in changes:
        _change(table, change)
    kind = table.get("kind")
    superfluous = SUPERFLUOUS.get(kind, ()) if isinstance(kind, str) else ()
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
        table[key] = text.strip()  # a string whose quotes the shell has removed
