"""Rules that every model card keeps, so that nobody who runs a model need trust its maker.

All are checked before anything is allocated: what a card may ask for in memory is bounded.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Any, get_type_hints

from napari_twostage.errors import ModelError
from napari_twostage.io.file_names import safe_name
from napari_twostage.utils.values import fits, shown, words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Card = Any
"""A `card.ModelCard`, whose module imports this one."""
LONGEST_NAME = 64
"""Characters of names and versions: a result's folder is called after its slide and model."""
LONGEST_FOUND = 120
"""Characters of what was found, in a message."""
LONGEST_TEXT = 10_000
"""Characters of descriptions."""
MOST_CLASSES = 254
"""Labels are 8-bit; 0 is the background, 255 no label."""
MOST_CHANNELS = 4096
"""Largest number in an architecture."""
MOST_ENTRIES = 10_000
"""Entries of architectures and metrics, nested ones included."""
DEEPEST = 8
"""Levels of nested entries."""
WINDOW_PX = 1024
"""Largest side of a window: torch takes 0.4 GiB for one of the bundled model's."""
WINDOW_VALUES = 1 << 24
"""Logits of one window, all classes together."""
WINDOW_FINE_PX = 1 << 14
"""Largest side of a coarse window in fine pixels: its labels are a file of the result."""
TILE_PX = 8
"""Smallest side of a tile: each has entries in several tables."""
MPP = (0.02, 20.0)
MPP_RANGE = (0.01, 40.0)
LEAST_OBJECT_UM2 = 1e6
"""Largest area below which objects may be left out: a square millimetre."""
LOWER_PRECISIONS = ("bf16", "fp16", "int8")
"""Precisions whose loss a card may state."""


def check_card(card: Card) -> None:
    """Refuse a card that breaks a rule.

    Raises
    ------
    ModelError
        With the rule, and what was found.
    """
    hints = get_type_hints(type(card))
    for name, hint in hints.items():
        value = getattr(card, name)
        if not fits(value, hint):
            raise _error(card, f"{name} is {words(hint)}", f"{name} = {shown(value)}")
    for rule, holds in RULES.items():
        if not holds(card):
            named = [name for name in hints if name in re.split(r"\W+", rule)]
            found = ", ".join(f"{name} = {shown(getattr(card, name))}" for name in named)
            raise _error(card, rule, found or "otherwise")


def _error(card: Card, rule: str, found: str) -> ModelError:
    return ModelError(
        f"card of model {shown(card.name)}: {rule}; found {found[:LONGEST_FOUND]}; "
        "correct the card, or get the model again"
    )


def _is_name(text: str) -> bool:
    """Whether a text can be part of a file's name, on every system, and shows all it holds."""
    plain = 0 < len(text) <= LONGEST_NAME and text.isprintable() and text == text.strip()
    return plain and not text.startswith(".") and safe_name(text) == text


def _is_label(text: str) -> bool:
    """Whether a text can name a class; QuPath writes colons in names of classes."""
    plain = 0 < len(text) <= LONGEST_NAME and text.isprintable() and text == text.strip()
    return plain and not text.startswith(".") and not set(text) & set("/\\")


def _is_text(text: str) -> bool:
    """Whether a text has only characters that a terminal or a table can show."""
    kinds = {unicodedata.category(one) for one in set(text[: LONGEST_TEXT + 1]) - {"\n", "\t"}}
    return len(text) <= LONGEST_TEXT and kinds.isdisjoint({"Cc", "Cs"})


def _are_entries(value: object, largest: float) -> bool:
    """Whether nested entries are plain, few and finite; JSON holds them then."""
    level, seen = [value], 0
    for _ in range(DEEPEST):
        seen += len(level)
        if seen > MOST_ENTRIES or not all(_is_entry(one, largest) for one in level):
            return False
        level = [inner for one in level for inner in _inside(one)]
        if not level:
            return True
    return False


def _inside(value: object) -> Iterable[Any]:
    if isinstance(value, dict):
        return (*value, *value.values())
    return value if isinstance(value, list | tuple) else ()


def _is_entry(value: object, largest: float) -> bool:
    if isinstance(value, str):
        return _is_text(value)
    if isinstance(value, int | float):
        return abs(value) <= largest
    return value is None or isinstance(value, dict | list | tuple)


def _are_networks(card: Card) -> bool:
    stated = card.architecture, card.fine_architecture or {}, card.refiner or {}
    return all(
        _are_entries(one, MOST_CHANNELS) and isinstance(one.get("name", ""), str) for one in stated
    )


def _window_values(card: Card) -> int:
    return int(card.coarse_channels * max(card.window_px, card.coarse_window_px) ** 2)


def _is_power_of_two(number: int) -> bool:
    return number > 0 and number & (number - 1) == 0


