"""Errors that a user can act on: what was expected, what was found, what to do next."""

from __future__ import annotations


class TwoStageError(Exception):
    """Base of every error this package raises on purpose; its message is one line."""


class SlideError(TwoStageError):
    """A slide that cannot be opened or used."""


class MissingPixelSizeError(SlideError):
    """A slide of which neither the file nor the user says how large its pixels are."""


class ReadError(TwoStageError):
    """Pixels of an opened slide that cannot be read: a damaged tile, say."""


class ModelError(TwoStageError):
    """A model bundle that cannot be loaded or does not fit the slide."""


class SelectionError(TwoStageError):
    """A selection of tiles that contradicts itself or lies out of range."""


class SegmentationError(TwoStageError):
    """A result folder that cannot be opened, resumed or changed as asked."""


class ClusterError(TwoStageError):
    """A cluster that cannot be started or reached, or whose scheduler was lost."""


class ExportError(TwoStageError):
    """A result that cannot be written where or as asked."""


class TransferError(TwoStageError):
    """A URL that cannot be reached: unlike damage, it may be gone on with later."""


def one_line(error: BaseException) -> str:
    r"""An error as one line for the user; its kind comes first unless it is one of ours.

    Examples
    --------
    >>> one_line(SlideError("a.svs is empty;\n copy it again"))
    'a.svs is empty; copy it again'
    >>> one_line(KeyError("width"))
    "KeyError: 'width'"
    """
    text = " ".join(str(error).split())
    if isinstance(error, TwoStageError):
        return text
    kind = type(error).__name__
    return f"{kind}: {text}" if text else kind
