"""The command line as a process: it owns the signals and the streams."""

from __future__ import annotations

import sys

from napari_twostage.cli.interrupts import (
    exit_if_interrupted,
    handle_interrupts,
    ignore_interrupts,
)


def run_process() -> int:
    """Run the verb of this process's command line; returns the exit code."""
    arguments = sys.argv[1:]
    handle_interrupts(arguments)
    try:
        # not before: imports take time, in which somebody may press Ctrl-C
        from napari_twostage.cli.console import prepare_streams
        from napari_twostage.cli.parser import main

        prepare_streams()
        return main(arguments)
    finally:
        exit_if_interrupted()
        ignore_interrupts()
