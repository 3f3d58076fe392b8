"""Packages of the BioImage Model Zoo, versions 0.4 and 0.5: their ONNX network and its facts.

Only ``rdf.yaml`` and the ONNX file are read. Nothing is downloaded, and no code of a package runs.
"""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from napari_twostage.errors import ModelError, one_line
from napari_twostage.models.bundle import DESCRIPTIONS, LARGEST_NETWORK, LONGEST_DESCRIPTION
from napari_twostage.models.bundle_files import read_folder, read_zip
from napari_twostage.models.importing.description import facts_of
from napari_twostage.models.importing.entries import entries, text
from napari_twostage.utils.values import shown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from napari_twostage.models.importing.facts import Facts

DEEPEST = 40
"""Levels of brackets in a description; YAML's reader calls itself for each."""
UNREADABLE = (yaml.YAMLError, ArithmeticError, LookupError, RecursionError, TypeError, ValueError)


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
        content = next(described[name] for name in DESCRIPTIONS if name in described)
        description = entries(yaml.load(_plain(content), Loader=_Loader))  # noqa: S506 - a safe one
        facts = facts_of(description)
        weights = entries(entries(description["weights"]).get("onnx") or {})
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
    source = text(weights, "source") or ""
    if weights.get("external_data"):
        raise ModelError("its weights are in another file than its graph; put them into one")
    if source in ("", "..") or source != PurePosixPath(source).name or set(source) & set("\\:\0"):
        raise ModelError(
            f"its weights are at {shown(source)}, outside of it; download the whole package"
        )
    files = _read(path, {source: LARGEST_NETWORK})
    if source not in files:
        raise ModelError(f"it holds no {shown(source)}; get the package again")
    stated = text(weights, "sha256") or ""
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
    decoded = content.decode()
    level = deepest = 0
    for sign in decoded:
        level += (sign in "[{") - (sign in "]}")
        deepest = max(deepest, level)
    if deepest > DEEPEST:
        raise ModelError("its description is nested too deeply")
    return decoded
