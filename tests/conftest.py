"""What every test starts from: no deadlines on busy machines, the same examples every time."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

# threads that wait must not spin: with a process a core, they hold what others wait for
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from hypothesis import settings
from tests.any_machine import install

if TYPE_CHECKING:
    import pytest

# before any test opens a window: once Mesa's OpenGL is up, importing it crashes the process
with suppress(ImportError):
    import triton  # noqa: F401

settings.register_profile("steady", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("steady")


def pytest_configure(config: pytest.Config) -> None:
    """With NAPARI_TWOSTAGE_TEST_AS=windows, files and processes behave as on Windows."""
    # but not in the process that only hands tests out: those that run them inherit from it
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        install()
