"""Packages that only some formats need."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from napari_twostage.errors import ExportError

if TYPE_CHECKING:
    from pathlib import Path


def require(path: Path, package: str, extra: str) -> None:
    """Refuse a format whose package is missing.

    Parameters
    ----------
    path : Path
        File that is being written, `atomic.replacing`.
    package : str
        Name under which the package is imported.
    extra : str
        Extra of ours that brings it.

    Raises
    ------
    ExportError
        If the package is not installed.
    """
    if find_spec(package) is None:
        raise ExportError(
            f"{path.name.removeprefix('.').removesuffix('.partial')} needs {package}, which is not "
            f"installed; pip install 'napari-twostage[{extra}]', or export .geojson.gz"
        )
