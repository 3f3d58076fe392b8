"""Model card: everything about a model but its weights, as JSON."""

from __future__ import annotations

import json
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

from napari_twostage.errors import ModelError, one_line
from napari_twostage.models.card_rules import check_card
from napari_twostage.models.training_domain import TrainingDomain
from napari_twostage.utils.values import shown

if TYPE_CHECKING:
    from napari_twostage.geometry import Scale

Part = TypeVar("Part")

FORMAT = 1
ONNX = "onnx"
"""Name of the architecture of networks that come as an ONNX file."""
LONGEST_CARD = 1 << 20
"""Bytes of a card's text."""
REDUCED = 4.0
"""Factor by which slides are reduced for a model without a warning."""

Uncertainty = Literal["tent", "entropy", "neg_plogp", "gain"]
"""Name of a measure in `method.uncertainty.MEASURES`, or ``gain``: stage 1's own output of it."""
ObjectTarget = Literal["none", "distance", "boundary"]
"""Meaning of the networks' object output: there is none; how deep inside its object a pixel lies,
from 0 at the edge to 1 in the middle; or how likely it lies on the object's edge."""
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

    def __post_init__(self) -> None:
        kinds = [type(one) for one in (self.name, self.color, self.value)]
        if kinds != [str, str, int]:
            raise ModelError(
                f"a class has a name, a color and a whole value, found {shown(asdict(self))}; "
                "correct the card"
            )


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """Identity of a model, settings it must be run with, and measured quality.

    Raises
    ------
    ModelError
        If a field is of another type, or breaks one of `card_rules.RULES`.
    """

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
    context: bool = False
    """Whether stage 2 adds stage 1's features of its own window: earlier models did. Their results
    are read; they are not run."""
    objects: ObjectTarget = "none"
    """Meaning of one more output of the networks, which tells touching objects apart."""
    gain_output: bool = False
    """Whether stage 1 has one more output, the last: the logit of the probability that refinement
    corrects a pixel."""
    mergeable: bool = False
    """Whether the receptive field fits in the halo, so that chips may be merged."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    """Mean and standard deviation of each channel, in pixel values divided by 255."""
    uncertainty: Uncertainty = "tent"
    temperature: float = 1.0
    """Divisor of stage 1's logits, calibrated on images held out from training."""
    default_threshold: float
    """Score in [0, 1] above which tiles are refined."""
    refinement_gain: float
    """Share of the expected wrong pixels that refining a tile corrects, measured on the same
    images."""
    least_object_um2: float = 0.0
    """Smallest area of an object in square micrometres; smaller regions are left out where objects
    are counted, measured or exported, and smaller holes are filled."""
    training_data: str
    licence: str
    precision_loss: dict[str, float] = field(default_factory=dict)
    """Points of Dice, of 100, that lower precisions lose against f32, measured on images held out
    from training; less than 0 if they gain. Those that lose next to nothing are chosen unasked."""
    metrics: dict[str, Any] = field(default_factory=dict)
    """Measured quality and cost, and the data they were measured on."""
    domain: TrainingDomain | None = None
    """Features of the training images, with which slides are compared; None if not measured."""

    @property
    def outputs(self) -> int:
        """Number of channels of the networks' logits."""
        return 1 if len(self.classes) == 1 else len(self.classes) + 1

    @property
    def channels(self) -> int:
        """Number of channels that stage 2 gives: its logits, and the object output."""
        return self.outputs + (self.objects != "none")

    @property
    def coarse_channels(self) -> int:
        """Number of channels that stage 1 gives: those of stage 2, and the gain."""
        return self.channels + self.gain_output

    @property
    def measures(self) -> tuple[str, ...]:
        """Uncertainty measures that the model's results can be made with."""
        return tuple(name for name in get_args(Uncertainty) if name != "gain" or self.gain_output)

    @property
    def is_onnx(self) -> bool:
        """Whether the network is an ONNX file, trained by others, in place of one of ours."""
        return bool(self.architecture.get("name") == ONNX)

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
        check_card(self)

    def unfit_for(self, mpp: Scale) -> str:
        """Reason why measured quality says nothing about a slide; empty if there is none.

        Parameters
        ----------
        mpp : (float, float)
            Micrometres per pixel (y, x) of the slide's level 0. Smaller pixels are averaged, as in
            training, up to `REDUCED` times; larger ones lack the detail.
        """
        if max(mpp) > self.mpp_range[1]:
            return f"pixels of {max(mpp):.3g} µm are larger than the model's, {self._range}"
        if self.fine_mpp > REDUCED * min(mpp):
            return f"pixels of {min(mpp):.3g} µm are far smaller than the model's, {self._range}"
        return ""

    @property
    def _range(self) -> str:
        return f"{self.mpp_range[0]:.3g} to {self.mpp_range[1]:.3g} µm"

    def to_json(self) -> str:
        """Write the card as text that `from_json` reads."""
        values = asdict(self)
        if not self.least_object_um2:  # as cards were before they could state one
            del values["least_object_um2"]
        if self.objects == "none":
            del values["objects"]
        if not self.gain_output:
            del values["gain_output"]
        if not self.precision_loss:
            del values["precision_loss"]
        del values["domain"]
        if self.domain is not None:
            values["domain"] = self.domain.as_dict()
        return json.dumps({"format": FORMAT, **values}, indent=2) + "\n"

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
            If it is not JSON or too long, has a newer format, lacks a field or has one too many,
            or breaks a rule.
        """
        try:
            values = _of_this_format(text)
            values["classes"] = tuple(_made(LabelClass, entry) for entry in values["classes"])
            for name in ("mpp_range", "mean", "std"):
                values[name] = tuple(values[name])
            if values.get("domain") is not None:
                values["domain"] = TrainingDomain.from_dict(values["domain"])
            return _made(cls, values)
        except ModelError as error:
            raise ModelError(f"{source}: {error}") from error
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ModelError(
                f"{source} is no usable model card: {one_line(error)[:200]}; get the model again"
            ) from error


def _of_this_format(text: str) -> dict[str, Any]:
    """Values of a card's text, without the format."""
    if len(text) > LONGEST_CARD:
        raise ModelError(
            f"a card is at most {LONGEST_CARD} characters, found {len(text)}; get the model again"
        )
    values: dict[str, Any] = json.loads(text)
    if (found := values.pop("format")) != FORMAT:
        raise ModelError(f"has format {shown(found)}, not {FORMAT}; update napari-twostage")
    return values


