"""Model card: everything about a model but its weights, as JSON."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

from napari_twostage.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable

FORMAT = 1

Stage = Literal["coarse", "refine"]
"""One of the two networks, by the name of `TwoStage`'s method."""


@dataclass(frozen=True, slots=True)
class LabelClass:
    """Class of the label image; 0 is the background and has no entry."""

    name: str
    color: str
    """``#rrggbb``."""
    value: int
    """Value in the labels, counted from 1."""


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """Identity of a model, settings it must be run with, and measured quality."""

    name: str
    version: str
    description: str
    architecture: dict[str, Any]
    """``name`` and options of stage 1's network, and of stage 2's unless that is stated."""
    fine_architecture: dict[str, Any] | None = None
    """Stage 2's network if it differs: a wider one for the few tiles that are refined."""
    refiner: dict[str, Any] | None = None
    """Options of a `LocalRefiner`, which is stage 2 in place of a second network."""
    classes: tuple[LabelClass, ...]
    fine_mpp: float
    """Micrometres per pixel that stage 2 was trained at."""
    mpp_range: tuple[float, float]
    """Pixel sizes of levels that are used as they are; others are resampled to `fine_mpp`."""
    ratio: int
    """Fine pixels per coarse pixel: a power of two."""
    fine_ratio: int = 1
    """Fine pixels per pixel that stage 2 computes on, whose logits are enlarged bilinearly: a power
    of two. More than 1 if full resolution is not worth its cost."""
    tile_px: int
    """Side of a tile in fine pixels: a multiple of twice the ratio."""
    halo_px: int
    """Width of the context around a tile in fine pixels."""
    coarse_window_px: int
    """Side of a window of the coarse pass in coarse pixels, halo included."""
    coarse_halo_px: int
    context: bool
    """Whether stage 2 adds stage 1's penultimate features."""
    mergeable: bool = False
    """Whether the receptive field fits in the halo, so that chips may be merged."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    """Mean and standard deviation of each channel, in pixel values divided by 255."""
    uncertainty: str = "tent"
    temperature: float = 1.0
    """Divisor of stage 1's logits, calibrated on images held out from training."""
    default_threshold: float
    """Score in [0, 1] above which tiles are refined."""
    refinement_gain: float
    """Share of the expected wrong pixels that refining a tile corrects, measured on the same
    images."""
    training_data: str
    licence: str
    metrics: dict[str, Any] = field(default_factory=dict)
    """Measured quality and cost, and the data they were measured on."""

    @property
    def outputs(self) -> int:
        """Number of channels of the networks' logits."""
        return 1 if len(self.classes) == 1 else len(self.classes) + 1

    @property
    def window_px(self) -> int:
        """Side of stage 2's window of one tile in fine pixels: core and halo."""
        return self.tile_px + 2 * self.halo_px

    @property
    def coarse_core_px(self) -> int:
        """Side of a coarse window without its halo, in coarse pixels."""
        return self.coarse_window_px - 2 * self.coarse_halo_px

    @property
    def coarse_tile_px(self) -> int:
        """Side of a tile in coarse pixels."""
        return self.tile_px // self.ratio

    def __post_init__(self) -> None:
        low, high = self.mpp_range
        # checked in this order: later rules divide by numbers that earlier ones keep from being 0
        rules: dict[str, Callable[[], bool]] = {
            "classes hold at least one class, with values 1, 2, ...": lambda: (
                bool(self.classes)
                and [c.value for c in self.classes] == list(range(1, len(self.classes) + 1))
            ),
            "class colours are #rrggbb": lambda: all(
                re.fullmatch("#[0-9a-fA-F]{6}", c.color) for c in self.classes
            ),
            "ratio is a power of two, 1 or more": lambda: (
                self.ratio > 0 and self.ratio & (self.ratio - 1) == 0
            ),
            "fine_ratio is a power of two from 1 to ratio": lambda: (
                0 < self.fine_ratio <= self.ratio and self.fine_ratio & (self.fine_ratio - 1) == 0
            ),
            "fine_ratio is 1 where there is a refiner": lambda: (
                self.refiner is None or self.fine_ratio == 1
            ),
            "tile_px is a positive multiple of ratio": lambda: (
                self.tile_px > 0 and self.tile_px % self.ratio == 0
            ),
            "halo_px is 0 or a positive multiple of ratio": lambda: (
                self.halo_px >= 0 and self.halo_px % self.ratio == 0
            ),
            "coarse_window_px - 2 coarse_halo_px is a multiple of tile_px / ratio": lambda: (
                self.coarse_core_px > 0 and self.coarse_core_px % self.coarse_tile_px == 0
            ),
            "mpp_range holds fine_mpp": lambda: 0 < low <= self.fine_mpp <= high,
            "temperature is positive": lambda: self.temperature > 0,
            "refinement_gain is in [0, 1]": lambda: 0 <= self.refinement_gain <= 1,
        }
        for rule, holds in rules.items():
            if not holds():
                raise ModelError(f"card of model '{self.name}': {rule}; found {self._found(rule)}")

    def _found(self, rule: str) -> str:
        named = [entry.name for entry in fields(self) if entry.name in rule.split()]
        return ", ".join(f"{name} = {getattr(self, name)}" for name in named) or "otherwise"

    def to_json(self) -> str:
        """Write the card as text that `from_json` reads."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, source: str) -> ModelCard:
        """Read a card.

        Parameters
        ----------
        text : str
            Output of `to_json`.
        source : str
            Name of the origin, for error messages.

        Raises
        ------
        ModelError
            If it is not JSON, has a newer format, lacks a field or has one too many.
        """
        try:
            values = json.loads(text)
            if values.pop("format") != FORMAT:
                raise ModelError(f"{source} has a newer card format; update napari-twostage")
            values["classes"] = tuple(LabelClass(**entry) for entry in values["classes"])
            for name in ("mpp_range", "mean", "std"):
                values[name] = tuple(values[name])
            return cls(**values)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ModelError(f"{source} is no usable model card: {error!r}") from error


def halo_px(card: ModelCard, stage: Stage) -> int:
    """Pixels at each side of a stage's window that are context and get no logits."""
    return card.coarse_halo_px if stage == "coarse" else card.halo_px


def window_px(card: ModelCard, stage: Stage) -> int:
    """Side of a stage's windows, halo included, in the pixels that they are read at."""
    return card.coarse_window_px if stage == "coarse" else card.window_px
