"""How long a run has worked."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class Clock:
    """Seconds of work, pauses left out."""

    started: float = field(default_factory=time.monotonic)
    paused_at: float | None = None

    def pause(self) -> None:
        """Count no more."""
        self.paused_at = self.paused_at or time.monotonic()

    def resume(self) -> None:
        """Count on."""
        if self.paused_at is not None:
            self.started += time.monotonic() - self.paused_at
            self.paused_at = None

    def seconds(self) -> float:
        """Of work so far."""
        return (self.paused_at or time.monotonic()) - self.started
