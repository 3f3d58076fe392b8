"""Converted networks for a model, which OpenVINO runs without torch.

The file is written into the model's folder. Labels do not depend on it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from napari_twostage.errors import TwoStageError
from napari_twostage.models.backends.conversion import convert_bundle
from napari_twostage.models.bundle import CONVERTED, read_bundle

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Convert both stages; 2 for an error that the user must correct."""
    parser = argparse.ArgumentParser(
        prog="python -m napari_twostage.training.convert", description=__doc__
    )
    parser.add_argument("--model", type=Path, required=True, help="bundle folder; it is added to")
    options = parser.parse_args(arguments)
    try:
        file = add_converted(options.model)
    except TwoStageError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(f"{file}: {file.stat().st_size / 1e6:.1f} MB\n")
    return 0


def add_converted(folder: Path) -> Path:
    """Add the file ``openvino.safetensors`` to a bundle folder, or replace it.

    Raises
    ------
    ModelError
        If the folder is not a bundle, or OpenVINO cannot convert its networks.
    """
    file = folder / CONVERTED
    file.write_bytes(convert_bundle(read_bundle(folder.absolute())))
    return file


if __name__ == "__main__":
    sys.exit(main())
