"""The command line: ``napari-twostage VERB``."""

from napari_twostage.cli.parser import main

__all__ = ["main"]
