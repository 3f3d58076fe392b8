"""What every test starts from: no deadlines on busy machines, the same examples every time."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import settings

# before any test opens a window: once Mesa's OpenGL is up, importing it crashes the process
with suppress(ImportError):
    import triton  # noqa: F401

settings.register_profile("steady", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("steady")
