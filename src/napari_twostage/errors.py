"""Errors that a user can act on; each message says expected, found and what to do next."""

from __future__ import annotations


class TwoStageError(Exception):
    """Base of every error this package raises on purpose; its message is one line."""


class SlideError(TwoStageError):
    """A slide that cannot be opened or used."""


class MissingPixelSizeError(SlideError):
    """A slide without a pixel size: neither the file nor the user states one."""


class ReadError(TwoStageError):
    """Pixels of an open slide that cannot be read, such as a damaged tile."""


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
    """A URL that cannot be reached; unlike damaged data, this is transient: resume later."""


class LocationError(TwoStageError):
    """A path or URL that cannot be the name of anything on this machine."""


class BusyFileError(TwoStageError, PermissionError):
    """A file that another program holds open, or that is write-protected."""


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


def reason_of(error: BaseException | None) -> str:
    r"""Reason for an error of ours: the message of its cause in one line, else the cause's kind.

    Examples
    --------
    >>> reason_of(ValueError("marker\n  is missing"))
    'marker is missing'
    >>> reason_of(EOFError())
    'EOFError'
    """
    return " ".join(str(error).split()) or type(error).__name__