RULES: dict[str, Callable[[Card], bool]] = {
    # checked in this order: later rules divide by numbers that earlier ones keep from being 0
    f"name is 1 to {LONGEST_NAME} characters that a file name may hold, without a leading dot": (
        lambda card: _is_name(card.name)
    ),
    f"version is 1 to {LONGEST_NAME} characters that a file name may hold": (
        lambda card: _is_name(card.version)
    ),
    f"description, training_data and licence are at most {LONGEST_TEXT} characters, "
    "none a control character": lambda card: all(
        map(_is_text, (card.description, card.training_data, card.licence))
    ),
    f"classes hold 1 to {MOST_CLASSES} classes, with values 1, 2, ...": lambda card: (
        len(card.classes) in range(1, MOST_CLASSES + 1)
        and [c.value for c in card.classes] == list(range(1, len(card.classes) + 1))
    ),
    f"names of classes are 1 to {LONGEST_NAME} characters, no slash, no control character, no "
    "leading dot": lambda card: all(_is_label(c.name) for c in card.classes),
    "names of classes differ": lambda card: (
        len({c.name for c in card.classes}) == len(card.classes)
    ),
    "class colours are #rrggbb": lambda card: all(
        re.fullmatch("#[0-9a-fA-F]{6}", c.color) for c in card.classes
    ),
    f"architecture, fine_architecture and refiner hold text and numbers up to {MOST_CHANNELS}": (
        _are_networks
    ),
    "architecture and fine_architecture state no weights: a model brings its own": lambda card: (
        "weights" not in {*card.architecture, *(card.fine_architecture or {})}
    ),
    "ratio is a power of two, 1 to 64": lambda card: (
        _is_power_of_two(card.ratio) and card.ratio <= 64
    ),
    "fine_ratio is a power of two from 1 to ratio": lambda card: (
        _is_power_of_two(card.fine_ratio) and card.fine_ratio <= card.ratio
    ),
    "fine_ratio is 1 where there is a refiner": lambda card: (
        card.refiner is None or card.fine_ratio == 1
    ),
    f"tile_px is a multiple of ratio, {TILE_PX} or more": lambda card: (
        card.tile_px >= TILE_PX and card.tile_px % card.ratio == 0
    ),
    "halo_px is 0 or a positive multiple of ratio": lambda card: (
        card.halo_px >= 0 and card.halo_px % card.ratio == 0
    ),
    f"tile_px + 2 halo_px is at most {WINDOW_PX}": lambda card: card.window_px <= WINDOW_PX,
    f"coarse_window_px is at most {WINDOW_PX}, and {WINDOW_FINE_PX} / ratio": lambda card: (
        card.coarse_window_px <= min(WINDOW_PX, WINDOW_FINE_PX // card.ratio)
    ),
    "coarse_halo_px is 0 or more": lambda card: card.coarse_halo_px >= 0,
    "coarse_window_px - 2 coarse_halo_px is a multiple of tile_px / ratio": lambda card: (
        card.coarse_core_px > 0 and card.coarse_core_px % card.coarse_tile_px == 0
    ),
    f"a window of tile_px + 2 halo_px or coarse_window_px has at most {WINDOW_VALUES} logits of "
    "all classes": lambda card: _window_values(card) <= WINDOW_VALUES,
    f"fine_mpp is {MPP[0]} to {MPP[1]:g} micrometres per pixel": lambda card: (
        MPP[0] <= card.fine_mpp <= MPP[1]
    ),
    f"mpp_range holds fine_mpp, within {MPP_RANGE[0]} to {MPP_RANGE[1]:g}": lambda card: (
        MPP_RANGE[0] <= card.mpp_range[0] <= card.fine_mpp <= card.mpp_range[1] <= MPP_RANGE[1]
    ),
    "mean is within -10 to 10": lambda card: all(-10 <= one <= 10 for one in card.mean),
    "std is 0.001 to 10": lambda card: all(0.001 <= one <= 10 for one in card.std),
    "uncertainty is gain only where gain_output is true": lambda card: (
        card.uncertainty != "gain" or card.gain_output
    ),
    "gain_output is false where there is a refiner, or an ONNX architecture": lambda card: (
        not card.gain_output or (card.refiner is None and not card.is_onnx)
    ),
    "temperature is 0.01 to 100": lambda card: 0.01 <= card.temperature <= 100,
    "default_threshold is in [0, 1]": lambda card: 0 <= card.default_threshold <= 1,
    "refinement_gain is in [0, 1]": lambda card: 0 <= card.refinement_gain <= 1,
    f"least_object_um2 is 0 to {LEAST_OBJECT_UM2:g} square micrometres": lambda card: (
        0 <= card.least_object_um2 <= LEAST_OBJECT_UM2
    ),
    f"precision_loss has points of Dice, -100 to 100, of {', '.join(LOWER_PRECISIONS)}": (
        lambda card: (
            card.precision_loss.keys() <= set(LOWER_PRECISIONS)
            and all(fits(one, float) and abs(one) <= 100 for one in card.precision_loss.values())
        )
    ),
    f"metrics are at most {MOST_ENTRIES} texts and finite numbers, {DEEPEST} levels deep": (
        lambda card: _are_entries(card.metrics, 1e300)
    ),
}
"""Check of each rule, by the rule in words; a rule names the fields that its message shows."""
