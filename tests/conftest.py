"""What every test starts from: no deadlines on busy machines, the same examples every time."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("steady", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("steady")