def _made(kind: type[Part], values: dict[str, Any]) -> Part:
    """Make a card or a class of it from all of its fields and nothing else."""
    known = {entry.name: entry for entry in fields(kind)}  # type: ignore[arg-type]  # a dataclass
    needed = [name for name, entry in known.items() if not _has_default(entry)]
    if unknown := values.keys() - known.keys():
        raise ModelError(f"{shown(min(unknown))} is no field of a card; update napari-twostage")
    if missing := set(needed) - values.keys():
        raise ModelError(f"{' and '.join(sorted(missing))} must be stated; get the model again")
    return kind(**values)


def _has_default(entry: Field[Any]) -> bool:
    return entry.default is not MISSING or entry.default_factory is not MISSING


def channels(card: ModelCard, stage: Stage) -> int:
    """Number of channels that a stage gives."""
    return card.coarse_channels if stage == "coarse" else card.channels


def halo_px(card: ModelCard, stage: Stage) -> int:
    """Pixels at each side of a stage's window that are context and get no logits."""
    return card.coarse_halo_px if stage == "coarse" else card.halo_px


def window_px(card: ModelCard, stage: Stage) -> int:
    """Side of a stage's windows, halo included, in the pixels that they are read at."""
    return card.coarse_window_px if stage == "coarse" else card.window_px
