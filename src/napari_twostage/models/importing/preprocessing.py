"""Steps that a package asks for before its network, put together to one normalisation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from napari_twostage.errors import ModelError
from napari_twostage.models.importing.entries import entries, items, step_name, word
from napari_twostage.models.importing.facts import Normalisation
from napari_twostage.utils.values import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_twostage.models.onnx_models.convention import Standardise


def normalisation_of(image: Mapping[str, Any], *, is_raw: bool) -> Normalisation | None:
    """Steps before a network, put together; None if it is not clear what it takes."""
    steps = [entries(step) for step in items(image.get("preprocessing") or [])]
    steps = [step for step in steps if step_name(step) != "ensure_dtype"]
    if not steps and not is_raw:
        return None
    gain, offset = [1.0] * 3, [0.0] * 3  # from pixel values of 0 to 255
    standardise: Standardise = "no"
    for step in steps:
        name, values = step_name(step), entries(step.get("kwargs") or {})
        if standardise != "no":
            raise ModelError(f"it asks for {shown(name)} of standardised windows")
        if name == "scale_linear":
            factors, added = _triple(values.get("gain", 1)), _triple(values.get("offset", 0))
        elif name in ("fixed_zero_mean_unit_variance", "zero_mean_unit_variance") and (
            "mean" in values
        ):
            factors = [1 / deviation for deviation in _triple(values["std"])]
            means = _triple(values["mean"])
            added = [-mean * factor for mean, factor in zip(means, factors, strict=True)]
        elif name == "zero_mean_unit_variance" and values.get("mode") != "per_dataset":
            standardise = _standardised(values)
            continue
        else:
            raise ModelError(
                f"it asks for {shown(name)} before the network; supported are scale_linear, "
                "fixed_zero_mean_unit_variance, and zero_mean_unit_variance of each window"
            )
        gain = [one * factor for one, factor in zip(gain, factors, strict=True)]
        offset = [
            one * factor + more for one, factor, more in zip(offset, factors, added, strict=True)
        ]
    if min(gain) <= 0 or not all(map(math.isfinite, (*gain, *offset))):
        raise ModelError("it scales pixels by a factor that is not above 0")
    return Normalisation(
        mean=_as_rgb([-one / (255 * factor) for one, factor in zip(offset, gain, strict=True)]),
        std=_as_rgb([1 / (255 * factor) for factor in gain]),
        standardise=standardise,
    )


def _standardised(values: Mapping[str, Any]) -> Standardise:
    axes = values.get("axes") or "cyx"
    names = axes if isinstance(axes, list) else list(word(axes) or "")
    letters = {(word(name) or " ")[0] for name in names}
    if not {"y", "x"} <= letters:
        raise ModelError("it standardises other axes than those of the image")
    return "window" if "c" in letters else "channels"


def _triple(value: object) -> list[float]:
    """Number of each colour; one number is that of all three."""
    numbers = [float(one) for one in value] if isinstance(value, list) else [_number(value)]
    if len(numbers) not in (1, 3):
        raise ModelError(f"it normalises {len(numbers)} channels, expected 1 or 3")
    return numbers * (3 // len(numbers))


def _number(value: object) -> float:
    if not isinstance(value, int | float | str):
        raise TypeError("a number is missing")
    return float(value)


def _as_rgb(numbers: list[float]) -> tuple[float, float, float]:
    red, green, blue = numbers
    return red, green, blue
