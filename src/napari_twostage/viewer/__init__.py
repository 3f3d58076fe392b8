"""napari: the only place that knows a window."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import napari

from napari_twostage.utils.system import may_have_gpu

if TYPE_CHECKING:
    from napari_twostage.viewer.widget import TwoStageWidget

__all__ = ["TwoStageWidget"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the public name stands for
    """Load the widget, and Qt with it, when it is first used: reading a slide needs neither."""
    if name != "TwoStageWidget":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from napari_twostage.viewer.widget import TwoStageWidget

    return TwoStageWidget


def _settle_triton() -> None:
    """Import triton before a window opens, or never.

    torchvision imports it, and once Mesa's OpenGL is up that crashes the process: each brings an
    LLVM of its own. Only what is compiled for a GPU needs it; our models run without, and it is
    90 MB.
    """
    if "triton" in sys.modules:
        return
    if napari.current_viewer() is None and may_have_gpu():
        with suppress(ImportError):
            import triton  # noqa: F401
    else:
        sys.modules["triton"] = None  # type: ignore[assignment]


_settle_triton()
