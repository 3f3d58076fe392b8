"""What every test starts from: no deadlines on busy machines, the same examples every time."""

from __future__ import annotations

import os
from contextlib import suppress

# threads that wait must not spin: with a process a core, they hold what others wait for
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from hypothesis import settings
from tests.any_machine import install

# before any test opens a window: once Mesa's OpenGL is up, importing it crashes the process
with suppress(ImportError):
    import triton  # noqa: F401

settings.register_profile("steady", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("steady")

# see there: with NAPARI_TWOSTAGE_TEST_AS=windows, files and processes behave as on Windows
install()
