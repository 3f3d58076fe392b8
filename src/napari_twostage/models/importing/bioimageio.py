"""Packages of the BioImage Model Zoo, versions 0.4 and 0.5: their ONNX network and its facts.

Only ``rdf.yaml`` and the ONNX file are read. Nothing is downloaded, and no code of a package runs.
"""

from __future__ import annotations

import hashlib
import math
import re
import zipfile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from napari_twostage.errors import ModelError, one_line
from napari_twostage.models.bundle import DESCRIPTIONS, LARGEST_NETWORK, LONGEST_DESCRIPTION
from napari_twostage.models.bundle_files import read_folder, read_zip
from napari_twostage.models.importing.facts import Facts, Normalisation
from napari_twostage.utils.values import shown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from napari_twostage.models.onnx_models.convention import Standardise

VERSIONS = ("0.4", "0.5")
DEEPEST = 40
"""Levels of brackets in a description; YAML's reader calls itself for each."""
MICROMETRES = {"micrometer": 1.0, "nanometer": 1e-3, "millimeter": 1e3}
NUMBERED = re.compile(r"(channel|output|class)?[ _]?\d*", re.IGNORECASE)
"""Names of channels that name nothing."""
UNREADABLE = (yaml.YAMLError, ArithmeticError, LookupError, RecursionError, TypeError, ValueError)
TO_LOGITS = ("sigmoid", "softmax", "binarize", "ensure_dtype")
"""Steps after a network that are the same for logits: a run does its own."""


class Package(NamedTuple):
    """ONNX network of a package, and the facts that the package states."""

    network: bytes
    facts: Facts


def read_package(path: Path) -> Package:
    """Read a package.

    Parameters
    ----------
    path : Path
        Folder or zip.

    Raises
    ------
    ModelError
        If it is none, is damaged, has no ONNX network, or asks for a step that is not supported.
    """
    described = _read(path, dict.fromkeys(DESCRIPTIONS, LONGEST_DESCRIPTION))
    if not described:
        raise ModelError(
            f"{path} holds no {' or '.join(DESCRIPTIONS)}; give an ONNX file, or a package of the "
            "BioImage Model Zoo"
        )
    try:
        text = next(described[name] for name in DESCRIPTIONS if name in described)
        description = _entries(yaml.load(_plain(text), Loader=_Loader))  # noqa: S506 - a safe one
        facts = _facts(description)
        weights = _entries(_entries(description["weights"]).get("onnx") or {})
        network = _network(path, weights)
    except ModelError as error:
        raise ModelError(f"{path} is no usable package: {error}") from error
    except UNREADABLE as error:
        raise ModelError(
            f"{path}: its description is unreadable ({one_line(error)[:150]}); get the package "
            "again"
        ) from error
    return Package(network, facts)


def _read(path: Path, limits: Mapping[str, int]) -> dict[str, bytes]:
    if path.is_dir():
        return read_folder(path, limits)
    if not zipfile.is_zipfile(path):
        raise ModelError(
            f"{path} is neither an ONNX file, nor a folder or zip of the BioImage Model Zoo; "
            "export the network as ONNX"
        )
    return read_zip(path, limits)


def _network(path: Path, weights: Mapping[str, Any]) -> bytes:
    """ONNX file of a package."""
    if not weights:
        raise ModelError("it has no ONNX weights; look for a version that has, or export it")
    source = str(weights["source"])
    if weights.get("external_data"):
        raise ModelError("its weights are in another file than its graph; put them into one")
    if source != PurePosixPath(source).name or re.search(r"[\\:\x00]", source) or source == "..":
        raise ModelError(
            f"its weights are at {shown(source)}, outside of it; download the whole package"
        )
    files = _read(path, {source: LARGEST_NETWORK})
    if source not in files:
        raise ModelError(f"it holds no {shown(source)}; get the package again")
    stated = str(weights.get("sha256") or "")
    if stated and stated.lower() != hashlib.sha256(files[source]).hexdigest():
        raise ModelError(f"{shown(source)} is not the file that it describes; get it again")
    return files[source]


class _Loader(yaml.SafeLoader):
    """Loader of plain values, which makes no object, and copies nothing."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Refuse merged entries: a few lines of them can fill the memory."""
        if any(key.tag == "tag:yaml.org,2002:merge" for key, _ in node.value):
            raise ModelError("its description merges entries; write them out")
        super().flatten_mapping(node)


