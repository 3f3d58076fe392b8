"""Ctrl-C in a terminal reaches all processes at once: workers leave it to the owner of the run."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from distributed import WorkerPlugin

if TYPE_CHECKING:
    from distributed import Worker


class LeaveInterruptsToOwner(WorkerPlugin):
    """Makes workers, those that are restarted as well, take no notice of Ctrl-C."""

    name = "leave-interrupts-to-owner"

    def setup(self, worker: Worker) -> None:  # noqa: ARG002 - dask calls it so
        """Runs in the main thread of each worker process."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
