"""Converted networks of a model, which OpenVINO runs without torch: ``napari-twostage convert``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from napari_twostage.errors import ModelError
from napari_twostage.models.backends.conversion import convert_bundle
from napari_twostage.models.bundle import CONVERTED, read_bundle

if TYPE_CHECKING:
    from pathlib import Path


def add_converted(folder: Path) -> Path:
    """Add the file ``openvino.safetensors`` to a bundle folder, or replace it.

    Labels do not depend on it.

    Raises
    ------
    ModelError
        If the folder is not a bundle, or OpenVINO cannot convert its networks.
    """
    file, bundle = folder / CONVERTED, read_bundle(folder.absolute())
    bundle.require_weights()
    file.write_bytes(convert_bundle(bundle))
    return file


def try_to_convert(folder: Path) -> None:
    """Add converted networks if OpenVINO can convert them; say so on stderr if it cannot."""
    try:
        add_converted(folder)
    except ModelError as error:
        sys.stderr.write(f"{error}; the model runs with torch\n")