def _plain(content: bytes) -> str:
    text = content.decode()
    level = deepest = 0
    for sign in text:
        level += (sign in "[{") - (sign in "]}")
        deepest = max(deepest, level)
    if deepest > DEEPEST:
        raise ModelError("its description is nested too deeply")
    return text


def _facts(description: Mapping[str, Any]) -> Facts:
    version = str(description.get("format_version", ""))
    if not version.startswith(tuple(f"{one}." for one in VERSIONS)):
        raise ModelError(f"it has version {shown(version)}, expected {' or '.join(VERSIONS)}")
    is_old = version.startswith("0.4.")
    image = _only(description["inputs"], "inputs")
    maps = [_entries(one) for one in _items(description["outputs"])]
    if not maps:
        raise ModelError("it states no output")
    given, channels = maps[0], []
    for step in _items(given.get("postprocessing") or []):
        if _step_name(step) not in TO_LOGITS:
            raise ModelError(
                f"it asks for {shown(_step_name(step))} after the network, which is not supported"
            )
        channels.append(_step_name(step))
    reader = _Old if is_old else _New
    least, step_px = reader.sizes(image)
    return Facts(
        name=_text(description, "name"),
        version=_text(description, "version"),
        description=_text(description, "description"),
        licence=_text(description, "license"),
        mpp=reader.mpp(image),
        classes=reader.classes(given),
        normalisation=_normalisation(image, is_raw=reader.is_raw(image)),
        meaning="logits" if {"sigmoid", "softmax"} & set(channels) else None,
        output=_text(given, "name" if is_old else "id") if len(maps) > 1 else None,
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
        place = str(image["axes"]).index("y")
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
        factor = MICROMETRES.get(str(axis.get("unit")))
        return None if factor is None or "scale" not in axis else float(axis["scale"]) * factor

    @staticmethod
    def classes(given: Mapping[str, Any]) -> tuple[str, ...] | None:
        axes = [_entries(axis) for axis in _items(given["axes"])]
        names = [
            str(name)
            for axis in axes
            if axis.get("type") == "channel"
            for name in _items(axis.get("channel_names") or [])
        ]
        says_something = names and not any(NUMBERED.fullmatch(name) for name in names)
        return tuple(names) if says_something else None

    @staticmethod
    def halo(given: Mapping[str, Any]) -> int | None:
        axes = [_entries(axis) for axis in _items(given["axes"])]
        return max(
            (int(axis["halo"]) for axis in axes if axis.get("halo") is not None), default=None
        )

    @staticmethod
    def is_raw(image: Mapping[str, Any]) -> bool:
        data = image.get("data") or {}
        stated = _entries(data).get("range") if isinstance(data, dict) else None
        return list(stated or []) in ([], [0, 255], [None, None])


def _axis(image: Mapping[str, Any], name: str) -> dict[str, Any]:
    axes = [_entries(axis) for axis in _items(image["axes"])]
    found = [axis for axis in axes if axis.get("id", axis.get("type")) == name]
    if not found:
        raise ModelError(f"its input has no axis {name}; it is no network for 2-D images")
    return found[0]


def _normalisation(image: Mapping[str, Any], *, is_raw: bool) -> Normalisation | None:
    """Steps before a network, put together; None if it is not clear what it takes."""
    steps = [_entries(step) for step in _items(image.get("preprocessing") or [])]
    steps = [step for step in steps if _step_name(step) != "ensure_dtype"]
    if not steps and not is_raw:
        return None
    gain, offset = [1.0] * 3, [0.0] * 3  # from pixel values of 0 to 255
    standardise: Standardise = "no"
    for step in steps:
        name, values = _step_name(step), _entries(step.get("kwargs") or {})
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
    letters = {str(axis)[0] for axis in axes} if isinstance(axes, list) else set(str(axes))
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


def _step_name(step: object) -> str:
    entries = _entries(step)
    return str(entries.get("id", entries.get("name", "")))


def _only(items: object, what: str) -> dict[str, Any]:
    found = _items(items)
    if len(found) != 1:
        raise ModelError(f"it has {len(found)} {what}, expected one image")
    return _entries(found[0])


def _items(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("expected a list")
    return value


def _entries(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("expected named entries")
    return value


def _text(entries: Mapping[str, Any], name: str) -> str | None:
    """Text or number of an entry; None where there is something else."""
    value = entries.get(name)
    return str(value) if isinstance(value, str | int | float) else None
