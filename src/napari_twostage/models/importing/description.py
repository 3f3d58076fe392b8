"""Descriptions of packages of the BioImage Model Zoo, versions 0.4 and 0.5."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from napari_twostage.errors import ModelError
from napari_twostage.models.importing.entries import entries, items, only, step_name, text, word
from napari_twostage.models.importing.facts import Facts
from napari_twostage.models.importing.preprocessing import normalisation_of
from napari_twostage.utils.values import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSIONS = ("0.4", "0.5")
MICROMETRES = {"micrometer": 1.0, "nanometer": 1e-3, "millimeter": 1e3}
NUMBERED = re.compile(r"(channel|output|class)?[ _]?\d*", re.IGNORECASE)
"""Names of channels that name nothing."""
TO_LOGITS = ("sigmoid", "softmax", "binarize", "ensure_dtype")
"""Steps after a network that are the same for logits: a run does its own."""


def facts_of(description: Mapping[str, Any]) -> Facts:
    """Facts that a description states.

    Raises
    ------
    ModelError
        If it is of another version, or asks for a step that is not supported.
    LookupError, TypeError, ValueError
        If it is no description.
    """
    version = text(description, "format_version") or ""
    if not version.startswith(tuple(f"{one}." for one in VERSIONS)):
        raise ModelError(f"it has version {shown(version)}, expected {' or '.join(VERSIONS)}")
    is_old = version.startswith("0.4.")
    image = only(description["inputs"], "inputs")
    maps = [entries(one) for one in items(description["outputs"])]
    if not maps:
        raise ModelError("it states no output")
    given = maps[0]
    after = [step_name(step) for step in items(given.get("postprocessing") or [])]
    if unknown := [name for name in after if name not in TO_LOGITS]:
        raise ModelError(
            f"it asks for {shown(unknown[0])} after the network, which is not supported"
        )
    reader = _Old if is_old else _New
    least, step_px = reader.sizes(image)
    return Facts(
        name=text(description, "name"),
        version=text(description, "version"),
        description=text(description, "description"),
        licence=text(description, "license"),
        mpp=reader.mpp(image),
        classes=reader.classes(given),
        normalisation=normalisation_of(image, is_raw=reader.is_raw(image)),
        meaning="logits" if {"sigmoid", "softmax"} & set(after) else None,
        output=text(given, "name" if is_old else "id") if len(maps) > 1 else None,
        halo_px=reader.halo(given),
        least_px=least,
        step_px=step_px,
    )


class _Old:
    """Version 0.4: axes are letters, and lists hold an entry for each."""

    @staticmethod
    def sizes(image: Mapping[str, Any]) -> tuple[int | None, int | None]:
        shape = image.get("shape")
        if not isinstance(shape, dict):
            return None, None
        place = (text(image, "axes") or "").index("y")
        return int(shape["min"][place]), int(shape["step"][place])

    @staticmethod
    def mpp(_image: Mapping[str, Any]) -> float | None:
        return None  # this version has no place for it

    @staticmethod
    def classes(_given: Mapping[str, Any]) -> tuple[str, ...] | None:
        return None

    @staticmethod
    def halo(given: Mapping[str, Any]) -> int | None:
        halo = given.get("halo")
        return max(map(int, halo), default=0) if isinstance(halo, list) else None

    @staticmethod
    def is_raw(image: Mapping[str, Any]) -> bool:
        return list(image.get("data_range") or []) in ([], [0, 255])


class _New:
    """Version 0.5: each axis is an entry of its own."""

    @staticmethod
    def sizes(image: Mapping[str, Any]) -> tuple[int | None, int | None]:
        size = _axis(image, "y").get("size")
        if not isinstance(size, dict) or "step" not in size:
            return None, None
        return int(size["min"]), int(size["step"])

    @staticmethod
    def mpp(image: Mapping[str, Any]) -> float | None:
        axis = _axis(image, "y")
        factor = MICROMETRES.get(text(axis, "unit") or "")
        return None if factor is None or "scale" not in axis else float(axis["scale"]) * factor

    @staticmethod
    def classes(given: Mapping[str, Any]) -> tuple[str, ...] | None:
        axes = [entries(axis) for axis in items(given["axes"])]
        names = [
            word(name) or ""
            for axis in axes
            if axis.get("type") == "channel"
            for name in items(axis.get("channel_names") or [])
        ]
        says_something = names and not any(NUMBERED.fullmatch(name) for name in names)
        return tuple(names) if says_something else None

    @staticmethod
    def halo(given: Mapping[str, Any]) -> int | None:
        axes = [entries(axis) for axis in items(given["axes"])]
        return max(
            (int(axis["halo"]) for axis in axes if axis.get("halo") is not None), default=None
        )

    @staticmethod
    def is_raw(image: Mapping[str, Any]) -> bool:
        data = image.get("data") or {}
        stated = entries(data).get("range") if isinstance(data, dict) else None
        return list(stated or []) in ([], [0, 255], [None, None])


def _axis(image: Mapping[str, Any], name: str) -> dict[str, Any]:
    axes = [entries(axis) for axis in items(image["axes"])]
    found = [axis for axis in axes if axis.get("id", axis.get("type")) == name]
    if not found:
        raise ModelError(f"its input has no axis {name}; it is no network for 2-D images")
    return found[0]
