"""The command line: ``napari-twostage VERB``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        Words of the command line. Without them this is the process of the command: it takes its
        words, its standard streams and the signals that stop it.
    """
    if arguments is None:
        from napari_twostage.cli.process import run_process

        return run_process()
    from napari_twostage.cli.parser import main as run_verb

    return run_verb(arguments)
