"""Import of OpenVINO without its telemetry.

On its own, ``import openvino`` tells a web analytics service that it was imported, and keeps an
identifier of the user in the home folder. Its converter and NNCF do without where the package that
sends is missing, so it is made to be missing, in this process and before the first import.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any


def import_openvino(module: str = "openvino") -> Any:  # noqa: ANN401 - a module
    """Import OpenVINO, or a module of it or of NNCF, such that nothing is sent or written."""
    # None makes Python raise ImportError for it; one that was imported before is somebody else's
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return importlib.import_module(module)
